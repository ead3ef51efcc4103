"""The texts of a class table: plain, with synonyms, with attributes; embedded once per run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam import texts as module
from gleclip_cli.cam.texts import remembered, wording_of
from gleclip_cli.config import TEXTS, GenCamConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.texts import Wording, text_embeddings
from gleclip_cli.model.weights import find_clip

VOC = load_vocabulary("voc")


def test_plain_is_names_synonyms_are_prompts() -> None:
    plain = wording_of(VOC, "plain", background_texts=True)
    assert plain == Wording(VOC.classes, VOC.background_texts, VOC.templates)
    synonyms = wording_of(VOC, "synonyms", background_texts=False)
    assert synonyms == Wording(VOC.prompts, (), VOC.templates)
    assert synonyms.prompts != plain.prompts


def test_enriched_is_synonyms_and_attributes_by_class() -> None:
    shuffled = replace(VOC, attributes=dict(reversed(VOC.attributes.items())))
    rich = wording_of(shuffled, "enriched", background_texts=True)
    assert replace(rich, attributes=()) == wording_of(VOC, "synonyms", background_texts=True)
    assert rich.attributes[VOC.classes.index("boat")] == VOC.attributes["boat"]


def test_a_class_without_attributes_is_named() -> None:
    some = {name: own for name, own in VOC.attributes.items() if name not in ("cow", "sofa")}
    with pytest.raises(UsageError, match="no attributes of cow, sofa") as caught:
        wording_of(replace(VOC, attributes=some), "enriched", background_texts=True)
    assert "--texts synonyms" in caught.value.remedy


def test_other_texts_are_refused() -> None:
    assert [GenCamConfig(texts=texts).texts for texts in TEXTS] == list(TEXTS)
    with pytest.raises(UsageError, match="--texts is 'names'"):
        GenCamConfig(texts="names")


def test_any_change_of_the_wording_is_embedded_anew(
    tmp_path: Path, tiny_clip_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find_clip(tiny_clip_json, "random")
    clip = build_clip(source)
    embed = remembered(RunDir(tmp_path), source)
    wordings = [
        Wording(("cat", "dog"), ("sky",), ("{}",)),
        Wording(("cat",), ("dog", "sky"), ("{}",)),
        Wording(("cat", "dog"), ("sky",), ("{}",), (("It purrs.",), ("It barks.",))),
    ]
    first = [embed(clip, wording) for wording in wordings]
    for kept, wording in zip(first, wordings, strict=True):
        assert torch.equal(kept, text_embeddings(clip, wording))
    monkeypatch.setattr(module, "text_embeddings", None)  # nothing is encoded again
    assert all(map(torch.equal, first, (embed(clip, wording) for wording in wordings)))
