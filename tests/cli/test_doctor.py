"""The command: a list, remedies, and the exit code."""

import json

import pytest
from typer.testing import CliRunner

from gleclip_cli.cli.main import app
from gleclip_cli.tools import doctor
from gleclip_cli.tools.doctor import Finding

NOTE = Finding("weights", "note", "none", "Fetch them.")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([Finding("torch", "ok", "2.6")], 0),
        ([Finding("torch", "ok", "2.6"), NOTE], 0),
        ([Finding("torch", "fault", "broken", "Install it."), NOTE], 6),
    ],
)
def test_faults_decide_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, findings: list[Finding], code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    for finding in findings:
        assert finding.name in result.stdout
        assert finding.remedy in result.stdout
    assert ("Not everything works: torch." in result.stderr) == bool(code)
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert told.exit_code == code
    document = json.loads(told.stdout)
    assert [entry["state"] for entry in document["findings"]] == [f.state for f in findings]
    assert document["exit_code"] == code
