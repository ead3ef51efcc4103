"""Records of an installer, as they may be, and what the doctor says of them."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from gleclip_cli.tools.doctor import installed
from gleclip_cli.tools.doctor.finding import Finding
from gleclip_cli.tools.doctor.installed import check_installed

GOOD = {
    "torch": "2.6.0+cpu",
    "torchvision": "0.21.0+cpu",
    "opencv-python-headless": "4.12.0",
    "numpy": "2.1",
}
ASKED = {
    "gleclip": [
        "numpy>=2.0",
        "torch>=2.6",
        "net>=1; extra == 'smp'",
        "old; python_version < '3' and extra == 'crf'",
    ],
    "torchvision": ["numpy", "torch==2.6.0"],
}


class Records(dict[str, str]):
    """Stands for `importlib.metadata`."""

    PackageNotFoundError = metadata.PackageNotFoundError

    def version(self, name: str) -> str:
        if name not in self:
            raise metadata.PackageNotFoundError(name)
        return self[name]

    def requires(self, name: str) -> list[str]:
        return ASKED[name]

    def metadata(self, name: str) -> "Records":
        return self

    def get_all(self, name: str) -> list[str]:
        return ["crf", "smp"]


def found(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> dict[str, Finding]:
    named = {name.replace("_", "-"): version for name, version in changed.items()}
    records = {name: version for name, version in {**GOOD, **named}.items() if version}
    monkeypatch.setattr(installed, "metadata", Records(records))
    return {finding.name: finding for finding in check_installed()}


def test_a_good_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = found(monkeypatch, net="1.2")
    states = {name: finding.state for name, finding in findings.items()}
    assert {state for name, state in states.items() if "extra" not in name} == {"ok"}
    assert findings["requirements"].found == "all 2 packages"
    assert findings["extra smp"].found == "installed"
    assert findings["extra crf"].found == "has no package for this Python"
    assert findings["extra onnx"].found == "not known: the records are older than gleclip"


@pytest.mark.parametrize(
    ("net", "told"), [(None, "net is missing"), ("0.9", "net is 0.9, not >=1")]
)
def test_an_extra_that_is_not_there_is_a_note_with_the_words_for_pip(
    monkeypatch: pytest.MonkeyPatch, net: str | None, told: str
) -> None:
    extra = found(monkeypatch, net=net)["extra smp"]
    assert (extra.state, extra.found) == ("note", told)
    assert extra.remedy == (
        "pip install '.[smp]' in gleclip's folder, for --arch smp:<decoder>:<encoder>."
    )


def test_the_use_of_every_extra_is_known() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert list(installed._FOR) == list(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("OpenCV wheels", {"opencv_python": "4.11.0"}, "opencv-python 4.11.0, opencv-python-head"),
        ("OpenCV wheels", {"opencv_python_headless": None}, "none"),
        ("torch and torchvision", {"torch": "2.6.0+cu124"}, "different builds"),
        ("torch and torchvision", {"torch": "2.7.0+cpu"}, "wants torch ==2.6.0"),
        ("torch and torchvision", {"torchvision": None}, "torchvision is not installed"),
        ("requirements", {"numpy": "1.26"}, "numpy is 1.26, not >=2.0"),
        ("requirements", {"numpy": None}, "numpy is missing"),
    ],
)
def test_faults_are_told_with_their_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, changed: dict[str, str | None], told: str
) -> None:
    finding = found(monkeypatch, **changed)[name]
    assert finding.state == "fault"
    assert told in finding.found
    assert finding.remedy


def test_a_build_without_suffix_is_no_other_build(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, torch="2.6.0")["torch and torchvision"].state == "ok"


def test_without_records_of_gleclip_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    records = Records(GOOD)
    monkeypatch.setattr(records, "requires", lambda n: missing(n) if n == "gleclip" else ASKED[n])
    monkeypatch.setattr(installed, "metadata", records)
    states = {finding.name: finding.state for finding in check_installed()}
    assert states["requirements"] == "note"
    assert states["torch and torchvision"] == "ok"
