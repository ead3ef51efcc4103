"""What labels the pictures: a network of a run or of a folder, or maps alone."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gleclip_cli.artifacts.checkpoint import checkpoint_files
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.run_dir import RunDir, printable, run_of
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import PredictConfig
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary, parse_vocabulary
from gleclip_cli.errors import BadInput, MissingInput, UsageError
from gleclip_cli.model.weights import find_clip
from gleclip_cli.refine.decide import Decision
from gleclip_cli.resources import clip_files

Label = Callable[[NDArray[np.uint8], Sequence[int] | None], Decision]
"""Picture (H, W, 3) and the ids of its classes, if they are known -> labels and confidence."""


@dataclass(frozen=True)
class Model:
    """Which model, before it is loaded; `weights`: hashes of all that decides what it says."""

    vocabulary: Vocabulary
    weights: dict[str, str]
    load: Callable[[torch.device, Callable[[str], None]], Label]


def network_model(checkpoint: Path, run: RunDir, config: PredictConfig) -> Model:
    """Return a trained network; colours are those of a class table beside it, else of its run.

    That is the run it lies in, or else `run`.

    Raises:
        MissingInput: there is no such checkpoint.
        BadInput: it does not tell its classes.
    """
    checkpoint, about = checkpoint_files(checkpoint)
    if not checkpoint.exists():
        raise MissingInput(
            f"There is no network {printable(checkpoint)}.",
            "Run `gleclip train-seg` first, or name --run and --name, or --checkpoint.",
        )
    meta = read_json(about)
    try:
        names, digest = tuple(meta["classes"]), str(meta["sha256"])
        clip = str(meta["clip_sha256"])
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{printable(checkpoint)} does not tell its {error}.", "Train it again."
        ) from error
    vocabulary = _vocabulary(names, checkpoint, run)

    def load(device: torch.device, warn: Callable[[str], None]) -> Label:
        from gleclip_cli.cam.texts import naming_texts
        from gleclip_cli.seg.labeller import Naming, load_labeller
        from gleclip_cli.seg.predict import views_of

        texts, names = naming_texts(vocabulary), (config.clip_model, config.clip_weights)
        return load_labeller(
            checkpoint,
            device,
            views=views_of(config),
            crf=config.crf,
            naming=Naming(texts, *names) if config.regions else None,
            warn=warn,
        )

    classes = _hash((vocabulary, config.clip_model, config.clip_weights))
    classes = classes if config.regions else _hash(names)
    return Model(vocabulary, {"network": digest, "clip": clip, "classes": classes}, load)


def map_model(run: RunDir, config: PredictConfig, classes: str, tags: Sequence[str]) -> Model:
    """Return a method that makes maps; its classes are those of the run, of a table, or the tags.

    Raises:
        MissingInput: no class is known, or GLE-CLIP has not been trained.
        UsageError: no such table.
    """
    vocabulary = _own_classes(run, classes, tags, free=config.method != "gle-clip")
    about: dict[str, Any] = {"classes": _hash(vocabulary)}
    if config.method == "gle-clip":
        checkpoint = run.cam_checkpoint()
        if not checkpoint.exists():
            raise MissingInput(
                f"{printable(run.root)} has no trained GLE-CLIP.", "Run `gleclip train-cam` first."
            )
        about["gle-clip"] = str(read_json(checkpoint.with_suffix(".json"))["sha256"])
    else:
        about["clip"] = find_clip(*clip_files(config.clip_model, config.clip_weights)).sha256

    def load(device: torch.device, warn: Callable[[str], None]) -> Label:
        from gleclip_cli.cam.labeller import load_map_labeller

        return load_map_labeller(run, config, vocabulary, device, warn=warn)

    return Model(vocabulary, about, load)


def _vocabulary(names: tuple[str, ...], checkpoint: Path, run: RunDir) -> Vocabulary:
    """Return the table of these classes, for their colours."""
    tables = [str(checkpoint.with_name("classes.toml"))]
    for home in (run_of(checkpoint), run):
        with suppress(MissingInput):  # a network may travel without its run
            tables.append(load_prepared(home).vocabulary)
    for table in tables:
        with suppress(UsageError):
            known = load_vocabulary(table)
            if known.class_names == names:
                return known
    return _plain(names[1:])


def _own_classes(run: RunDir, classes: str, tags: Sequence[str], *, free: bool) -> Vocabulary:
    if classes:
        return load_vocabulary(classes)
    try:
        return load_vocabulary(load_prepared(run).vocabulary)
    except MissingInput:
        if not (free and tags):
            raise
    return _plain(tags)


def _plain(names: Sequence[str]) -> Vocabulary:
    vocabulary = parse_vocabulary(class_table(names), "of the classes")
    return replace(vocabulary, text="")


def _hash(content: object) -> str:
    return sha256(repr(content).encode()).hexdigest()
