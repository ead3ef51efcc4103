"""Packaged files are found in a checkout and in a wheel."""

from pathlib import Path

import pytest

from gleclip_cli import resources
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.resources import clip_files, data_file


def test_a_packaged_file_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_file("classes", "voc.toml").is_file()


def test_a_wheel_comes_before_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("wheel", "checkout"):
        (tmp_path / place / "micro_clip").mkdir(parents=True)
        (tmp_path / place / "micro_clip" / "config.json").touch()
    (tmp_path / "checkout" / "micro_clip" / "weights.safetensors").touch()
    monkeypatch.setattr(resources, "_PLACES", (tmp_path / "wheel", tmp_path / "checkout"))
    assert clip_files("micro-clip", "micro-clip") == (
        str(tmp_path / "wheel" / "micro_clip" / "config.json"),
        str(tmp_path / "checkout" / "micro_clip" / "weights.safetensors"),
    )


def test_other_names_pass_unchanged() -> None:
    assert clip_files("ViT-B-16-quickgelu", "openai") == ("ViT-B-16-quickgelu", "openai")
    assert clip_files("my/config.json", "random") == ("my/config.json", "random")


def test_a_missing_file_is_a_fault_of_the_installation() -> None:
    with pytest.raises(EnvironmentFault, match=r"data/classes/none\.toml is missing"):
        data_file("classes", "none.toml")
