"""Which values a command works with: command line > environment > TOML > preset > default."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import typer

from gleclip_cli.artifacts.run_dir import RunDir, last_run
from gleclip_cli.cli.console import Report
from gleclip_cli.cli.values import build, dashed
from gleclip_cli.config import (
    CONFIGS,
    TRAIN,
    TRAINAUG,
    Execution,
    PrepareDataConfig,
    field_names,
)
from gleclip_cli.errors import GleclipError, MissingInput, UsageError
from gleclip_cli.presets import PRESETS

RUNS = Path("runs")
SPLIT = ("gen-cam", "refine", "evaluate", "predict")
"""Commands whose images are split among the processes that torchrun has started."""
FOR_ANY_STAGE = ("data", "workers", "dry_run")
"""Options that a command hands to the stage that fills a gap before it."""


@dataclass(frozen=True)
class Settings:
    """The run, and the values of every stage from all sources.

    `can_prepare`: the data set is known, so missing image lists may be made.
    """

    report: Report
    command: str
    run: RunDir
    dataset: str
    preset: str
    can_prepare: bool
    tables: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, Any]

    @classmethod
    def of_stage(cls, context: typer.Context, report: Report) -> "Settings":
        """Resolve the sources of a command for one stage.

        Raises:
            UsageError: an unknown key in the TOML file, or a data set that the run does not hold.
        """
        command, given = context.info_name or "", _given(context)
        file = context.params["config"]
        tables = read_toml(file) if file else {}
        values = {**tables.get("all", {}), **tables.get("prepare-data", {}), **given}
        named = values.get("dataset") or context.params["dataset"]
        elsewhere = context.params.get("checkpoint") is not None  # needs no run, so none is sought
        run = RunDir(run_folder(values.get("run"), named, report, last=not elsewhere))
        held = None if command == "prepare-data" else _held_dataset(run)
        if held and named and held != named:
            raise UsageError(f"{run.root} holds {held}, not {named}.", "Name another --run.")
        dataset = held or named or "scenes"
        known = bool(named)
        return cls._ready(context, report, (command, run, dataset, dataset, known, tables, given))

    @classmethod
    def of_preset(cls, context: typer.Context, report: Report) -> "Settings":
        """Resolve the sources of `gleclip run PRESET|FILE.toml`.

        Raises:
            UsageError: neither a preset nor a readable file, or a file without a data set.
        """
        given, word = _given(context), context.params["preset"]
        tables = {} if word in PRESETS else _read_preset_file(word)
        values = {**tables.get("all", {}), **tables.get("prepare-data", {})}
        preset = values.get("dataset", "") if tables else word
        if tables and preset not in PRESETS:
            raise UsageError(
                f"{word} names no known data set.", 'Write dataset = "scenes" in [all].'
            )
        if context.params["quick"]:
            preset = preset.removesuffix("-quick") + "-quick"
            if preset not in PRESETS:
                raise UsageError(f"There is no preset {preset}.", "Use --limit N instead.")
        dataset = PRESETS[preset]["prepare-data"]["dataset"]
        run = RunDir(given.get("run") or values.get("run") or RUNS / preset)
        return cls._ready(context, report, ("run", run, dataset, preset, True, tables, given))

    @classmethod
    def _ready(cls, context: typer.Context, report: Report, parts: tuple[Any, ...]) -> "Settings":
        settings = cls(report, *parts)
        if settings.dataset == "scenes" and _source(context, "data") == "ENVIRONMENT":
            # GLECLIP_DATA stays set for other data sets; scenes are drawn, not read.
            settings = replace(settings, given={**settings.given, "data": ""})
        report.run = settings.run
        report.detail(f"Run {settings.run.root}, preset {settings.preset}.")
        return settings

    def config(self, command: str) -> Any:
        """Return the configuration of one stage."""
        return build(CONFIGS[command], *self._layers(command), {"dataset": self.dataset})

    def execution(self, command: str) -> Execution:
        """Return how one stage runs."""
        # prepare-data looks at every item before any work, so it may as well stop at a bad one.
        base = {"on_bad": "stop"} if command == "prepare-data" else {}
        execution: Execution = build(Execution, base, *self._layers(command))
        return _of_torchrun(execution) if command in SPLIT else execution

    def prepare(self) -> PrepareDataConfig:
        """Return how missing image lists are made."""
        config: PrepareDataConfig = self.config("prepare-data")
        return config

    def _layers(self, command: str) -> tuple[Mapping[str, Any], ...]:
        own = self.command in (command, "run")
        given = self.given if own else {n: v for n, v in self.given.items() if n in FOR_ANY_STAGE}
        preset = PRESETS.get(self.preset, {}).get(command, {})
        layers = self.tables.get("all", {}), self.tables.get(command, {}), given
        named = any("split" in layer for layer in layers)
        if preset.get("split") == TRAINAUG and not named and not self._has_trainaug:
            preset = {**preset, "split": TRAIN}
        return preset, *layers

    @cached_property
    def _has_trainaug(self) -> bool:
        """Whether the data set has that split; if not, what takes its place is said."""
        from gleclip_cli.artifacts.tables import load_prepared
        from gleclip_cli.datasets.voc.lists import list_images

        try:
            splits = load_prepared(self.run).splits()
        except MissingInput:
            try:
                splits = list(list_images(Path(self.prepare().data).expanduser()).splits)
            except GleclipError:  # whoever reads the data says what is wrong with them
                return True
        if TRAINAUG not in splits:
            self.report.say(
                "This VOC has no trainaug, so train takes its place; "
                "`gleclip prepare-data --download` adds SBD."
            )
        return TRAINAUG in splits


def _of_torchrun(execution: Execution) -> Execution:
    """Return the share of one of torchrun's processes.

    Raises:
        UsageError: the images are split by --shard already.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return execution
    if execution.shard[1] > 1:
        raise UsageError(
            f"--shard splits the images, and so does torchrun with its {count} processes.",
            "Use one of both: torchrun can start processes on several machines, too.",
        )
    return replace(execution, shard=(int(os.environ["RANK"]), count), together=True)


