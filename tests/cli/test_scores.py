"""Tables of scores: few columns, all of them, two runs, published results."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gleclip_cli.artifacts.tables import Scores
from gleclip_cli.cli.console import Report
from gleclip_cli.cli.main import app
from gleclip_cli.cli.scores import show_comparison, show_published, show_scores
from gleclip_cli.metrics.bootstrap import TOO_FEW, Interval, Intervals
from gleclip_cli.tools.compare import Comparison
from gleclip_cli.tools.published import Beside, Result

FLAGS = {"quiet": False, "json_": False, "debug": False}
NAMES = ["background", "cat", "dog"]
EXTRA = {
    "class_names": NAMES,
    "what": "cam",
    "miou_interval": [0.41, 0.612],
    "miou_foreground": 0.3,
    "boundary_miou": 0.2,
    "over_activation": 1.25,
    "missing": 3,
    "per_class_interval": {"background": [0.7, 0.8], "cat": [0.1, 0.3], "dog": [None, None]},
    "per_class_precision": {"background": 0.9, "cat": 0.6, "dog": None},
    "per_class_fp": {"background": 0.05, "cat": 0.15, "dog": None},
}
SCORES = Scores(0.5, {"background": 0.75, "cat": 0.25, "dog": None}, 60, EXTRA)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setenv("COLUMNS", "160")
    return Report("evaluate", FLAGS)


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_few_columns_are_the_default(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(report, SCORES)
    lines = shown(capsys)
    assert "┃ class ┃ IoU ┃" in lines
    assert "│ cat │ 25.0 │" in lines
    assert "│ mean of 60 images │ 50.0 │" in lines
    assert not [line for line in lines if "dog" in line]
    assert lines[-2] == (
        "95 % interval of the mean 41.0-61.2; without background 30.0; boundary 20.0; "
        "over-activation 1.25."
    )
    assert lines[-1] == "Not scored: 3 without prediction."
    assert report.document["per_class_fp"]["cat"] == 0.15
    assert report.document["miou"] == 0.5


def test_details_show_all(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(report, SCORES, details=True)
    lines = shown(capsys)
    header = "┃ class ┃ IoU ┃ 95 % ┃ precision ┃ recall ┃ FP ┃ FN ┃ boundary ┃"
    assert header in lines
    assert "│ cat │ 25.0 │ 10.0-30.0 │ 60.0 │ │ 15.0 │ │ │" in lines
    assert "│ dog │ │ │ │ │ │ │ │" in lines


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.01, 0.03), "B is better by 2.0 points of mIoU (95 % interval +1.0 to +3.0)."),
        ((-0.05, -0.01), "B is worse by 2.0 points of mIoU (95 % interval -5.0 to -1.0)."),
        ((-0.01, 0.05), "No difference is shown: the interval of the mean, -1.0 to +5.0,"),
    ],
)
def test_a_comparison_says_what_it_shows(
    report: Report,
    capsys: pytest.CaptureFixture[str],
    ends: tuple[float, float],
    verdict: str,
) -> None:
    value = 0.02 if ends[0] > -0.05 else -0.02
    nowhere = Interval(float("nan"), float("nan"), float("nan"))
    intervals = Intervals(
        Interval(value, *ends), (Interval(0.1, 0.05, 0.2), Interval(0, -0.1, 0.1), nowhere)
    )
    found = Comparison(("a", "b"), SCORES, SCORES, tuple(NAMES), 60, intervals)
    show_comparison(report, found)
    lines = shown(capsys)
    assert "│ background │ 75.0 │ 75.0 │ +10.0 │ +5.0 to +20.0 │ yes │" in lines
    assert "│ cat │ 25.0 │ 25.0 │ +0.0 │ -10.0 to +10.0 │ │" in lines
    assert lines[-1].startswith(verdict)
    assert report.document["per_class_difference"]["dog"]["low"] is None


def test_of_few_images_it_is_said_why_there_is_no_interval(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {**EXTRA, "miou_interval": [None, None], "no_interval": TOO_FEW}
    show_scores(report, Scores(0.5, SCORES.per_class_iou, 3, extra))
    lines = shown(capsys)
    assert lines[-3].startswith("without background 30.0")
    assert lines[-2] == "No interval: fewer than 20 images."
    alone = Interval(0.02, float("nan"), float("nan"))
    found = Comparison(("a", "b"), SCORES, SCORES, tuple(NAMES), 3, Intervals(alone, (alone,) * 3))
    show_comparison(report, found)
    lines = shown(capsys)
    assert "│ cat │ 25.0 │ 25.0 │ +2.0 │ │ │" in lines
    assert lines[-1] == "Whether that is a difference is not told: fewer than 20 images."


def test_published_results_stand_beside_ones_own(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Result(
        method="X",
        stage="seg",
        network="N",
        supervision="tags",
        miou=71.1,
        source="Title, CVPR 2023",
    )
    show_published(report, Beside("voc", "val", (row,), ["Not the same."]))
    output = capsys.readouterr()
    assert "│ X │ N │ tags │ 71.1 │ │ CVPR 2023 │" in [
        " ".join(line.split()) for line in output.out.splitlines()
    ]
    assert "Warning: Not the same." in output.err
    assert report.document["published"][0]["source"] == "Title, CVPR 2023"


def test_words_of_the_command_line_are_checked(tmp_path: Path) -> None:
    runner = CliRunner()
    wrong = runner.invoke(app, ["evaluate", "--against", "cows"])
    assert (wrong.exit_code, "one word: published" in wrong.stderr) == (2, True)
    nothing = runner.invoke(app, ["evaluate", "--compare", str(tmp_path), str(tmp_path / "b")])
    assert nothing.exit_code == 3
    assert "evaluate/seg-val" in nothing.stderr.replace("\\", "/")
