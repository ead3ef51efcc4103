"""Class tables: VOC's facts, and every way a table can contradict itself."""

import re
from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.datasets.vocabulary import (
    BACKGROUND,
    IGNORE_INDEX,
    load_vocabulary,
    near_matches,
    read_vocabulary,
    voc_palette,
)
from gleclip_cli.errors import UsageError

TABLE = """
name = "zoo"
classes = ["cat", "dog"]
templates = ["a {}."]
background_texts = ["sky"]
"""


def test_voc_table_has_the_order_and_texts_of_the_literature() -> None:
    voc = load_vocabulary("voc")
    assert len(voc.classes) == 20
    assert list(voc.classes) == sorted(voc.classes)
    assert voc.classes[0] == "aeroplane"
    assert voc.class_names[20] == "tvmonitor"
    assert voc.class_names[BACKGROUND] == "background"
    assert voc.prompts[voc.classes.index("person")] == "person with clothes,people,human"
    assert voc.prompts[voc.classes.index("dog")] == "dog"
    assert voc.templates == ("a clean origami {}.",)
    assert len(voc.background_texts) == 25


def test_palette_is_the_published_one() -> None:
    palette = voc_palette()
    # The first rows and the ignore colour as printed in the VOC development kit.
    assert palette[:5].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
    ]
    assert palette[15].tolist() == [192, 128, 128]
    assert palette[20].tolist() == [0, 64, 128]
    assert palette[IGNORE_INDEX].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_own_table_with_prompts_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text(TABLE + 'palette = [[1, 2, 3], [4, 5, 6]]\n[prompts]\ndog = "dog, hound"\n')
    zoo = read_vocabulary(path)
    assert zoo.prompts == ("cat", "dog, hound")
    assert zoo.palette[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert zoo.palette[2].tolist() == [0, 128, 0]


def test_own_table_with_attributes_of_some_classes(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text(TABLE + '[attributes]\ndog = ["A wet nose.", "A tail."]\n')
    assert read_vocabulary(path).attributes == {"dog": ("A wet nose.", "A tail.")}


@pytest.mark.parametrize(("name", "least"), [("voc", 12), ("scenes", 12), ("coco", 8)])
def test_tables_that_ship_describe_every_class_and_nothing_around_it(name: str, least: int) -> None:
    table = load_vocabulary(name)
    assert tuple(table.attributes) == table.classes
    assert min(map(len, table.attributes.values())) >= least
    sentences = [sentence for own in table.attributes.values() for sentence in own]
    assert len(set(sentences)) == len(sentences)
    around = re.compile(rf"\b({'|'.join(table.background_texts)})s?\b", re.IGNORECASE)
    assert [sentence for sentence in sentences if around.search(sentence)] == []


def test_classes_that_voc_and_coco_share_have_the_same_sentences() -> None:
    voc, coco = load_vocabulary("voc").attributes, load_vocabulary("coco").attributes
    shared = set(voc) & set(coco)
    assert len(shared) == 14
    for name in shared:
        assert set(coco[name]) <= set(voc[name]), name


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "zoo"', "", "missing name"),
        ('name = "zoo"', 'name = "zoo"\ncolour = 1', "unknown colour"),
        ("templates =", "template =", r"unknown template \(templates\?\)"),
        ('"dog"', '"cat"', "classes is not a list of different texts"),
        ('"dog"', '"background"', "background is no class"),
        ('["cat", "dog"]', "[]", "0 classes"),
        ('["cat", "dog"]', str([f"c{i}" for i in range(65535)]).replace("'", '"'), "65535 classes"),
        ('"a {}."', '"a thing."', "every template needs one {}"),
        ('["sky"]', '"sky"', "background_texts is not a list"),
        ('["sky"]', '["sky"]\npalette = [[0, 0, 256]]', "palette entry"),
        ('["sky"]', '["sky"]\n[prompts]\ncow = "cow"', "unknown classes cow"),
        ('["sky"]', '["sky"]\n[prompts]\ncat = ["cat", "kitten"]', "one text, not a list"),
        ('["sky"]', '["sky"]\nattributes = 1', "attributes do not map classes"),
        (
            '["sky"]',
            '["sky"]\n[attributes]\ncow = ["It moos."]',
            "attributes of unknown classes cow",
        ),
        ('["sky"]', '["sky"]\n[attributes]\ncat = []', "attributes of cat are not a list"),
        ('["sky"]', '["sky"]\n[attributes]\ncat = "It purrs."', "attributes of cat are not a list"),
        ('["sky"]', '["sky"]\n[attributes]\ncat = ["a", "a"]', "attributes of cat are not a list"),
        ('["sky"]', '["sky"', "not valid TOML"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    path = tmp_path / "zoo.toml"
    assert old in TABLE
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(UsageError, match=named.replace("{", r"\{")):
        read_vocabulary(path)


def test_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"voc") as caught:
        load_vocabulary("../voc")
    assert caught.value.exit_code == 2


def test_near_matches_ignore_case_and_spaces() -> None:
    classes = load_vocabulary("voc").classes
    assert near_matches("Potted Plant", classes)[0] == "pottedplant"
    assert near_matches("tv/monitor", classes)[0] == "tvmonitor"
    assert near_matches("zzz", classes) == []
