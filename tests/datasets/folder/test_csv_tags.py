"""labels.csv: separators, headers, several tags, one-hot tables, and what is no table."""

from pathlib import Path

import pytest

from gleclip_cli.datasets.folder.csv_tags import read_csv
from gleclip_cli.datasets.folder.tags import Rows
from gleclip_cli.errors import BadInput

PICTURES = {"a.jpg", "b.jpg", "my dog.jpg", "a, b.jpg", "id"}


def read(tmp_path: Path, content: str | bytes) -> Rows:
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(path, PICTURES.__contains__)


def tags(rows: Rows) -> dict[str, tuple[str, ...]]:
    return {row.name: row.tags for row in rows.rows}


WANTED = {"a.jpg": ("cat", "dog"), "b.jpg": ()}


@pytest.mark.parametrize(
    "content",
    [
        "a.jpg,cat,dog\nb.jpg\n",
        "a.jpg,cat;dog\nb.jpg,\n",
        "a.jpg,cat|dog\nb.jpg,\n",
        'a.jpg,"cat, dog"\nb.jpg,\n',
        "a.jpg;cat;dog\nb.jpg;\n",
        "a.jpg;cat,dog\nb.jpg;\n",
        'a.jpg;"cat;dog"\nb.jpg;\n',
        "a.jpg\tcat\tdog\nb.jpg\n",
        "a.jpg\tcat,dog\nb.jpg\t\n",
        "a.jpg cat dog\nb.jpg\n",
        "a.jpg  cat|dog \nb.jpg \n",
        "a.jpg cat;dog\nb.jpg\n",
        "image,labels\na.jpg,cat;dog\nb.jpg,\n",
        "Image;Labels\na.jpg;cat,dog\nb.jpg;\n",
        "filename\ttags\na.jpg\tcat|dog\nb.jpg\t\n",
        "file label_1 label_2\na.jpg cat dog\nb.jpg\n",
        "image_id,class,,\na.jpg,cat,dog,\nb.jpg,,,\n",
        "name,tag\na.jpg,cat,dog\nb.jpg\n",
        "image,cat,cow,dog\na.jpg,1,0,1\nb.jpg,0,,0\n",
        ",cat,cow,dog\na.jpg,True,False,True\nb.jpg,False,False,False\n",
        "path;cat;cow;dog\na.jpg;1.0;0.0;1.0\nb.jpg;0;0;0\n",
        "image cat cow dog \na.jpg 1 0 1 \nb.jpg 0 0 0 \n",
        "image,cat,dog,,\na.jpg,yes,yes,,\nb.jpg,no,no,,\n",
        "a.jpg,cat,dog,cat\rb.jpg\r",
    ],
)
def test_every_form_says_the_same(tmp_path: Path, content: str) -> None:
    rows = read(tmp_path, content)
    assert tags(rows) == WANTED
    assert rows.problems == ()
    assert not rows.has_splits
    assert rows.notes == {}


def test_names_with_separators_are_quoted(tmp_path: Path) -> None:
    assert tags(read(tmp_path, '"a, b.jpg",cat\n')) == {"a, b.jpg": ("cat",)}
    assert tags(read(tmp_path, "my dog.jpg,cat\nb.jpg,fat dog\n")) == {
        "my dog.jpg": ("cat",),
        "b.jpg": ("fat dog",),
    }
    assert tags(read(tmp_path, '"my dog.jpg" cat "fat dog"\n')) == {
        "my dog.jpg": ("cat", "fat dog")
    }
    # The separator that finds more pictures wins, wherever others occur.
    assert tags(read(tmp_path, "a, b.jpg;cat\nb.jpg;dog,cow\n")) == {
        "a, b.jpg": ("cat",),
        "b.jpg": ("dog", "cow"),
    }


def test_a_first_row_is_a_header_only_if_it_cannot_be_a_picture(tmp_path: Path) -> None:
    assert tags(read(tmp_path, "id,cat\nb.jpg,dog\n")) == {"id": ("cat",), "b.jpg": ("dog",)}
    # An unknown word is taken for a name, and told as missing, rather than passed over.
    assert tags(read(tmp_path, "Bild,Klasse\nb.jpg,dog\n")) == {
        "Bild": ("Klasse",),
        "b.jpg": ("dog",),
    }


def test_splits_and_columns_that_are_not_used(tmp_path: Path) -> None:
    rows = read(
        tmp_path, "image,width,label,split\na.jpg,640,cat,train\nb.jpg,480,dog,Validation\n"
    )
    assert rows.has_splits
    assert [(row.tags, row.split) for row in rows.rows] == [(("cat",), "train"), (("dog",), "val")]
    assert rows.notes == {"column 'width' of labels.csv not used": 2}
    one_hot = read(tmp_path, "image,split,cat,dog\na.jpg,train,0,1\nb.jpg,test,1,0\n")
    assert [(row.tags, row.split) for row in one_hot.rows] == [
        (("dog",), "train"),
        (("cat",), "test"),
    ]


def test_fault_34_rows_of_a_one_hot_table_fit_its_header(tmp_path: Path) -> None:
    rows = read(tmp_path, "image,cat,dog\na.jpg,1\nb.jpg,1,0,1\nid,0,1\nmy dog.jpg,2,0\n")
    assert [problem.cause for problem in rows.problems] == [
        "labels.csv line 2 has 2 cells, its header 3.",
        "labels.csv line 3 has 4 cells, its header 3.",
        "labels.csv line 5: column 'cat' holds '2'.",
    ]
    assert all(problem.structural for problem in rows.problems)


def test_fault_34_vectors_need_a_header_that_names_their_classes(tmp_path: Path) -> None:
    for content in ("a.jpg,1,0,1\nb.jpg,0,0,0\n", "image,tags\na.jpg,1;0;1\nb.jpg,0;0;0\n"):
        rows = read(tmp_path, content)
        assert len(rows.problems) == 2
        for problem, row in zip(rows.problems, rows.rows, strict=True):
            assert problem.structural
            assert problem.cause == f"{row.place} holds a vector of zeros and ones."
    assert read(tmp_path, "a.jpg,0,1\nb.jpg,1\n").problems == ()  # classes called 0 and 1


def test_rows_are_told_by_the_line_where_they_begin(tmp_path: Path) -> None:
    rows = read(tmp_path, 'image,labels\n\na.jpg,"cat\n;dog"\nb.jpg,\n')
    assert [row.place for row in rows.rows] == ["labels.csv line 3", "labels.csv line 5"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused_with_a_remedy(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(BadInput, match="is not UTF-8: byte 0x") as caught:
        read(tmp_path, "a.jpg,cat\nb.jpg,kätzchen\n".encode(encoding))
    assert "CSV UTF-8" in caught.value.remedy
    if encoding == "latin-1":
        assert "0xe4 in line 2" in caught.value.cause


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("x.jpg,cat\ny.jpg,dog\n", r"names no picture that is there; line 1 begins with 'x\.jpg'"),
        ('a.jpg,cat\nb.jpg,"dog\n', "is no table: unexpected end of data after line 1"),
        ('"a.jpg"x,cat\n', "is no table: ',' expected"),
    ],
)
def test_what_is_no_table_of_these_pictures(tmp_path: Path, content: str, cause: str) -> None:
    with pytest.raises(BadInput, match=cause):
        read(tmp_path, content)
