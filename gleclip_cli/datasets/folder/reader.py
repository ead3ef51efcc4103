"""A folder of one's own: pictures anywhere in it, and tags (`tags` has their forms).

Classes are those of `gleclip.toml` (written by `gleclip init`), else of `classes.txt` (a name per
line), else all tags, sorted. Masks, for scores only, lie in `masks/` under the path of their
picture, `farm/1.png` for `images/farm/1.jpg`; their values are places in the list of classes.

Splits are named by the tags' file, by sub-folders, or by the lists `train.txt`, `val.txt` and
`test.txt` (a name per line). Without train, all pictures of no other split are train. Without val,
pictures with masks are val: those of no split, or else those of train, which is then told. Pictures
of test need no tags.

An image id is the path of a picture without its ending; where it becomes a file name,
`run_dir.safe_name` quotes it, and so keeps `a/b` and `a_b` apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.folder.files import find_files
from gleclip_cli.datasets.folder.match import Tagged, tag_pictures
from gleclip_cli.datasets.folder.tags import clean, read_text
from gleclip_cli.datasets.integrity import Picture, Problem, check_case
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.vocabulary import Vocabulary, parse_vocabulary, read_vocabulary
from gleclip_cli.errors import BadInput

CLASS_TABLE = "gleclip.toml"
CLASS_LIST = "classes.txt"


def read_folder(
    data: Path, classes: Vocabulary | None = None, *, limit: int | None = None
) -> Source:
    """Read the pictures and tags of a folder; `limit` ids of every split at most.

    `classes` takes the place of the folder's own.

    Raises:
        BadInput: no folder, no pictures or no tags in it, or files of it that cannot be read.
        UsageError: a list names no image, or a class table contradicts itself.
    """
    tagged = tag_pictures(find_files(data.absolute()))
    vocabulary, faults = _classes(tagged, classes)
    files = tagged.files
    splits = {split: sorted(ids)[:limit] for split, ids in tagged.splits.items()}
    kept = sorted(set().union(*splits.values()))
    numbers = {name: number for number, name in enumerate(vocabulary.classes, 1)}
    labels = {
        image_id: sorted(numbers[tag] for tag in tagged.tags.get(image_id, ()) if tag in numbers)
        for image_id in kept
    }
    members = {split: set(ids) for split, ids in splits.items()}
    pictures = [
        Picture(
            image_id,
            files.pictures[image_id][0],
            {split: files.mask(image_id) for split, ids in members.items() if image_id in ids},
        )
        for image_id in kept
        if image_id in files.pictures
    ]
    of_kept = {"", *kept}
    problems = [problem for problem in tagged.problems if problem.image_id in of_kept]
    problems += [*faults, *check_case(kept), *_overlong(picture.image_id for picture in pictures)]
    return Source(files.root, vocabulary, splits, labels, pictures, tuple(problems), tagged.notes)


def class_names(tagged: Tagged) -> list[str]:
    """Classes of a folder without a class table: those of its list, else all tags, sorted.

    Raises:
        BadInput: the list cannot be read or is empty, or no picture has a tag.
    """
    path = tagged.files.root / CLASS_LIST
    if path.is_file():
        listed = [name for line in read_text(path).splitlines() if (name := clean(line))]
        if not listed:
            raise BadInput(f"{printable(path)} names no class.", "Write a name per line.")
        return listed
    if not tagged.counts:
        raise BadInput(f"No picture of {printable(tagged.files.root)} has a tag.", "Write some.")
    return list(tagged.counts)


def _classes(tagged: Tagged, given: Vocabulary | None) -> tuple[Vocabulary, list[Problem]]:
    """The class table that counts, and the tags that do not fit it."""
    root = tagged.files.root
    table, listed = root / CLASS_TABLE, (root / CLASS_LIST).is_file()
    if given:
        return given, _unknown(tagged.counts, given)
    if table.is_file():
        own = read_vocabulary(table)
        if listed and list(own.classes) != class_names(tagged):
            # Masks follow one order of classes: two would shift their values without a word.
            raise BadInput(
                f"{CLASS_TABLE} and {CLASS_LIST} of {printable(root)} name different classes.",
                f"Make them equal, or remove {CLASS_LIST}.",
            )
        return own, _unknown(tagged.counts, own)
    names = class_names(tagged)
    origin = CLASS_LIST if listed else f"from the tags of {printable(root)}"
    vocabulary = parse_vocabulary(class_table(names), origin)
    return vocabulary, _unknown(tagged.counts, vocabulary) if listed else _odd(names)


def _unknown(counts: Mapping[str, int], vocabulary: Vocabulary) -> list[Problem]:
    problems = []
    for tag in sorted(set(counts) - set(vocabulary.classes)):
        have = "picture has" if counts[tag] == 1 else "pictures have"
        unknown = f"{printable(tag)!r} ({vocabulary.guess(tag)})"
        cause = f"{counts[tag]} {have} the unknown tag {unknown}."
        remedy = "Use the names of your list of classes, or add this one to it."
        problems.append(Problem(cause, remedy, structural=True))
    return problems


def _odd(tags: Sequence[str]) -> list[Problem]:
    """Tags that cannot be classes, or hardly are meant to be two."""
    problems = [
        Problem(
            f"The tag {printable(tag)} is no valid text.",
            "Rename it in UTF-8: CLIP reads it.",
            structural=True,
        )
        for tag in tags
        if any("\ud800" <= letter <= "\udfff" for letter in tag)
    ]
    cased = check_case(tags)
    return problems + [replace(problem, cause=f"Tags: {problem.cause}") for problem in cased]


def _overlong(image_ids: Iterable[str]) -> list[Problem]:
    problems = []
    for image_id in image_ids:
        try:
            safe_name(image_id)
        except BadInput as error:
            remedy = "Shorten its name, or those of its folders."
            problems.append(Problem(error.cause, remedy, structural=True))
    return problems
