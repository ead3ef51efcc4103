"""`report.html`: everything a run can tell, in one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gleclip_cli import __version__
from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.parallel.batches import helpers
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.resources import data_file
from gleclip_cli.tools.report import curves, figures
from gleclip_cli.tools.report.gallery import choose
from gleclip_cli.tools.report.gaps import Gap, find_gaps, next_command
from gleclip_cli.tools.report.outputs import Output, read_outputs
from gleclip_cli.tools.report.scores import read_evaluations

_SECTIONS = {
    "results": "Results",
    "classes": "Classes",
    "confusion": "Confusion",
    "threshold": "Threshold",
    "training": "Training",
    "time": "Time",
    "gallery": "Gallery",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class Report:
    """A written page: `size` in bytes, `images` in its gallery, `gaps` it names."""

    path: Path
    size: int
    images: int
    gaps: tuple[Gap, ...]


def report(
    run: RunDir,
    *,
    images: int = 300,
    split: str | None = None,
    workers: int = 0,
    progress: Progress = SILENT,
) -> Report:
    """Write `<run>/report.html` from what the run holds, finished or not.

    `images`: most images in the gallery, of all splits or of one; `workers`: threads that make
    thumbnails beside one per core. The same run gives the same bytes.

    Raises:
        MissingInput: no data were prepared.
        UsageError: a negative number, or a split that the data set has not.
    """
    if images < 0 or workers < 0:
        raise UsageError("A number of images or workers is negative.", "Use 0 or more.")
    data = load_prepared(run)
    vocabulary = load_vocabulary(data.vocabulary)
    outputs = read_outputs(run, data.dataset)
    evaluations, faults = read_evaluations(outputs)
    gallery = choose(run, data, vocabulary, outputs, evaluations, split=split, images=images)
    gaps = find_gaps(run, data, outputs, evaluations, faults)
    context = {
        **_frame(run, data, vocabulary, outputs),
        **figures.score_table(evaluations),
        **figures.class_table(evaluations, vocabulary.class_names, vocabulary.palette),
        **figures.confusion_part(evaluations, vocabulary.class_names),
        **figures.time_part(outputs),
        "sweeps": curves.sweep_figures(evaluations),
        "trainings": curves.training_figures(outputs),
        "missing": gaps,
        "sweep_command": next_command(run, "evaluate", "--what cam --split train"),
        "gallery": gallery.about,
        "cards": gallery.cards(workers=helpers(workers), progress=progress),
        "outputs": [_described(output) for output in outputs],
    }
    size = _write(run.report(), context)
    return Report(run.report(), size, len(gallery.picked), tuple(gaps))


def _write(path: Path, context: dict[str, Any]) -> int:
    """Render piece by piece, so that memory does not grow with the gallery."""
    folder = data_file("report", "report.html").parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = data_file("report", "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    code = {
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "style": Markup(data_file("report", "report.css").read_text(encoding="utf-8")),
    }
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            for piece in environment.get_template("report.html").generate(**context, **code):
                file.write(piece.encode("utf-8", "backslashreplace"))
        return temporary.stat().st_size


def _frame(
    run: RunDir, data: PreparedData, vocabulary: Vocabulary, outputs: Sequence[Output]
) -> dict[str, Any]:
    """Return title, one paragraph on what the run is, and the sections."""
    name = printable(run.root.resolve().name)
    counts = ", ".join(f"{len(data.image_ids(s))} images of {s}" for s in data.splits())
    about = f"Data set {data.dataset}: {len(vocabulary.classes)} classes, {counts}."
    for output in outputs:
        config = output.data.get("config", {})
        if output.stage == "gen_cam" and output.exists:
            method, clip = config.get("method"), Path(str(config.get("clip_model"))).name
            about += f" Maps of {output.name} by {method} with CLIP {clip}."
            if config.get("labels") == "none":
                about += " They were made without tags."
    ended = max((output.ended for output in outputs), default="")
    if ended:
        about += f" Last worked on {ended[:10]}."
    return {
        "run_name": name,
        "about": printable(about),
        "sections": list(_SECTIONS.items()),
        "version": __version__,
    }


def _described(output: Output) -> dict[str, Any]:
    """Return what the page tells of the provenance of one output."""
    data = output.data
    counts = [f"{n} {name.replace('_', ' ')}" for name, n in data.get("counts", {}).items() if n]
    if output.seconds is not None:
        counts.append(figures.duration(output.seconds))
    failures = [
        {key: printable(row.get(key, "")) for key in ("id", "reason", "remedy")}
        for row in data.get("failures", [])
    ]
    return {
        "title": output.title,
        "state": output.state,
        "command": output.command,
        "counts": ", ".join(counts),
        "warnings": [printable(warning) for warning in data.get("warnings", [])],
        "failures": failures,
        "failed": data.get("counts", {}).get("failed", 0),
        "manifest_text": output.manifest_text,
    }
