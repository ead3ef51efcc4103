"""What open_clip knows by name: architectures, and weights by tag, fetched when not cached.

All its weights are on the hub of Hugging Face.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip

from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError

_HUB = huggingface_hub.constants.ENDPOINT
_PATIENCE = 5.0
"""Seconds that the hub has to answer."""


def architecture(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return open_clip's model and preprocessing configuration of a name or a JSON file.

    Raises:
        UsageError: no such name or file.
        BadInput: a file that is no configuration.
    """
    if not model.endswith(".json"):
        config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
        if config is None:
            close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
            raise UsageError(
                f"open_clip knows no model {model!r}.",
                f"Choose {' or '.join(close)}." if close else "Name one of open_clip's models.",
            )
        return config, {}
    try:
        read = json.loads(Path(model).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"There is no model configuration {model}.", "Name an existing file with --clip-model."
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{model} cannot be read as JSON: {error}.", "Mend the file.") from None
    config = read.get("model_cfg", read) if isinstance(read, dict) else {}
    if missing := {"embed_dim", "vision_cfg", "text_cfg"} - set(config):
        raise BadInput(
            f"{model} is no open_clip model configuration: {', '.join(sorted(missing))} missing.",
            "Use the JSON format of open_clip's model_configs.",
        )
    return config, read.get("preprocess_cfg", {})


def tag_settings(model: str, tag: str, *, random: str) -> dict[str, Any]:
    """Return what open_clip knows about the weights `tag`: preprocessing, activation, address.

    Raises:
        UsageError: no such tag.
    """
    if not open_clip.pretrained.is_pretrained_cfg(model, tag):
        known = open_clip.list_pretrained_tags_by_model(model)
        raise UsageError(
            f"open_clip has no weights {tag!r} for {model}.",
            f"Use a file, {random}, or one of: {', '.join(known)}."
            if known
            else f"Name a weights file with --clip-weights, or {random}.",
        )
    settings: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    return settings


def cached(settings: Mapping[str, Any]) -> Path | None:
    """Return the file of a tag if it has been fetched before; asks nobody."""
    repository, _, name = settings["hf_hub"].rpartition("/")
    name = name or open_clip.constants.HF_WEIGHTS_NAME
    safe = f"{Path(name).stem}.safetensors"
    if name == open_clip.constants.HF_WEIGHTS_NAME:
        safe = open_clip.constants.HF_SAFE_WEIGHTS_NAME
    found = (huggingface_hub.try_to_load_from_cache(repository, each) for each in (safe, name))
    return next((Path(file) for file in found if isinstance(file, str)), None)


def fetch(model: str, tag: str, settings: dict[str, Any]) -> Path:
    """Return the cached or fetched file of a tag.

    Raises:
        EnvironmentFault: the hub cannot be reached.
    """
    if file := cached(settings):
        return file
    try:
        reach_hub()
        return Path(open_clip.download_pretrained(settings))
    except Exception as error:  # unreachable, refused, wrong checksum: each client has its own
        reason = " ".join(str(error).split()) or repr(error)
        raise EnvironmentFault(
            f"The weights {tag!r} of {model} are not on this machine and cannot be fetched from "
            f"{_HUB}: {reason}",
            "Connect once, or name a file of them with --clip-weights FILE; for a trial there is "
            "--clip-model micro-clip --clip-weights micro-clip, which knows the classes of scenes.",
        ) from error


def reach_hub() -> None:
    """Ask the hub for a sign of life, because its client would try for a minute.

    Raises:
        Exception: there is none; each client has its own.
    """
    huggingface_hub.get_session().head(_HUB, timeout=_PATIENCE)


def check_activation(model: str, config: dict[str, Any], weights: str, trained: bool) -> None:
    """Compare the activation of a model with the one its weights were trained with (QuickGELU?).

    Raises:
        UsageError: they differ, so every layer would compute something else than it learnt.
    """
    if bool(config.get("quick_gelu")) == trained:
        return
    if model.endswith(".json"):
        remedy = f'Set "quick_gelu": {json.dumps(trained)} in {model}.'
    else:
        twin = f"{model}-quickgelu" if trained else model.removesuffix("-quickgelu")
        remedy = f"Use --clip-model {twin}."
    raise UsageError(
        f"The weights {weights!r} were not trained with the activation of {model}.", remedy
    )
