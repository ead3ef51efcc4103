"""`prepare-data --download`: what is fetched for which data set, and before anything is read."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gleclip_cli.cli.main import app
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.errors import UsageError
from gleclip_cli.tools import fetch as module
from gleclip_cli.tools.fetch import fetch


def test_voc_comes_with_sbd_and_is_prepared_from_where_it_lands(
    tiny_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    target = tmp_path / "new"

    def download(name: str, folder: Path, **_: object) -> Path:
        asked.append(name)
        folder.mkdir(exist_ok=True)
        if name == "voc":
            tiny_voc.parent.rename(folder / "VOCdevkit")
        return folder

    monkeypatch.setattr(module, "download", download)
    words = ["prepare-data", "--dataset", "voc", "--data", str(target), "--download"]
    result = CliRunner().invoke(app, [*words, "--run", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert asked == ["voc", "sbd"]
    assert (tmp_path / "run" / "prepare_data" / "manifest.json").exists()


def test_a_dry_run_tells_what_would_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "download", None)
    target = tmp_path / "new"
    words = ["prepare-data", "--dataset", "voc", "--data", str(target), "--download", "--dry-run"]
    result = CliRunner().invoke(app, [*words, "--run", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    told = result.stderr.splitlines()
    assert all("would be fetched" in line for line in told)
    assert any("VOCtrainval_11-May-2012.tar would be fetched: 2,000 MB." in line for line in told)
    assert sorted(tmp_path.iterdir()) == []


def test_what_has_no_archives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder cannot be downloaded"):
        fetch(PrepareDataConfig(dataset="folder", data=str(tmp_path)))
