"""Tags escape what they are given; ticks are round; lines are thinned without losing peaks."""

from xml.etree import ElementTree

import pytest

from gleclip_cli.tools.report.svg import number, path_of, smoothed, tag, thinned, ticks


def test_text_and_values_are_escaped() -> None:
    made = tag("text", "<b>&", class_='a"b', fill_opacity=0.5)
    element = ElementTree.fromstring(made)
    assert element.text == "<b>&"
    assert element.attrib == {"class": 'a"b', "fill-opacity": "0.5"}
    assert ElementTree.fromstring(tag("g", made, tag("line", x1=None)))[0].text == "<b>&"


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (3.0, "3"), (10.0, "10"), (0.126, "0.13"), (1.5, "1.5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.9, 1.95, [1, 1.2, 1.4, 1.6, 1.8]),
        (0, 149, [0, 50, 100]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (2, 2, [2]),
        (0, float("nan"), [0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_mean_of_neighbours() -> None:
    assert smoothed([0, 3, 6, 9], half=1) == [1.5, 3, 6, 7.5]


def test_thinning_keeps_the_extremes_in_order() -> None:
    points = [(float(x), float(x == 317)) for x in range(1000)]
    kept = thinned(points, most=50)
    assert len(kept) <= 50
    assert (317.0, 1.0) in kept
    assert kept == sorted(kept)
    assert thinned(points[:50], most=50) == points[:50]


def test_a_path() -> None:
    assert path_of([(0, 1.234), (10, 2)]) == "M0 1.23L10 2"