def _given(context: typer.Context) -> dict[str, Any]:
    """Return what stands on the command line or in the environment."""
    typed = ("COMMANDLINE", "ENVIRONMENT")
    return {n: value for n, value in context.params.items() if _source(context, n) in typed}


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return source.name if source else ""


def run_folder(
    run: str | Path | None, dataset: str | None, report: Report, *, last: bool = True
) -> Path:
    """Return the folder of a run: as named, that of the data set, or the one used `last`."""
    if run:
        return Path(run)
    if dataset:
        return RUNS / dataset
    folder = last_run(RUNS) if last else None
    if folder:
        report.say(f"Using {folder}, the run used last.")
    return folder or RUNS / "scenes"


def _held_dataset(run: RunDir) -> str | None:
    from gleclip_cli.artifacts.tables import load_prepared

    with suppress(MissingInput):
        return load_prepared(run).dataset
    return None


def _read_preset_file(word: str) -> dict[str, dict[str, Any]]:
    if not word.endswith(".toml"):
        raise UsageError(f"There is no preset {word!r}.", nearest(word, PRESETS))
    return read_toml(Path(word))


def read_toml(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML file by command name and `all`, keys as field names.

    Raises:
        UsageError: the file is missing or not TOML, or a table or key is unknown.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.", "Name an existing TOML file.") from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}.", "Mend the file.") from None
    known = {
        command: {*field_names(config), *field_names(Execution)}
        for command, config in CONFIGS.items()
    }
    known["all"] = {"run"}.union(*known.values())
    result: dict[str, dict[str, Any]] = {}
    for table, values in tables.items():
        if table not in known or not isinstance(values, dict):
            raise UsageError(f"{path}: unknown table {table!r}.", nearest(table, known))
        result[table] = {key.replace("-", "_"): value for key, value in values.items()}
        for key in result[table]:
            if key not in known[table]:
                raise UsageError(
                    f"{path}: unknown key {key!r} in [{table}].", nearest(key, known[table])
                )
    return result


def nearest(name: str, known: Iterable[str]) -> str:
    """Return one line that names what `name` may have been meant to be."""
    names = sorted(dashed(n) for n in known)
    close = get_close_matches(dashed(name), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
