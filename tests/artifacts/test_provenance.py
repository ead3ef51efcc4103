"""Versions and hardware, without loading anything for it."""

import subprocess
import sys

import accelerate
import torch

from gleclip_cli import __version__
from gleclip_cli.artifacts.provenance import environment


def test_versions_are_those_of_the_modules() -> None:
    facts = environment()
    assert facts["versions"]["gleclip"] == __version__
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert facts["versions"]["accelerate"] == accelerate.__version__
    assert facts["versions"]["python"] == sys.version.split()[0]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["deterministic"] is False


def test_asking_loads_no_torch() -> None:
    code = (
        "import sys; from gleclip_cli.artifacts.provenance import environment;"
        "facts = environment();"
        "print('torch' in sys.modules, 'torch' in facts['versions'], 'devices' in facts)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "True", "False"]


def test_the_commit_is_that_of_the_checkout() -> None:
    commit = environment()["commit"]
    assert commit is None or (len(commit) == 40 and int(commit, 16) >= 0)
