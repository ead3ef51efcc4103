"""Micro-CLIP's training: the schedule, exact resume, and files that load as a CLIP does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gleclip_cli.model.clip import load_clip
from gleclip_cli.tools import train_micro_clip
from gleclip_cli.tools.train_micro_clip import Recipe, Training

TOY = Recipe(close_ups=4, views=4, batch_size=2, warmup_steps=2)


@pytest.fixture(autouse=True)
def quick_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_micro_clip, "zero_shot_accuracy", lambda *_: 0.0)


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(close_ups=700, views=300, batch_size=10, warmup_steps=10, decay_share=0.2)
    rates = [recipe.rate(step) / recipe.learning_rate for step in range(recipe.steps())]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:80] == pytest.approx([1.0] * 71)
    assert rates[90] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.05)


def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Training(TOY, tmp_path / "whole", "cpu").run(workers=0, save_every=1e9)
    cut = Training(TOY, tmp_path / "cut", "cpu")
    learn = cut.update

    def update_twice(images: torch.Tensor, captions: list[str]) -> float:
        if cut.step == 2:
            cut.save()
            raise KeyboardInterrupt
        return learn(images, captions)

    monkeypatch.setattr(cut, "update", update_twice)
    with pytest.raises(KeyboardInterrupt):
        cut.run(workers=0, save_every=1e9)
    Training(TOY, tmp_path / "cut", "cpu").run(workers=0, save_every=1e9)
    whole = load_file(tmp_path / "whole" / "weights.safetensors")
    resumed = load_file(tmp_path / "cut" / "weights.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    record = json.loads((tmp_path / "cut" / "provenance.json").read_text())
    assert record["pictures_seen"] == 8


def test_the_result_loads_like_any_clip(tmp_path: Path) -> None:
    training = Training(TOY, tmp_path, "cpu")
    training.save()
    clip = load_clip(str(tmp_path / "config.json"), str(tmp_path / "weights.safetensors"))
    assert (clip.patch_size, clip.image_size, clip.num_layers) == (8, 112, 6)
    words = training.tokenizer(["a photo of a cat"])
    with torch.no_grad():
        expected = training.model.eval().encode_text(words, normalize=True)
    assert torch.allclose(clip.encode_texts(words), expected, atol=5e-3)  # stored as half


def test_a_training_starts_from_other_weights_and_records_whose(tmp_path: Path) -> None:
    Training(TOY, tmp_path / "first", "cpu").save()
    second = Training(TOY, tmp_path / "second", "cpu", start=tmp_path / "first")
    first = load_file(tmp_path / "first" / "weights.safetensors")
    state = second.model.state_dict()
    assert all(torch.equal(first[name].float(), state[name]) for name in first)
    earlier = json.loads((tmp_path / "first" / "provenance.json").read_text())
    assert second.record()["started_from"] == earlier
