"""The shape of the project: what stands where, what loads what, which options exist."""

import ast
import functools
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import gleclip_cli
from gleclip_cli.cli.main import app
from gleclip_cli.config import CONFIGS, STAGE_CONFIGS, Execution, field_names

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gleclip_cli"
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "LICENSE",
    "README.md",
    "data",
    "gleclip_cli",
    "pyproject.toml",
    "tests",
}
SHARED = {"config", "debug", "json_", "quiet", "run", "verbose"}
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "gleclip_cli."))
SOURCES = sorted(PACKAGE.rglob("*.py"))
LONGER = {
    "artifacts/maps.py",
    "datasets/scenes/figures.py",
    "pipeline.py",
    "stages/train_seg.py",
    "tools/train_micro_clip.py",
}


GROUP: Any = typer.main.get_command(app)


def parameters(command: str) -> dict[str, Any]:
    """Name -> parameter of a command, as Typer sees it."""
    return {p.name: p for p in GROUP.commands[command].params if p.name != "help"}


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported(module: str) -> None:
    importlib.import_module(module)


def test_public_names_are_all_there() -> None:
    assert all(getattr(gleclip_cli, name) is not None for name in gleclip_cli.__all__)
    with pytest.raises(AttributeError):
        _ = gleclip_cli.nothing


def test_the_top_level_is_closed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= TOP_LEVEL


HEAVY = ("torch", "torchvision", "open_clip", "numpy", "cv2", "PIL", "numba", "scipy", "click")


def test_help_loads_nothing_heavy() -> None:
    """All commands in one process: the first line that is not empty tells which loads what."""
    code = (
        "import sys\n"
        "from gleclip_cli.__main__ import main\n"
        f"for words in {[[], *([name] for name in GROUP.commands)]}:\n"
        "    sys.argv = ['gleclip', *words, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        f"    print('LOADED', words, [m for m in {HEAVY} if m in sys.modules])\n"
    )
    result = _python("-c", code)
    loaded = [line for line in result.stdout.splitlines() if line.startswith("LOADED")]
    assert len(loaded) == 1 + len(GROUP.commands), result.stderr
    assert all(line.endswith(" []") for line in loaded), loaded


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import gleclip_cli, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert _python("-c", code).stdout == "[]\n"


def test_help_is_quick() -> None:
    """Against the libraries that draw it, by turns: a busy machine slows both alike."""

    def seconds(*words: str) -> float:
        before = os.times()
        assert _python(*words).returncode == 0
        after = os.times()
        spent = after.children_user - before.children_user
        return spent + after.children_system - before.children_system

    drawing = ("-c", "import typer.rich_utils, rich.markdown, rich.table")
    times = [(seconds("-m", "gleclip_cli", "--help"), seconds(*drawing)) for _ in range(3)]
    assert min(own for own, _ in times) < 2 * min(bare for _, bare in times)


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, timeout=60
    )


def test_commands_stand_in_pipeline_order() -> None:
    assert list(GROUP.commands) == [
        *STAGE_CONFIGS,
        *("run", "predict", "picture", "report", "export", "check", "init", "prompts", "doctor"),
    ]


@pytest.mark.parametrize("command", CONFIGS)
def test_options_match_the_configuration(command: str) -> None:
    options, config = parameters(command), CONFIGS[command]()
    assert set(field_names(type(config))) <= set(options)
    extra = {"dataset", "data", "download"}
    if command == "evaluate":
        extra |= {"compare", "against", "details"}
    if command == "predict":
        extra |= {"images", "out", "checkpoint", "classes"}
    assert set(options) <= {*field_names(type(config)), *field_names(Execution), *SHARED, *extra}
    for name in field_names(type(config)):
        assert options[name].opts[0] == "--" + name.replace("_", "-")
        default = getattr(config, name)
        shown = [str(v) for v in default] if isinstance(default, tuple) else default
        assert options[name].default == shown, name


@pytest.mark.parametrize("command", [*CONFIGS, "run"])
def test_options_of_execution_match_it(command: str) -> None:
    options, execution = parameters(command), Execution()
    for name in set(field_names(Execution)) & set(options):
        assert options[name].opts[0] == "--" + name.replace("_", "-")
        default: Any = getattr(execution, name)
        if name == "shard":
            default = "0/1"
        if (command, name) == ("prepare-data", "on_bad"):
            default = "stop"
        assert options[name].default == default, name


@pytest.mark.parametrize("command", [*CONFIGS, "run"])
def test_every_option_has_help(command: str) -> None:
    assert all(p.help for p in parameters(command).values())


def test_tests_mirror_the_package() -> None:
    """Parities compare with an independent reference, across the parts of a package."""
    tests = ROOT / "tests"
    for file in tests.rglob("test_*.py"):
        folder = file.parent.relative_to(tests)
        top = folder == Path() or folder.parts[0] in ("benchmarks", "data")
        if top or file.stem.endswith("_parity"):
            continue
        part = PACKAGE / folder / file.name.removeprefix("test_")
        assert part.exists() or part.with_suffix("").is_dir(), f"{file} tests nothing that exists"


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_fault_72_nothing_is_loaded_that_could_run_code(file: Path) -> None:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "dill", "shelve", "marshal", "yaml"} & set(names), file
        if isinstance(node, ast.Call):
            asked = {k.arg: k.value for k in node.keywords}
            if "allow_pickle" in asked:
                assert ast.unparse(asked["allow_pickle"]) == "False", file
            if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load":
                assert ast.unparse(asked["weights_only"]) == "True", file


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_say_what_they_are_and_stay_short(file: Path) -> None:
    text = file.read_text()
    assert ast.get_docstring(parsed(file)), f"{file} has no docstring"
    longer = str(file.relative_to(PACKAGE)) in LONGER
    assert text.count("\n") <= (320 if longer else 250)
    assert not re.search(r"\b(TODO|FIXME|NotImplementedError)\b|pragma: no cover", text)


def test_every_artifact_class_is_named_in_the_reference() -> None:
    artifacts = importlib.import_module("gleclip_cli.artifacts")
    reference = artifacts.__doc__ or ""
    for name in ("RunDir", "Cam", "PreparedData", "ImageRecord", "Scores", "Manifest", "Stage"):
        assert name in reference, name
