"""Where an export goes."""

from pathlib import Path

import pytest

from gleclip_cli.errors import UsageError
from gleclip_cli.tools.export.target import check_target, new_target

DATA = Path("data")


@pytest.mark.parametrize(
    ("there", "endings", "overwrite", "cause"),
    [
        (["out"], (), False, "exists"),
        (["out"], (".png",), True, "is a file"),
        (["out/a.png"], (), True, "is a folder"),
        (["out/a.png"], (".png",), False, "exists"),
        (["out/a.png", "out/b/c.jpg"], (".png",), True, r"holds b/c.jpg, which is no export's"),
        (["data/out/a.png"], (".png",), True, "among your data"),
    ],
)
def test_what_is_there_is_not_replaced(
    there: list[str],
    endings: tuple[str, ...],
    overwrite: bool,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in there:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    out = Path("data/out" if Path("data").exists() else "out")
    with pytest.raises(UsageError, match=cause):
        check_target(out, endings=endings, overwrite=overwrite, data=DATA)


def test_an_empty_folder_and_an_older_export_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_target(out, endings=(".png",), overwrite=False, data=DATA)
    for content in ("old", "new"):
        check_target(out, endings=(".png",), overwrite=True, data=DATA)
        with new_target(out, folder=True) as temporary:
            (temporary / f"{content}.png").write_text(content)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new.png"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_broken_export_leaves_what_was_there(folder: bool, tmp_path: Path) -> None:
    def write(content: str) -> None:
        with new_target(tmp_path / "out", folder=folder) as temporary:
            (temporary / f"{content}.png" if folder else temporary).write_text(content)
            if content == "second":
                raise KeyError

    write("first")
    with pytest.raises(KeyError):
        write("second")
    left = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ["first"]
