"""A written class table reads as it was meant, whatever the names of classes hold."""

import tomllib

import pytest

from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import load_vocabulary, parse_vocabulary


@pytest.mark.parametrize("counts", [None, {"cat": 2}])
def test_any_name_survives(counts: dict[str, int] | None) -> None:
    odd = 'a"b', "c\\d", "e\nf", "g\x7f\x1bh", "Kätzchen \U0001f431", "{}", "# no comment", "]"
    table = parse_vocabulary(class_table(["cat", *odd], counts=counts), "test")
    assert table.classes == ("cat", *odd)
    assert table.prompts == table.classes
    assert table.templates == load_vocabulary("voc").templates
    assert table.background_texts == load_vocabulary("voc").background_texts


def test_synonyms_underscores_and_switched_off_lines() -> None:
    text = class_table(["person", "umbrella", "traffic_light", "cat"])
    assert parse_vocabulary(text, "test").prompts == (
        "person with clothes,people,human",
        "umbrella,parasol",
        "traffic light",
        "cat",
    )
    assert tomllib.loads(text.replace('# "cat" = "cat"', '"cat" = "kitten"'))["prompts"]["cat"] == (
        "kitten"
    )


def test_attributes_only_wait_to_be_filled_in() -> None:
    text = class_table(["cat", 'a "b"'])
    assert parse_vocabulary(text, "test").attributes == {}
    head, lines = text.split("# [attributes]")
    filled = head + "[attributes]" + lines.replace("\n# ", "\n")
    assert list(parse_vocabulary(filled, "test").attributes) == ["cat", 'a "b"']


def test_background_words_that_are_classes_are_left_out() -> None:
    background = parse_vocabulary(class_table(["Grass", "trees", "roads"]), "test").background_texts
    left_out = set(load_vocabulary("voc").background_texts) - set(background)
    assert left_out == {"grass", "tree", "road"}


def test_counts_stand_beside_the_classes() -> None:
    text = class_table(["cat", "dog"], counts={"cat": 3})
    assert '"cat",  # 3 images\n' in text
    assert '"dog",  # 0 images\n' in text
    assert "images" not in class_table(["cat"]).split("classes = [")[1].split("]")[0]
