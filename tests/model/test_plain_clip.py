"""What is a plain CLIP, and what is refused; texts become tokens of the model's length."""

import json
from pathlib import Path

import pytest

from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.model.plain_clip import build_plain, tokenizer_of
from gleclip_cli.model.weights import find_clip

FOREIGN = ("RN50", "ViT-B-16-SigLIP", "xlm-roberta-base-ViT-B-32", "coca_ViT-B-32")


@pytest.mark.parametrize("name", FOREIGN)
def test_an_architecture_that_is_no_plain_clip_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="plain CLIP"):
        build_plain(find_clip(name, "random"))


@pytest.mark.parametrize(
    ("part", "kind", "told"),
    [({"pool_type": "avg"}, UsageError, "plain CLIP"), ({"colour": "red"}, BadInput, "colour")],
)
def test_a_configuration_of_another_kind_is_refused(
    tiny_clip_json: str, tmp_path: Path, part: dict[str, str], kind: type[Exception], told: str
) -> None:
    config = json.loads(Path(tiny_clip_json).read_text())
    config["vision_cfg"] |= part
    (tmp_path / "variant.json").write_text(json.dumps(config))
    with pytest.raises(kind, match=told):
        build_plain(find_clip(str(tmp_path / "variant.json"), "random"))


def test_texts_become_tokens_of_the_models_length(tiny_clip_json: str) -> None:
    source = find_clip(tiny_clip_json, "random")
    length = source.config["text_cfg"]["context_length"]
    assert tokenizer_of(source)(["a cat", "a dog on a sofa"]).shape == (2, length)
