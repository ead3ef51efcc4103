"""The card of a network."""

from gleclip_cli.artifacts.tables import Scores
from gleclip_cli.interop.hub import Card, Evaluated, card_text

META = {
    "network": {"arch": "clip-decoder", "clip_model": "ViT-B-16", "clip_weights": "openai"},
    "clip_sha256": "0123456789abcdef",
    "classes": ["background", *(f"class {n}" for n in range(60))],
}


def card(**values: object) -> str:
    told: dict[str, object] = {
        "name": "voc-seg",
        "dataset": "voc",
        "meta": META,
        "trained_on": "Trained on nothing.",
        "evaluated": [],
        "commands": ["gleclip a", "gleclip b"],
    }
    return card_text(Card(**{**told, **values}))


def test_what_was_not_measured_is_not_told() -> None:
    text = card()
    assert "has not been evaluated" in text
    assert "model-index" not in text
    assert "gleclip a\ngleclip b" in text


def test_long_lists_and_clip_are_named() -> None:
    text = card()
    assert "61 labels: background, class 0" in text
    assert "class 38 and 21 more" in text
    assert "CLIP `ViT-B-16` with the weights `openai` (SHA-256 0123456789ab" in text


def test_every_evaluation_has_a_row_and_the_first_its_classes() -> None:
    scores = [Scores(0.5, {"cat": 0.75}, 7), Scores(0.25, {"cat": None}, 9)]
    text = card(evaluated=[Evaluated("val", scores[0], "flip"), Evaluated("train", scores[1], "")])
    assert "| voc | val | 7 | 50.00 | flip |\n| voc | train | 9 | 25.00 |  |" in text
    assert "| cat | 75.00 |" in text
    assert "absent" not in text
