"""Charts put numbers where they belong and keep hostile names text."""

from xml.etree import ElementTree

import pytest

from gleclip_cli.tools.report.charts import (
    Mark,
    Series,
    heat_map,
    line_chart,
    share_bar,
    share_scale,
    training_lines,
)

EVIL = "<script>alert(1)</script>"


def parts(svg: str, name: str, kind: str) -> list[dict[str, str]]:
    found = ElementTree.fromstring(svg).iter(name)
    return [e.attrib for e in found if kind in e.attrib.get("class", "").split()]


def test_a_bar_with_interval_and_marks() -> None:
    svg = share_bar(0.25, low=0.2, high=0.375, others=[(0, 0.5), (1, None)], colour=2)
    (bar,) = parts(svg, "rect", "bar")
    assert (bar["x"], bar["width"]) == ("0", "25%")
    whisker = parts(svg, "line", "whisker")[0]
    assert (whisker["x1"], whisker["x2"]) == ("20%", "37.5%")
    (dot,) = parts(svg, "circle", "dot")
    assert (dot["cx"], dot["class"]) == ("50%", "dot c0")
    assert not parts(share_bar(None), "rect", "bar")
    assert not parts(share_bar(float("nan")), "rect", "bar")
    assert parts(share_bar(1.7), "rect", "bar")[0]["width"] == "100%"
    assert "75" in share_scale()


def test_cells_of_the_heat_map() -> None:
    svg = heat_map(
        ["a", EVIL], ["a", EVIL, "ignored"], [[0.9, 0.1, 0], [0.004, 0, 0.996]], label=EVIL
    )
    assert EVIL not in svg
    cells = parts(svg, "rect", "cell")
    assert len(cells) == 3  # shares below half a percent are left out
    titles = [e.text for e in ElementTree.fromstring(svg).iter("title")]
    assert titles == [EVIL, "a as a: 90.0 %", f"a as {EVIL}: 10.0 %", f"{EVIL} as ignored: 99.6 %"]
    first, second, third = cells
    assert float(second["x"]) - float(first["x"]) == pytest.approx(float(first["width"]))
    assert first["y"] == second["y"] < third["y"]


def test_a_heat_map_of_many_classes_stays_small() -> None:
    names = [f"class {i}" for i in range(171)]
    shares = [[float(i == j) for j in range(171)] for i in range(171)]
    assert len(heat_map(names, names, shares, label="")) < 60_000


def test_a_line_runs_from_edge_to_edge() -> None:
    line = Series("mIoU", [(0, 0.0), (0.5, 0.5), (1, 1.0)], 1)
    svg = line_chart(
        [line],
        label=EVIL,
        x_name="x",
        y_name="y",
        marks=[Mark(0.5, 0.5, "half")],
        y_range=(0, 1),
        scale=100,
    )
    assert EVIL not in svg
    (path,) = parts(svg, "path", "line")
    assert path["d"] == "M46 210L246 112L446 14"
    (dot,) = parts(svg, "circle", "dot")
    assert (dot["cx"], dot["cy"]) == ("246", "112")
    texts = [e.text for e in ElementTree.fromstring(svg).iter("text")]
    assert {"half", "20", "100", "0.2", "x", "y"} <= set(texts)


def test_odd_lines() -> None:
    options = {"label": "", "x_name": "", "y_name": ""}
    assert line_chart([Series("none", [])], **options) == ""
    one = line_chart([Series("one", [(5, 2.0)])], **options)
    assert len(parts(one, "circle", "dot")) == 1
    flat = line_chart([Series("flat", [(0, 0.0), (1, 0.0)])], **options)
    assert "nan" not in flat.lower()


def test_a_long_training_gets_its_mean() -> None:
    few = [(float(i), 1.0) for i in range(30)]
    assert [s.faint for s in training_lines("loss", few, colour=0)] == [False]
    many = [(float(i), float(i % 2)) for i in range(200)]
    raw, mean = training_lines("loss", many, colour=0)
    assert raw.faint
    assert not mean.faint
    assert max(abs(y - 0.5) for _, y in mean.points[10:-10]) < 0.1
