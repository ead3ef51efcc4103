"""What CLIP reads for the classes of a table, and its embeddings, kept in the run."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import open_clip
import torch
from torch import Tensor

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.artifacts.text_cache import cached_texts
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.texts import Wording, text_embeddings
from gleclip_cli.model.weights import ClipSource

Embed = Callable[[FrozenClip, Wording], Tensor]
"""Network, texts -> embeddings of classes and background words, as `text_embeddings`."""


def wording_of(vocabulary: Vocabulary, texts: str, *, background_texts: bool) -> Wording:
    """Return the texts of a class table: `plain`, `synonyms` or `enriched`.

    Raises:
        UsageError: enriched, and a class has no attributes.
    """
    attributes: tuple[tuple[str, ...], ...] = ()
    if texts == "enriched":
        missing = [name for name in vocabulary.classes if name not in vocabulary.attributes]
        if missing:
            raise UsageError(
                f"The class table {vocabulary.name} has no attributes of {', '.join(missing)}.",
                "Describe them under [attributes], or use --texts synonyms.",
            )
        attributes = tuple(vocabulary.attributes[name] for name in vocabulary.classes)
    return Wording(
        prompts=vocabulary.classes if texts == "plain" else vocabulary.prompts,
        background_words=vocabulary.background_texts if background_texts else (),
        templates=vocabulary.templates,
        attributes=attributes,
    )


def naming_texts(vocabulary: Vocabulary) -> Wording:
    """Return the texts that regions of predictions are named by."""
    return wording_of(vocabulary, "synonyms", background_texts=True)


def wording_used(run: RunDir, made_with: Mapping[str, Any]) -> Wording:
    """Return the texts that a stage has used, from its manifest's data.

    Raises:
        OtherSettings: they have changed since.
    """
    config, vocabulary = made_with["config"], load_vocabulary(load_prepared(run).vocabulary)
    words = config["background_texts"]
    wording = wording_of(vocabulary, config["texts"], background_texts=words)
    if made_with["weights"]["texts"] != texts_hash(wording):
        raise OtherSettings(
            "The texts of classes or background words have changed since they were used.",
            "Bring back the class table, or make the maps again with --overwrite.",
        )
    return wording


def texts_hash(wording: Wording) -> str:
    """Return what tells a manifest whether texts have changed."""
    return sha256(repr(wording).encode()).hexdigest()


def remembered(run: RunDir, source: ClipSource) -> Embed:
    """Return `text_embeddings` that looks first whether the run has them."""

    def embed(clip: FrozenClip, wording: Wording) -> Tensor:
        device = clip.mean.device
        made_from = {
            "clip": source.config,
            "weights": source.sha256,
            **asdict(wording),
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
            "device": device.type,  # another one rounds otherwise
        }
        return cached_texts(run, made_from, lambda: text_embeddings(clip, wording)).to(device)

    return embed
