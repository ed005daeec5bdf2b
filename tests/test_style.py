"""The layout of the code, and the mistakes that can be seen without running it."""

import subprocess
import sys

import pytest

from conftest import ROOT

FOLDERS = ["notebooks/lab", "apps", "tools", "tests"]


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(words):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "--no-cache", *FOLDERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
