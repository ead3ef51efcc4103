"""A trained network for other programs: as ONNX, or as a folder for a model hub."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.checkpoint import load_checkpoint
from gleclip_cli.artifacts.manifest import load_manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest
from gleclip_cli.artifacts.tables import PreparedData, load_scores
from gleclip_cli.config import PREDICTING
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.interop.hub import Card, Evaluated, write_hub
from gleclip_cli.tools.report.commands import command_line

_STAGES = ("prepare_data", "train_cam", "gen_cam", "refine", "train_seg")
_LIMITS = (
    "Image-level labels say which classes a picture shows, not where: outlines are less exact than "
    "those of a network that learnt from true masks, and what always comes together, such as a "
    "train and its rails, may be taken for one."
)


def write_network(out: Path, run: RunDir, name: str, kind: str, data: PreparedData) -> str:
    """Write the network `name` of a run, `kind` onnx or hub; return what is to be told of it.

    Raises:
        MissingInput: there is no such network.
        EnvironmentFault: a package is missing.
        GleclipError: it cannot be exported, or does something else as ONNX.
    """
    trained = load_manifest(run, "train_seg", name)
    tensors, meta = load_checkpoint(run.checkpoint(name))
    meta["network"] = {fact: _bare(value) for fact, value in meta["network"].items()}
    if kind == "onnx":
        # Only here: open_clip and torchvision double the time to start.
        from gleclip_cli.interop.onnx_model import check_onnx, write_onnx
        from gleclip_cli.seg.network import network_at

        check_onnx()
        facts = {"gleclip": trained.data["versions"]["gleclip"], "checkpoint": meta["sha256"]}
        network = network_at(run.checkpoint(name))
        return write_onnx(out, network, meta["classes"], facts)
    evaluated = _evaluated(run, trained, data)
    card = Card(
        name=f"{data.dataset}-{name}",
        dataset=data.dataset,
        meta=meta,
        trained_on=_trained_on(trained, data),
        evaluated=evaluated,
        commands=_commands(run, trained, data),
        facts={"gleclip": _version(trained), "torch": trained.data["versions"].get("torch", "")},
    )
    vocabulary = load_vocabulary(data.vocabulary)
    table = vocabulary.text or class_table(vocabulary.classes, name=vocabulary.name)
    write_hub(out, tensors, card, table)
    clip = meta["network"].get("clip_weights")
    needs = f"; the weights of its CLIP, {clip}, are not in it" if clip else ""
    figures = [f"{100 * one.scores.miou:.1f} on {one.split}" for one in evaluated]
    told = f"mIoU {', '.join(figures)}" if figures else "never evaluated, and its card says so"
    return told + needs


def _trained_on(trained: Manifest, data: PreparedData) -> str:
    config, counts = trained.data["config"], trained.counts
    masks = {
        "pseudo": "pseudo masks made from image-level labels",
        "gt": "true masks",
    }[config["targets"]]
    limits = f" {_LIMITS}" if config["targets"] == "pseudo" else ""
    return (
        f"Trained on {masks} of {counts['images']} images, split {config['split']} of the data "
        f"set {data.dataset}, for {counts['steps']} steps.{limits}"
    )


def _evaluated(run: RunDir, trained: Manifest, data: PreparedData) -> list[Evaluated]:
    """Evaluations of this very network, val first."""
    found = []
    for split in sorted(data.splits(), key=lambda split: (split != "val", split)):
        with suppress(MissingInput, BadInput, KeyError):
            manifest = load_manifest(run, "evaluate", f"{trained.data['name']}-{split}")
            if manifest.data["digests"][trained.name] == trained.digest:
                how = _views(manifest.data["config"])
                found.append(Evaluated(split, load_scores(manifest.path.parent), how))
    return found


def _views(config: Mapping[str, Any]) -> str:
    shown = {name: config[name] for name in PREDICTING if config.get(name) not in (None, False)}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _commands(run: RunDir, trained: Manifest, data: PreparedData) -> list[str]:
    """The command lines of the stages that led to it, and of its evaluations."""
    outputs = [output for stage in _STAGES[:-1] for output in run.outputs(stage)]
    manifests = [trained]
    for folder in reversed(outputs):
        stage, _, name = folder.relative_to(run.root).as_posix().partition("/")
        with suppress(MissingInput, BadInput):
            manifest = load_manifest(run, stage, name)
            if any(manifest.name in later.data["digests"] for later in manifests):
                manifests.insert(0, manifest)
    lines = [_line(manifest, run, data) for manifest in manifests]
    for split in data.splits():
        with suppress(MissingInput, BadInput):
            name = f"{trained.data['name']}-{split}"
            lines.append(_line(load_manifest(run, "evaluate", name), run, data))
    return lines


def _line(manifest: Manifest, run: RunDir, data: PreparedData) -> str:
    """The command line; elsewhere the name of a file or a run says enough of its place."""
    config = {name: _bare(value) for name, value in manifest.data["config"].items()}
    told = {**manifest.data, "config": config}
    return command_line(manifest.stage, told, run=f"runs/{run.root.name}", dataset=data.dataset)


def _bare(value: Any) -> Any:
    absolute = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if absolute else value


def _version(trained: Manifest) -> str:
    commit = str(trained.data.get("commit") or "")
    version = str(trained.data["versions"]["gleclip"])
    return f"{version}, commit {commit[:12]}" if commit else version
