"""Libraries that are broken, or end the process that tries them: the doctor lives."""

import sys
from pathlib import Path

import pytest

from gleclip_cli.tools.doctor import libraries
from gleclip_cli.tools.doctor.libraries import check_libraries, tried
from gleclip_cli.tools.doctor.probe import STEPS

ROOT = Path(__file__).parents[3]
FAKES = ("numpy", "PIL", "cv2", "numba", "torch", "torchvision", "open_clip", "accelerate")
TORCH = {"version": "2.6.0", "cuda": None, "devices": [], "mps": False, "threads": 4}
GOOD = {name: {"version": "1"} for name in STEPS} | {
    "torch": TORCH,
    "CLIP weights": {"file": "/a/b"},
}


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages that load at once in the place of the real ones."""
    for name in FAKES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = '1.2'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    return tmp_path


def test_a_torchvision_of_another_torch_is_told_and_the_others_are_tried(fakes: Path) -> None:
    broken = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    (fakes / "torchvision" / "__init__.py").write_text(broken)
    (fakes / "numba" / "__init__.py").write_text("print('noise')\nraise SystemExit(3)\n")
    found = tried()
    assert list(found) == list(STEPS)
    assert found["cv2"] == {"version": "1.2"}
    assert "torchvision::nms does not exist" in str(found["torchvision"]["error"])
    assert found["numba"]["error"] == "SystemExit: 3"
    assert found["accelerate"] == {"version": "1.2"}
    rows = {row.name: row for row in check_libraries(found)}
    assert rows["torchvision"].state == "fault"
    assert "one package index" in rows["torchvision"].remedy
    assert rows["cv2"].state == "ok"


def test_what_ends_the_process_is_named(fakes: Path) -> None:
    (fakes / "cv2" / "__init__.py").write_text("import os\nos._exit(139)\n")
    found = tried()
    assert found["cv2"] == {"error": "ended this process"}
    assert "torch" not in found
    states = {row.name: row.state for row in check_libraries(found)}
    assert (states["cv2"], states["torch"], states["Pillow"]) == ("fault", "fault", "ok")
    assert "devices" not in states


def test_a_library_that_hangs_is_given_up(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fakes / "torch" / "__init__.py").write_text("import time\ntime.sleep(60)\n")
    for patience in (0.5, 2, 8, 32):  # a busy machine may take its time to get as far as torch
        monkeypatch.setattr(libraries, "_PATIENCE", patience)
        found = tried()
        if "torch" in found:
            break
    assert found["torch"] == {"error": "ended this process"}
    assert found["numpy"] == {"version": "1.2"}


def rows(**changed: object) -> dict[str, tuple[str, str]]:
    found = check_libraries({**GOOD, **changed})
    return {row.name: (row.state, f"{row.found} {row.remedy}") for row in found}


def test_where_all_works_nothing_is_to_do() -> None:
    assert {state for state, _ in rows().values()} == {"ok"}
    assert "without CUDA" in rows()["devices"][1]


def test_devices_and_drivers() -> None:
    card = {"name": "H200", "free": 130 * 2**30, "total": 140 * 2**30}
    assert (
        "H200 (130 of 140 GiB free)"
        in rows(torch={**TORCH, "cuda": "12", "devices": [card]})["devices"][1]
    )
    state, told = rows(torch={**TORCH, "cuda": "12"})["devices"]
    assert state == "note"
    assert "nvidia-smi" in told


def test_what_is_optional_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    told = rows(**{"CRF pydensecrf": {"error": "x"}, "CLIP weights": {"file": None}})
    assert told["CRF pydensecrf"][0] == told["CLIP weights"][0] == "note"
    own = tmp_path / ".cache" / "clip" / "ViT-B-16.pt"
    own.parent.mkdir(parents=True)
    own.touch()
    assert f"--clip-weights {own}" in rows(**{"CLIP weights": {"file": None}})["CLIP weights"][1]


def test_torch_stays_unloaded() -> None:
    """Else a broken one would take the doctor along."""
    names = ("finding", "installed", "libraries", "machine", "probe")
    modules = [sys.modules.get(f"gleclip_cli.tools.doctor.{name}") for name in names]
    assert not [m for m in modules if m and ({"torch", "numpy", "cv2"} & set(vars(m)))]
