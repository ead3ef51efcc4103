"""The page: whole and safe whatever the run holds, and alive in a real browser."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gleclip_cli.cli.main import app
from gleclip_cli.errors import MissingInput, UsageError
from gleclip_cli.tools.report import cards, page, report

SECTIONS = [
    "results",
    "classes",
    "confusion",
    "threshold",
    "training",
    "time",
    "gallery",
    "provenance",
]


class Page(HTMLParser):
    """What a browser would find in a file: elements, texts, scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        kind = self.inside[-1] if self.inside else ""
        if kind not in ("script", "style"):
            self.texts.append(data)
        elif kind == "script":
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page_of(made: Any, **options: Any) -> Page:
    return Page(report(made.run, **options).path)


def check_safe(shown: Page) -> None:
    """Nothing is fetched, and nothing of the user's has become an element."""
    assert {tag for tag, _ in shown.elements}.isdisjoint({"img", "iframe", "object", "base", "b "})
    for tag, attributes in shown.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = shown.source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    kinds = [attributes.get("type", "") for attributes in shown.all("script")]
    assert kinds.count("") == 1  # ours
    assert set(kinds) <= {"", "application/json"}
    policy = shown.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "script-src 'sha256-" in policy


def test_a_whole_run_is_shown_and_nothing_in_it_is_code(kept: Any) -> None:
    shown = page_of(kept)
    check_safe(shown)
    ids = [attributes.get("id") for attributes in shown.all("section")]
    assert ids == SECTIONS
    links = [attributes["href"] for attributes in shown.all("a")]
    assert [f"#{name}" for name in SECTIONS] == links[1:]
    assert '<img src=x onerror="alert(1)">' in shown.text
    assert "</script><script>alert(1)</script>" in shown.text
    assert r"e\udcff\x1b[31m" in shown.text
    assert "run <b>&amp;" in shown.text
    assert "\x1b" not in shown.source
    for told in ("Maps, train", "Pseudo masks, train", "Network seg, val", "without tags"):
        assert told in shown.text
    assert "gleclip gen-cam --run" in shown.text
    assert "Not in this report" not in shown.text
    assert len(shown.all("article")) == 6 + 7  # cards and outputs


def test_cards_hold_their_pictures(kept: Any) -> None:
    shown = page_of(kept)
    contents = [json.loads(script) for script in shown.scripts if script.startswith("{")]
    assert len(contents) == 6
    train, val = contents[0], contents[-1]
    assert set(train["pictures"]) == {"image", "pseudo", "truth", "error"}
    assert [class_id for class_id, _ in train["maps"]] == [0, 1, 2]
    assert set(val["pictures"]) == {"image", "prediction", "truth", "error"}
    assert all(uri.startswith("data:image/") for uri in val["pictures"].values())
    named = [c["data-title"] for c in shown.all("figure") if c.get("data-panel") == "error"]
    assert named == ["Error of pseudo mask"] * 3 + ["Error of prediction"] * 3
    # 16 x 8 boxes of which one row is missed: 15 / 16
    assert "93.8" in shown.text


def test_a_split_and_a_number_of_images(kept: Any) -> None:
    shown = page_of(kept, split="val", images=2)
    assert [a["data-splits"] for a in shown.all("article")[:2]] == ['["val"]'] * 2
    assert "2 of 3 images of val." in shown.text
    none = page_of(kept, images=0)
    assert len(none.all("article")) == 7
    for options in ({"split": "nothing"}, {"images": -1}, {"workers": -1}):
        with pytest.raises(UsageError):
            report(kept.run, **options)


def test_the_same_run_gives_the_same_bytes(kept: Any) -> None:
    first = report(kept.run, workers=0).path.read_bytes()
    assert report(kept.run, workers=4).path.read_bytes() == first


def test_a_run_that_has_only_begun(made: Any) -> None:
    shown = page_of(made)
    check_safe(shown)
    assert [attributes.get("id") for attributes in shown.all("section")] == SECTIONS
    for told in ("Nothing has been scored", "Maps: not made", "Pseudo masks: not made"):
        assert told in shown.text
    assert len(shown.all("article")) == 6 + 1
    made.maps()
    shown = page_of(made)
    assert "Maps: not made" not in shown.text
    assert "--what cam --split train" in shown.text
    assert "They were made without tags" in shown.text
    made.scores("cam")
    shown = page_of(made)
    check_safe(shown)
    assert "Maps, train" in shown.text
    assert "Scores of gen-cam" not in shown.text


def test_no_true_masks_and_no_val(made: Any) -> None:
    del made.records["val"]
    for image_id, record in made.records["train"].items():
        made.records["train"][image_id] = replace(record, mask=None)
    made.prepare()
    shown = page_of(made.maps().masks())
    assert "no true masks" in shown.text
    assert "A val split" in shown.text
    assert "evaluate" not in shown.text.split("Gallery")[0]
    panels = {c["data-panel"] for c in shown.all("figure") if "data-panel" in c}
    assert panels == {"image", "cam", "pseudo"}


def test_what_is_damaged_is_named_and_the_rest_shown(whole: Any) -> None:
    image_id = 'b&c "d"'
    whole.run.pseudo_mask("train", image_id).write_bytes(b"no picture")
    (whole.run.evaluation("cam", "train") / "scores.json").write_text("{")
    (whole.run.evaluation("pseudo", "train") / "scores.json").write_text(
        '{"miou": 1, "per_class_iou": {}, "images": 1, "per_class_interval": 3}'
    )
    (whole.run.output("train_seg", "seg") / "manifest.json").write_text("[]")
    (whole.run.output("gen_cam", "train") / "manifest.json").unlink()
    whole.records["val"][image_id].image.write_bytes(b"")
    shown = page_of(whole)
    check_safe(shown)
    for told in ("not an image", "is empty", "is damaged", "train-seg seg: it is damaged"):
        assert told in shown.text, told
    assert "gen-cam train: it is unfinished" in shown.text
    assert len(shown.all("article")) == 6 + 7


