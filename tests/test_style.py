"""The layout of the code, and the mistakes that can be seen without running it."""

import ast
import subprocess
import sys
from itertools import product

import pytest

from conftest import ROOT
from lab.plumbing.names import DATA_SETS

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


def test_our_runs_stay_small_enough_to_be_cloned_each_time():
    ours = "dense", "one_conv", "two_conv", "improved"
    sizes = {
        path: path.stat().st_size
        for name, model, seed in product(DATA_SETS, ours, range(5))
        for path in (ROOT / "data" / "runs" / name / model).glob(f"*/seed-{seed}/*")
    }
    assert sum(sizes.values()) < 48e6, "the runs need too much space: keep less of them"
    weights = [size for path, size in sizes.items() if path.name == "weights.npz"]
    assert sum(weights) < 25e6, "the weights need too much space: keep fewer of them"


def test_the_shelf_of_lab_is_read_in_half_an_hour():
    shelf = (ROOT / "notebooks" / "lab").glob("*.py")
    texts = [p.read_text() for p in shelf if p.name not in ("models.py", "taught.py")]
    lines = sum(len(text.splitlines()) for text in texts)
    assert lines <= 1300, "move what students need not read into lab/methods or below"


@pytest.mark.parametrize("part", ["plumbing", "methods", "drawing", "", "apps"])
def test_no_part_of_the_code_uses_a_part_above_it(part):
    """The parts, from below: plumbing, methods, drawing, the shelf, apps, tools."""
    lab, tools = ROOT / "notebooks" / "lab", ROOT / "tools"
    shelf = {path.stem for path in lab.glob("*.py")}
    above = {
        "plumbing": {"methods", "drawing", *shelf},
        "methods": {"drawing", *shelf - {"taught"}},
        "drawing": shelf - {"taught"},
        "": set(),
        "apps": set(),
    }[part]
    others = {path.stem for path in tools.glob("*.py")}
    others |= set() if part == "apps" else {"apps"}
    folder = ROOT / part if part == "apps" else lab / part
    files = sorted(folder.glob("*.py"))
    assert len(files) > 3
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                up = node.level > 1 or node.level and not part  # from lab
                names = [node.module or "", *(alias.name for alias in node.names)]
                used = {names[0].split(".")[0]} if node.module else set(names[1:])
                if part != "apps":  # inside lab all imports are relative
                    assert node.level or names[0].split(".")[0] != "lab", (path, names)
                assert not (up and used & above), (path, names)
                assert node.level or names[0].split(".")[0] not in others, (path, names)
            elif isinstance(node, ast.Import):
                used = {alias.name.split(".")[0] for alias in node.names}
                assert not used & (others | {"lab"} if part != "apps" else others), path
