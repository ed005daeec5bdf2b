"""The promises of `make quick`, on a copy of the repository."""
import json
import os
import random
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, tool

NAMES = ["01_dataset_exploration", "02_dense_baseline", "03_two_conv_cnn", "04_improved_cnn", "05_analysis"]


def test_all_five_notebooks_leave_their_files(quick):
    built = quick / "build" / "quick"
    for name in NAMES:
        assert (built / "notebooks" / f"{name}.ipynb").exists() and (built / "html" / f"{name}.html").exists()
        assert json.loads((built / "report" / "generated" / f"{name}.json").read_text())["numbers"]
    for number, models in (("02", ["dense"]), ("03", ["one_conv", "two_conv"]), ("04", ["improved"]),
                           ("05", ["dense", "one_conv", "two_conv", "improved"])):
        for model in models:
            for ending in ("csv", "pdf", "png"):
                assert (built / "figures" / f"{number}_confusion_digits_{model}.{ending}").exists()
    assert len(list((built / "runs").glob("digits/*/main/seed-0/run.json"))) == 4


def test_quick_trains_in_at_most_three_epochs_and_learns(quick):
    records = [json.loads(path.read_text()) for path in (quick / "build" / "quick" / "runs").glob("*/*/*/*/run.json")]
    assert all(record["epochs_run"] <= 3 for record in records)
    assert all(record["metrics"]["test"]["accuracy"] > 0.5 for record in records)


def test_a_second_run_does_nothing_twice(quick):
    before = {path: path.stat().st_mtime_ns for path in (quick / "build" / "quick").rglob("*") if path.is_file()}
    done = tool(quick, "notebooks.py", "run", "quick")
    assert done.stdout.count("up to date") == 5
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_quick_leaves_everything_outside_build_alone(quick):
    for path in quick.rglob("*"):
        name = path.relative_to(quick)
        if path.is_file() and name.parts[0] != "build" and "__pycache__" not in name.parts:
            assert path.read_bytes() == (ROOT / name).read_bytes(), name


def test_one_notebook_alone_in_any_order(quick, tmp_path):
    folder = shutil.copytree(quick, tmp_path / "alone", ignore=shutil.ignore_patterns("build"))
    name = random.choice(NAMES[1:])
    for other in NAMES:
        if other != name:
            (folder / "notebooks" / f"{other}.ipynb").unlink()
    done = tool(folder, "notebooks.py", "run", "quick")
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_an_unknown_profile_in_a_notebook_is_one_sentence(quick, tmp_path):
    folder = shutil.copytree(quick, tmp_path / "wrong", ignore=shutil.ignore_patterns("build"))
    path = folder / "notebooks" / "02_dense_baseline.ipynb"
    (folder / "notebooks" / "01_dataset_exploration.ipynb").unlink()
    path.write_text(path.read_text().replace('PROFILE = \\"full\\"', 'PROFILE = \\"fast\\"'))
    done = tool(folder, "notebooks.py", "run", "quick")
    assert done.returncode == 1
    assert done.stderr.strip() == ("notebooks/02_dense_baseline.ipynb stopped: There is no profile 'fast': "
                                   "set PROFILE (or LAB_PROFILE) to 'quick' or 'full'.")


def test_the_short_report_is_built(quick):
    if not shutil.which("latexmk"):
        pytest.skip("LaTeX is not installed")
    done = tool(quick, "report.py", "quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (quick / "build" / "quick" / "report.pdf").stat().st_size > 50_000


def test_without_latex_the_missing_command_is_named_with_status_3(quick, tmp_path):
    source = quick / "tools" / "report.py"
    script = "import os, runpy, sys; os.geteuid = lambda: 1000; sys.argv = ['report.py', 'quick']; " \
             f"sys.path.insert(0, {str(source.parent)!r}); runpy.run_path({str(source)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], cwd=quick, capture_output=True, text=True,
                          env=os.environ | {"PATH": str(tmp_path)})
    assert done.returncode == 3, done.stderr
    assert "make install-tex" in done.stdout
    assert (quick / "build" / "quick" / "report" / "generated" / "numbers.tex").exists()


def test_an_unwritable_folder_ends_the_tool_with_one_sentence(copy):
    (copy / "build").write_text("a file where a folder should be")
    done = tool(copy, "notebooks.py", "run", "quick")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Cannot use build" in done.stderr


@pytest.mark.long
def test_full_finishes_without_images_and_network_and_gives_the_committed_numbers(quick, tmp_path):
    folder = shutil.copytree(quick, tmp_path / "full", ignore=shutil.ignore_patterns("build"))
    (tmp_path / "empty").mkdir()
    nowhere = "http://127.0.0.1:9"
    done = tool(folder, "notebooks.py", "run", "full", LAB_DATA=str(tmp_path / "empty"), https_proxy=nowhere,
                http_proxy=nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (folder / "notebooks" / "01_dataset_exploration.ipynb").read_text()
    assert "Fashion-MNIST is skipped" in text and "data/raw/fashion-mnist/" in text
    for path in (folder / "report" / "generated").glob("*.json"):
        before, after = (json.loads((top / "report" / "generated" / path.name).read_text()) for top in (ROOT, folder))
        assert before == after or path.name == "stamp.json"
