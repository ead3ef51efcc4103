"""A folder of one's own: tags, splits, masks and classes, and every fault told at once."""

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.datasets.folder.reader import read_folder
from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.datasets.vocabulary import parse_vocabulary
from gleclip_cli.errors import BadInput, UsageError

TABLE = 'name = "mine"\nclasses = ["dog", "cat"]\ntemplates = ["{}"]\nbackground_texts = []\n'


def draw(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), 1 if mode == "L" else "red").save(path)


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def index(data: Path, limit: int | None = None) -> DataIndex:
    return verify(read_folder(data, limit=limit), workers=2)


def told(data: Path) -> str:
    return "\n".join(problem.cause for problem in index(data).problems)


def ids(splits: Mapping[str, Mapping[str, object]]) -> dict[str, list[str]]:
    return {split: list(table) for split, table in splits.items()}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Four pictures in three places; d shows nothing; classes by the sorted tags: cat, cow, dog."""
    root = tmp_path / "own"
    for name in ("a.jpg", "b.JPG", "farm/c.png", "farm/old/d.jpg"):
        draw(root / name)
    write(root / "labels.csv", "image,labels\na.jpg,cat\nb.JPG,dog;cat\nfarm/c.png,cow\nd,\n")
    return root


def test_tags_ids_classes_and_files(own: Path) -> None:
    found = index(own)
    assert found.problems == ()
    assert found.labels == {"train": {"a": [1], "b": [1, 3], "farm/c": [2], "farm/old/d": []}}
    record = found.records["train"]["farm/c"]
    assert record.image == own / "farm" / "c.png"
    assert (record.mask, record.size) == (None, (6, 8))
    assert found.counts["without_objects"] == 1
    assert read_folder(own).vocabulary.classes == ("cat", "cow", "dog")


def test_the_folder_of_images_masks_and_the_list_of_classes(own: Path) -> None:
    for name in ("a.jpg", "b.JPG", "farm"):
        (own / "images").mkdir(exist_ok=True)
        (own / name).rename(own / "images" / name)
    write(own / "classes.txt", b"\xef\xbb\xbfdog\r\ncow\r\n\r\ncat \r\n")
    draw(own / "masks" / "farm" / "c.png", "L")
    draw(own / "masks" / "nobody.png", "L")
    draw(own / "preview.jpg")
    found = index(own)
    assert found.problems == ()
    assert found.labels["train"] == {"a": [3], "b": [1, 3], "farm/c": [2], "farm/old/d": []}
    assert found.labels["val"] == {"farm/c": [2]}
    for split in ("train", "val"):
        assert found.records[split]["farm/c"].mask == own / "masks" / "farm" / "c.png"
    assert found.notes == {
        "in train and in val": 1,
        "a mask without a picture": 1,
        "beside images/, not used": 1,
    }


def test_the_class_table_decides_and_must_agree_with_the_list(own: Path) -> None:
    write(own / "gleclip.toml", TABLE.replace('"cat"', '"cat", "cow"'))
    found = read_folder(own)
    assert found.vocabulary.classes == ("dog", "cat", "cow")
    assert found.labels["b"] == [1, 2]
    write(own / "classes.txt", "cat\ncow\ndog\n")
    with pytest.raises(BadInput, match="name different classes"):
        read_folder(own)
    given = parse_vocabulary(TABLE.replace('"cat"', '"cow", "cat"'), "given")
    assert read_folder(own, given).labels["b"] == [1, 3]


def test_lists_name_splits_and_the_rest_is_train(own: Path) -> None:
    write(own / "val.txt", "farm/c.png\n")
    assert ids(index(own).labels) == {"train": ["a", "b", "farm/old/d"], "val": ["farm/c"]}
    write(own / "train.txt", "a\n")
    found = index(own)
    assert ids(found.labels) == {"train": ["a"], "val": ["farm/c"]}
    assert found.notes["in no split, not used"] == 2


def test_without_a_list_of_val_it_is_what_has_masks(own: Path) -> None:
    write(own / "train.txt", "a\nfarm/c\n")
    draw(own / "masks" / "b.png", "L")
    draw(own / "masks" / "a.png", "L")
    assert ids(index(own).labels) == {"train": ["a", "farm/c"], "val": ["b"]}


def test_pictures_of_test_need_no_tags(own: Path) -> None:
    draw(own / "t.jpg")
    write(own / "test.txt", "t.jpg\n")
    found = index(own)
    assert found.problems == ()
    assert found.labels["test"] == {"t": []}


def test_a_column_names_splits_and_excludes_lists(own: Path) -> None:
    rows = "name,label,split\na,cat,train\nb,cat,Valid\nc,cow,train\nd,,oops\n"
    write(own / "labels.csv", rows)
    found = index(own)
    assert ids(found.labels) == {"train": ["a", "farm/c"], "val": ["b"]}
    assert told(own) == "labels.csv line 5: the split 'oops' is none of train, val, test."
    write(own / "val.txt", "a\n")
    with pytest.raises(BadInput, match=r"named by labels\.csv, and by val\.txt"):
        index(own)


def test_folders_are_classes_or_splits_of_classes(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/2024/2.jpg", "dog/1.jpg"):
        draw(tmp_path / "plain" / name)
        draw(tmp_path / "split" / "train" / name)
    draw(tmp_path / "split" / "valid" / "dog" / "9.jpg")
    plain = {"cat/1": [1], "cat/2024/2": [1], "dog/1": [2]}
    assert index(tmp_path / "plain").labels == {"train": plain}
    assert index(tmp_path / "split").labels == {
        "train": {f"train/{name}": labels for name, labels in plain.items()},
        "val": {"valid/dog/9": [2]},
    }


def test_json_gives_tags_too_and_one_file_is_enough(own: Path) -> None:
    write(own / "labels.json", '{"a.jpg": ["cat"], "b": [], "c": ["cow"], "farm/old/d.jpg": []}')
    with pytest.raises(BadInput, match=r"both labels\.csv and labels\.json"):
        index(own)
    (own / "labels.csv").unlink()
    assert index(own).labels["train"] == {"a": [1], "b": [], "farm/c": [2], "farm/old/d": []}


def test_limit_keeps_the_first_of_every_split_and_their_problems(own: Path) -> None:
    (own / "farm" / "c.png").unlink()
    found = index(own, limit=2)
    assert found.problems == ()
    assert ids(found.labels) == {"train": ["a", "b"]}


def test_what_holds_no_pictures_or_no_tags(own: Path, tmp_path: Path) -> None:
    (own / "labels.csv").unlink()
    for name in ("b.JPG", "farm/c.png", "farm/old/d.jpg"):
        (own / name).unlink()
    with pytest.raises(BadInput, match="no sub-folder per class") as caught:
        index(own)
    assert "image,labels" in caught.value.remedy
    (own / "a.jpg").unlink()
    with pytest.raises(BadInput, match="holds no picture"):
        index(own)
    with pytest.raises(BadInput, match="is no folder"):
        index(tmp_path / "nothing")


@pytest.mark.parametrize(
    "name",
    ["ein Hund über 中文", "a.b", "\U0001f431", "a,b;c", "two\nlines", 'a "quote"', "a'b&c%2F"],
)
def test_fault_19_any_name_works(own: Path, name: str) -> None:
    (own / "farm" / "c.png").rename(own / "farm" / f"{name}.png")
    quoted = name.replace('"', '""')
    write(own / "labels.csv", f'a,cat\nb,cat\nd\n"farm/{quoted}.png",cow\n')
    draw(own / "masks" / "farm" / f"{name}.png", "L")
    found = index(own)
    assert found.problems == ()
    assert found.labels["train"][f"farm/{name}"] == [2]
    assert found.records["val"][f"farm/{name}"].mask


def test_fault_19_composed_and_decomposed_accents_are_one_name(own: Path) -> None:
    (own / "a.jpg").rename(own / unicodedata.normalize("NFD", "Fähre.jpg"))
    write(own / "labels.csv", "Fähre.jpg,Kätzchen\nb,Ka\u0308tzchen\nc\nd\n")
    found = read_folder(own)
    assert found.problems == ()
    assert found.vocabulary.classes == ("Kätzchen",)


def test_fault_20_a_path_too_long_for_the_files_of_a_run(own: Path) -> None:
    long = "/".join(["x" * 120] * 3)
    draw(own / f"{long}.jpg")
    write(own / "labels.csv", f"a,cat\nb\nc\nd\n{long}.jpg,cat\n")
    (problem,) = index(own).problems
    assert problem.structural
    assert "more than 255" in problem.cause
    assert "Shorten" in problem.remedy


def test_fault_21_names_that_are_not_utf8_work(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    try:
        draw(tmp_path / "cat" / f"{name}.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    found = index(tmp_path)
    assert found.problems == ()
    assert found.labels["train"] == {f"cat/{name}": [1]}
    (tmp_path / "cat").rename(tmp_path / name)
    (problem,) = index(tmp_path).problems  # CLIP has to read the name of a class
    assert problem.structural
    assert r"The tag caf\udce9 is no valid text." in problem.cause


def test_fault_22_names_that_would_share_a_file(own: Path) -> None:
    draw(own / "b.png")
    draw(own / "Farm" / "C.png")
    found = index(own)
    causes = told(own)
    assert f"{own / 'b.JPG'} and {own / 'b.png'} share one id." in causes
    assert "Farm/C and farm/c differ in case only." in causes
    assert sum(problem.structural for problem in found.problems) == 2


def test_fault_22_one_name_in_two_folders_keeps_two_outputs(tmp_path: Path) -> None:
    for name in ("a/b.jpg", "a_b/c.jpg", "a%2Fb/c.jpg", "a/b/c.jpg"):
        draw(tmp_path / "images" / "all" / name)
    run = RunDir(tmp_path / "run")
    names = list(index(tmp_path).records["train"])
    assert len(names) == 4
    assert len({run.pseudo_mask("train", name).name for name in names}) == 4


def test_fault_23_names_without_a_picture_are_all_listed(own: Path) -> None:
    with (own / "labels.csv").open("a") as file:
        file.write("lost.jpg,cat\nfarm/gone.jpg,dog\n")
    found = index(own)
    assert {problem.image_id for problem in found.problems} == {"lost.jpg", "farm/gone.jpg"}
    assert "labels.csv line 6 names lost.jpg, which is not there." in told(own)
    # Left out, they are counted: they stand in the splits as read, not as verified.
    assert {"lost.jpg", "farm/gone.jpg"} <= set(read_folder(own).image_ids)
    assert len(found.records["train"]) == 4


def test_fault_24_pictures_without_a_row_are_all_listed(own: Path) -> None:
    draw(own / "e.jpg")
    draw(own / "f.jpg")
    found = index(own)
    assert {problem.image_id for problem in found.problems} == {"e", "f"}
    assert not any(problem.structural for problem in found.problems)
    assert f"{own / 'e.jpg'} has no row in labels.csv." in told(own)
    assert len(found.records["train"]) == 4
    (own / "labels.csv").unlink()
    assert f"{own / 'e.jpg'} lies in no folder of a class." in told(own)


def test_fault_25_two_rows_of_a_picture(own: Path) -> None:
    with (own / "labels.csv").open("a") as file:
        file.write("a,dog\n")
    (problem,) = index(own).problems
    rows = "labels.csv line 2 and labels.csv line 6"
    assert problem.cause == f"{rows} name the same picture, {own / 'a.jpg'}."
    assert not problem.structural
    assert not problem.image_id
    assert read_folder(own).labels["a"] == [1, 3]  # joined, when it may go on
    write(own / "val.txt", "a\na.jpg\n")
    assert "val.txt names a 2 times." in told(own)


def test_fault_26_byte_order_mark_crlf_blanks_and_spaces(own: Path) -> None:
    rows = (
        b"\xef\xbb\xbfimage,labels \r\n\r\na.jpg , cat \r\n b.JPG,dog; cat\r\nc,cow\r\nd,  \r\n\r\n"
    )
    write(own / "labels.csv", rows)
    write(own / "val.txt", b"\xef\xbb\xbfd \r\n\r\n")
    found = index(own)
    assert found.problems == ()
    assert found.labels == {
        "train": {"a": [1], "b": [1, 3], "farm/c": [2]},
        "val": {"farm/old/d": []},
    }


@pytest.mark.parametrize("content", ["", "\n\n", "image,labels\n"])
def test_fault_27_an_empty_list_is_a_usage_error(own: Path, content: str) -> None:
    write(own / "labels.csv", content)
    with pytest.raises(UsageError, match=r"labels\.csv names no image") as caught:
        index(own)
    assert caught.value.exit_code == 2


def test_fault_27_an_empty_list_of_a_split(own: Path) -> None:
    write(own / "val.txt", "\n")
    with pytest.raises(UsageError, match=r"val\.txt names no image"):
        index(own)


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/a.jpg", "farm/../../a.jpg", "C:\\a.jpg", "..\\a"]
)
def test_fault_28_a_name_that_leads_out_is_refused(own: Path, name: str) -> None:
    with (own / "labels.csv").open("a") as file:
        file.write(f"{name},cat\n")
    (problem,) = index(own).problems
    assert problem.structural
    assert problem.cause == f"labels.csv line 6: {name} leads out of the folder."


def test_fault_29_links(own: Path) -> None:
    (own / "a.jpg").unlink()
    (own / "a.jpg").symlink_to("nowhere.jpg")
    (own / "b.JPG").unlink()
    (own / "b.JPG").symlink_to("b.JPG")
    (own / "farm" / "again").symlink_to(own)
    (own / "lost").symlink_to("nowhere")
    found = index(own)
    assert sorted(problem.image_id for problem in found.problems) == ["", "", "a", "b"]
    assert f"{own / 'farm' / 'again'} leads to a folder that is read already." in told(own)
    assert f"{own / 'lost'} is a link that leads nowhere." in told(own)
    assert not any(problem.structural for problem in found.problems)
    assert list(found.records["train"]) == ["farm/c", "farm/old/d"]


def test_links_are_followed_once(own: Path, tmp_path: Path) -> None:
    for name in ("one.jpg", "two.jpg"):
        draw(tmp_path / "elsewhere" / name)
    (own / "linked").symlink_to(tmp_path / "elsewhere")
    with (own / "labels.csv").open("a") as file:
        file.write("linked/one.jpg,cat\ntwo,dog\n")
    assert index(own).problems == ()
    (own / "also").symlink_to(own / "farm")  # found under its own name first
    assert told(own) == f"{own / 'also'} leads to a folder that is read already."


def test_fault_30_what_may_not_be_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom permissions do not stop."""
    scandir, read_bytes = os.scandir, Path.read_bytes

    def locked(path: Path) -> object:
        if Path(path).name in ("farm", "a.jpg", "labels.csv"):
            raise PermissionError(13, "Permission denied")
        return scandir(path) if Path(path).is_dir() else read_bytes(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = index(own)
    (folder,) = [problem for problem in found.problems if problem.structural]
    assert folder.cause == f"{own / 'farm'} cannot be read: Permission denied."
    monkeypatch.setattr(Path, "read_bytes", locked)
    with pytest.raises(BadInput, match=r"labels\.csv cannot be read: Permission denied"):
        index(own)
    monkeypatch.setattr(os, "scandir", scandir)
    (own / "labels.csv").rename(own / "labels.json")
    monkeypatch.setattr(
        Path,
        "read_bytes",
        lambda path: (
            b'{"a": ["cat"], "b": [], "c": [], "d": []}'
            if path.name == "labels.json"
            else locked(path)
        ),
    )
    (picture,) = index(own).problems
    assert picture.structural
    assert picture.cause == f"{own / 'a.jpg'} cannot be read: Permission denied."


def test_fault_32_a_picture_of_no_class_stays(own: Path) -> None:
    found = index(own)
    assert found.labels["train"]["farm/old/d"] == []
    assert found.counts["without_objects"] == 1
    assert found.problems == ()


def test_fault_33_an_unknown_tag_is_told_with_near_ones(own: Path) -> None:
    write(own / "classes.txt", "cats\ndog\ncow\n")
    (problem,) = index(own).problems
    assert problem.structural
    assert problem.cause == "2 pictures have the unknown tag 'cat' (cats?)."
    write(own / "classes.txt", "cat\ndog\nxylophone\n")
    (problem,) = index(own).problems
    assert problem.cause == "1 picture has the unknown tag 'cow' (none is near)."


def test_tags_that_differ_in_case_only_are_hardly_two_classes(own: Path) -> None:
    write(own / "labels.csv", "a,cat\nb,Cat\nc,cow\nd\n")
    (problem,) = index(own).problems
    assert problem.structural
    assert problem.cause == "Tags: Cat and cat differ in case only."


def test_fault_79_control_characters_are_escaped(own: Path) -> None:
    draw(own / "e\x1b[2J.jpg")
    with (own / "labels.csv").open("a") as file:
        file.write("lost\x1b[2J.jpg,cat\n../\x07,cat\n")
    write(own / "classes.txt", "cat\ncow\nd\x1bog\n")
    causes = told(own)
    assert all(letter.isprintable() or letter == "\n" for letter in causes)
    for shown in (r"e\x1b[2J.jpg", r"lost\x1b[2J.jpg", r"../\x07", r"d\x1bog"):
        assert shown in causes
