"""Pictures named on a command line: files, folders and patterns, each picture with an id."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.run_dir import OutDir, printable
from gleclip_cli.datasets.folder.files import PICTURES, Walk
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.errors import BadInput, UsageError


@dataclass(frozen=True)
class Pictures:
    """Files by id, sorted; `problems`: what is named but cannot be found or read."""

    files: Mapping[str, Path]
    problems: Sequence[Problem]


def find_pictures(words: Sequence[str], out: OutDir) -> Pictures:
    """Find pictures: files of any name, those of `PICTURES` in folders, whatever a pattern means.

    An id is the path from the working folder, or the whole one of what lies outside, without its
    ending; with it where two pictures would share an id, or `out` holds another picture of that id.
    Hidden files, runs and `out` itself are left out.

    Raises:
        UsageError: there is none at all, or two share an id even so; a folder inside `out`.
    """
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for word in words:
        paths, faults = _look(word, out)
        found |= dict.fromkeys(paths)
        problems += faults
    if not found and problems:
        raise UsageError(problems[0].cause, problems[0].remedy)
    if not found:
        raise UsageError(
            f"No picture in {printable(', '.join(words))}.",
            f"Pictures end with: {', '.join(sorted(PICTURES))}.",
        )
    return Pictures(_by_id(list(found), out), problems)


def _look(word: str, out: OutDir) -> tuple[list[Path], list[Problem]]:
    """Return absolute paths of what one word means."""
    path = Path(word).expanduser()
    if path.is_dir():
        return _in_folder(path, out)
    if path.exists() or path.is_symlink():
        _refuse_inside(path, out)
        return [_absolute(path)], []
    matches = list(map(Path, sorted(glob.glob(str(path), recursive=True))))  # noqa: PTH207
    if matches:
        return [
            _absolute(match)
            for match in matches
            if match.suffix.lower() in PICTURES and not match.is_dir() and not _inside(match, out)
        ], []
    cause = f"{printable(word)} means no file and no folder."
    return [], [Problem(cause, "Correct its name.", word, path=printable(word))]


def _in_folder(folder: Path, out: OutDir) -> tuple[list[Path], list[Problem]]:
    _refuse_inside(folder, out)
    walk = Walk(folder)
    files = [
        _absolute(folder / name) for name in walk.files if Path(name).suffix.lower() in PICTURES
    ]
    return [file for file in files if not _inside(file, out)], walk.problems


def _by_id(paths: Sequence[Path], out: OutDir) -> dict[str, Path]:
    long = {path: _below_here(path) for path in paths}
    short = {path: name.removesuffix(path.suffix) for path, name in long.items()}
    times = Counter(name.casefold() for name in short.values())
    found: dict[str, Path] = {}
    for path in paths:
        alone = times[short[path].casefold()] == 1 and not _taken(out, short[path], path)
        image_id = short[path] if alone else long[path]
        if image_id in found or (not alone and _taken(out, image_id, path)):
            raise UsageError(
                f"{printable(path)} would share its output with another picture.",
                "Choose another --out.",
            )
        found[image_id] = path
    return dict(sorted(found.items()))


def _below_here(path: Path) -> str:
    here = Path.cwd()
    if path.is_relative_to(here):
        return path.relative_to(here).as_posix()
    return "/".join(part.rstrip(":") for part in (path.drive, *path.parts[1:]) if part)


def _taken(out: OutDir, image_id: str, path: Path) -> bool:
    """Whether the output holds another picture of that id: of another place and other bytes."""
    try:
        about = read_json(out.areas(image_id))
        return bool(about["image"] != str(path) and about["sha256"] != sha256_of(path))
    except (BadInput, OSError, KeyError):
        return False


def _absolute(path: Path) -> Path:
    # Links stay as they are named: two of them are two pictures.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _refuse_inside(path: Path, out: OutDir) -> None:
    if _inside(path, out):
        raise UsageError(
            f"{printable(path)} lies in the folder of the output.", "Choose another --out."
        )


def _inside(path: Path, out: OutDir) -> bool:
    return path.resolve().is_relative_to(out.root.resolve())
