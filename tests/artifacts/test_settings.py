"""What decides a stage key, and how differences are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.settings import differences, joint_digest, stage_settings
from gleclip_cli.config import GenCamConfig

UPSTREAM = Manifest(
    "prepare_data", "k" * 64, {}, True, Path("manifest.json"), {"name": "", "digest": "d" * 64}
)


def settings(
    config: Any = None,
    *,
    stage: str = "gen_cam",
    weights: dict[str, str] | None = None,
    upstream: Manifest = UPSTREAM,
) -> dict[str, Any]:
    config = config or GenCamConfig()
    return stage_settings(
        stage, "train", config, weights or {"clip": "1"}, {"prepare_data": upstream}
    )


def test_the_key_follows_everything_that_changes_the_output() -> None:
    key = settings()["key"]
    assert len(key) == 64
    others = [
        settings(GenCamConfig(flip=True)),
        settings(stage="refine"),
        settings(weights={"clip": "2"}),
        settings(upstream=replace(UPSTREAM, key="x")),
    ]
    assert len({key, *(other["key"] for other in others)}) == 5


def test_a_limit_is_told_and_no_part_of_the_key() -> None:
    assert settings(GenCamConfig(limit=3))["key"] == settings()["key"]
    assert settings(GenCamConfig(limit=3))["config"]["limit"] == 3


def test_the_key_does_not_follow_the_content_of_the_input() -> None:
    # Single images may be mended upstream; `Stage.todo` finds which.
    mended = replace(UPSTREAM, data={"name": "", "digest": "x"})
    assert settings(upstream=mended)["key"] == settings()["key"]
    assert settings(upstream=mended)["digests"] != settings()["digests"]


def test_order_and_kinds_of_sequences_do_not_matter() -> None:
    first = settings({"a": 1, "scales": (0.5, 1.0)})
    assert first["key"] == settings({"scales": [0.5, 1.0], "a": 1})["key"]


def test_differences_are_told_by_name() -> None:
    old = settings({"scales": (1.0,), "gone": 1, "same": 2})
    new = settings(
        {"scales": (0.5, 1.0), "same": 2, "added": "x"},
        weights={"clip": "b" * 64},
        upstream=replace(UPSTREAM, key="z" * 64),
    )
    assert differences(old, new) == [
        'added unset -> "x"',
        "gone 1 -> unset",
        f"input prepare_data {'k' * 12} -> {'z' * 12}",
        "scales [1.0] -> [0.5, 1.0]",
        f"weight clip 1 -> {'b' * 12}",
    ]
    assert differences({**old, "format": 0}, old) == ["format 0 -> 1"]
    assert differences(old, old) == []


def test_inputs_have_one_joint_digest() -> None:
    assert joint_digest({}) == ""
    assert joint_digest({"a": "1", "b": "2"}) == joint_digest({"b": "2", "a": "1"})
    assert joint_digest({"a": "1"}) != joint_digest({"b": "1"})