def test_a_picture_of_two_lists_is_one_card(whole: Any) -> None:
    whole.records["val"] = whole.records["train"]
    whole.prepare()
    shown = page_of(whole)
    assert [a["data-splits"] for a in shown.all("article")[:3]] == ['["train", "val"]'] * 3
    contents = [json.loads(script) for script in shown.scripts if script.startswith("{")]
    assert set(contents[0]["pictures"]) == {"image", "pseudo", "prediction", "truth", "error"}


def test_the_page_stays_below_60_megabytes() -> None:
    for count in (1, 10, 300, 700, 2000, 5000, 20_000):
        assert count * cards.bytes_per_card(count) <= 56_000_000
    assert cards.first_side(cards.bytes_per_card(2000)) >= 240
    assert cards.first_side(cards.bytes_per_card(1)) <= 448


def test_heavy_pictures_become_smaller(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for image_id, record in made.records["train"].items():
        Image.fromarray(noise).save(record.image)
        digest = hashlib.sha256(record.image.read_bytes()).hexdigest()
        made.records["train"][image_id] = replace(record, size=(480, 640), sha256=digest)
    made.prepare()
    heavy = report(made.run, split="train").path.stat().st_size
    monkeypatch.setattr(cards, "PAGE_BYTES", 3 * 9000)
    assert report(made.run, split="train").path.stat().st_size < heavy / 2
    shown = Page(made.run.report())
    contents = [script for script in shown.scripts if script.startswith("{")]
    assert 3000 < max(map(len, contents)) < 9500


def test_a_failure_leaves_the_page_that_was_there(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report(kept.run).path.read_bytes()

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cards.Studio, "card", stop)
    with pytest.raises(KeyboardInterrupt):
        report(kept.run)
    left = [path.name for path in kept.run.root.iterdir() if path.is_file()]
    assert left == ["report.html"]
    assert kept.run.report().read_bytes() == before


def test_the_command(kept: Any, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--run", str(kept.run.root), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["images"] == 6
    assert document["bytes"] == kept.run.report().stat().st_size
    assert document["missing"] == []
    result = CliRunner().invoke(app, ["report", "--run", str(tmp_path / "no run")])
    assert result.exit_code == MissingInput.exit_code
    assert not (tmp_path / "no run").exists()


def test_script_and_style_cannot_end_early() -> None:
    for name, end in (("report.js", "</script"), ("report.css", "</style")):
        text = page.data_file("report", name).read_text(encoding="utf-8")
        assert end not in text.lower()
        assert "http" not in text


@pytest.mark.slow
def test_the_page_in_a_browser(kept: Any, browser: Any, tmp_path: Path) -> None:
    page_file = report(kept.run).path
    browser.open(page_file)
    run: Callable[[str], Any] = browser.run
    shown = "Array.from(document.querySelectorAll('.card .open'), e => e.textContent)"
    assert run("document.title") == "gleclip report: run <b>&amp;"
    assert len(run(shown)) == 6
    assert run("document.querySelectorAll('.card img').length") > 12
    assert run("Array.from(document.images).every(i => i.complete && i.naturalWidth > 0)")

    browser.choose("by-class", "3")
    assert run(shown) == [r"e\udcff\x1b[31m"] * 2
    assert run("document.getElementById('count').textContent") == "2 of 6 images"
    browser.choose("by-class", "")
    browser.choose("by-split", "val")
    assert run("document.querySelectorAll('.card').length") == 3
    browser.choose("opacity", 20, "input")
    overlay = "getComputedStyle(document.querySelector('.over-lay')).opacity"
    assert float(run(overlay)) == pytest.approx(0.2)

    names = run(shown)
    run("document.querySelector('.card .open').focus()")
    browser.press("j")
    assert run("document.activeElement.textContent") == names[1]
    browser.press("k")
    browser.press("Enter")
    title = "document.getElementById('detail-title').textContent"
    assert run("document.getElementById('detail').open")
    assert run(title) == names[0]
    browser.press("ArrowRight")
    assert run(title) == names[1]
    browser.press("2")
    pressed = "document.querySelector('#detail-panels [aria-pressed=true]').textContent"
    assert run(pressed) == "2 Prediction"
    browser.press("Escape")
    assert not run("document.getElementById('detail').open")
    assert run("document.activeElement.textContent") == names[1]

    assert not browser.told("Log.entryAdded")
    assert not browser.told("Runtime.exceptionThrown")
    assert not browser.told("Runtime.consoleAPICalled")
    asked = [request["request"]["url"] for request in browser.told("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]


@pytest.mark.slow
def test_it_fits_a_phone_and_paper(kept: Any, browser: Any) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **phone)
    browser.open(report(kept.run).path)
    assert browser.run("document.documentElement.scrollWidth") == 360
    browser.call("Emulation.clearDeviceMetricsOverride")
    paper = browser.call("Page.printToPDF")
    assert len(paper["data"]) > 20_000
    browser.call("Emulation.setEmulatedMedia", media="print")
    for name in ("nav", ".tools", "details"):
        style = f"getComputedStyle(document.querySelector('{name}')).display"
        assert browser.run(style) == "none"
