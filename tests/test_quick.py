"""The promises of `make quick`, on a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mutate
import report
from conftest import ROOT, apart, packages, tool

NAMES = [
    "01_dataset_exploration",
    "02_dense_baseline",
    "03_two_conv_cnn",
    "04_improved_cnn",
    "05_analysis",
]


@pytest.mark.long
def test_all_five_notebooks_leave_their_files(quick):
    built = quick / "build" / "quick"
    for name in NAMES:
        assert (built / "notebooks" / f"{name}.ipynb").exists() and (
            built / "html" / f"{name}.html"
        ).exists()
        assert json.loads(
            (built / "report" / "generated" / f"{name}.json").read_text()
        )["numbers"]
    for number, models in (
        ("02", ["dense"]),
        ("03", ["one_conv", "two_conv"]),
        ("04", ["improved"]),
        ("05", ["improved"]),
    ):
        for model in models:
            for ending in ("csv", "pdf", "png"):
                assert (
                    built / "figures" / f"{number}_confusion_digits_{model}.{ending}"
                ).exists()
    assert len(list((built / "runs").glob("digits/*/main/seed-0/run.json"))) == 4


@pytest.mark.long
def test_quick_trains_in_at_most_three_epochs_and_learns(quick):
    records = [
        json.loads(path.read_text())
        for path in (quick / "build" / "quick" / "runs").glob("*/*/*/*/run.json")
    ]
    assert all(record["epochs_run"] <= 3 for record in records)
    headline = [record for record in records if record["variant"] == "main"]
    assert len(headline) == 4 and all(
        record["metrics"]["test"]["accuracy"] > 0.5 for record in headline
    )
    assert len(records) == 12 and all(
        "test" not in record["metrics"] for record in records if record not in headline
    )


@pytest.mark.long
def test_a_second_run_does_nothing_twice(quick):
    before = {
        path: path.stat().st_mtime_ns
        for path in (quick / "build" / "quick").rglob("*")
        if path.is_file()
    }
    done = tool(quick, "notebooks.py", "run", "quick")
    assert done.stdout.count("up to date") == 5
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.long
def test_quick_leaves_everything_outside_build_alone(quick):
    for path in mutate.tracked(ROOT):
        assert (quick / path.relative_to(ROOT)).exists(), path
    for path in quick.rglob("*"):
        name = path.relative_to(quick)
        if (
            path.is_file()
            and name.parts[0] != "build"
            and "__pycache__" not in name.parts
        ):
            assert path.read_bytes() == (ROOT / name).read_bytes(), name


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES[1:])
def test_one_notebook_alone_in_any_order(copy, name):
    for other in NAMES:
        if other != name:
            (copy / "notebooks" / f"{other}.ipynb").unlink()
    done = tool(copy, "notebooks.py", "run", "quick")
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@pytest.mark.long
def test_notebook_05_is_asked_about_pictures_of_ones_own(quick, tmp_path):
    folder = shutil.copytree(quick, tmp_path / "copy")
    path, mine = folder / "notebooks" / "05_analysis.ipynb", tmp_path / "mine"
    mine.mkdir()
    for i in range(3):
        pixels = np.full((60, 40, 3), 230, np.uint8)
        pixels[15:45, 10 * i + 5 : 10 * i + 10] = 20
        Image.fromarray(pixels).save(mine / f"picture-{i}.png")
    book = path.read_text()
    assert "PICTURES = None" in book
    path.write_text(book.replace("PICTURES = None", f"PICTURES = '{mine}'"))
    done = tool(folder, "notebooks.py", "run", "quick", "05")
    assert done.returncode == 0, done.stdout + done.stderr
    built = folder / "build" / "quick" / "notebooks" / path.name
    assert "picture-2.png" in built.read_text()


@pytest.mark.long
def test_an_unknown_profile_in_a_notebook_is_one_sentence(copy):
    path = copy / "notebooks" / "02_dense_baseline.ipynb"
    for other in NAMES:
        if other != path.stem:
            (copy / "notebooks" / f"{other}.ipynb").unlink()
    path.write_text(
        path.read_text().replace('PROFILE = \\"full\\"', 'PROFILE = \\"fast\\"')
    )
    done = tool(copy, "notebooks.py", "run", "quick")
    assert done.returncode == 1
    assert re.fullmatch(
        r"notebooks/02_dense_baseline.ipynb stopped in code cell \d of \d+: There is no"
        r" profile 'fast': set PROFILE \(or LAB_PROFILE\) to 'quick' or 'full'\.",
        done.stderr.strip(),
    )


@pytest.mark.long
def test_the_short_report_is_built(quick):
    if not report.has_latex():
        pytest.skip("LaTeX is not installed")
    done = tool(quick, "report.py", "quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (quick / "build" / "quick" / "report.pdf").stat().st_size > 50_000
    assert "built build/quick/report.pdf" in done.stdout
    again = tool(quick, "report.py", "quick")
    assert "build/quick/report.pdf: up to date" in again.stdout


@pytest.mark.long
def test_without_latex_the_missing_command_is_named_with_status_3(quick, tmp_path):
    source = quick / "tools" / "report.py"
    folders = os.pathsep.join([packages(quick), str(source.parent)])
    script = (
        "import os, runpy, sys; os.geteuid = lambda: 1000; sys.argv = ['report.py',"
        f" 'quick']; runpy.run_path({str(source)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=quick,
        capture_output=True,
        text=True,
        env=apart(quick, PATH=str(tmp_path), PYTHONPATH=folders),
    )
    assert done.returncode == 3, done.stderr
    assert "make install-tex" in done.stdout
    assert (quick / "build" / "quick" / "report" / "generated" / "numbers.tex").exists()


def test_an_unwritable_folder_ends_the_tool_with_one_sentence(copy):
    (copy / "build").write_text("a file where a folder should be")
    done = tool(copy, "notebooks.py", "run", "quick")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Cannot use build" in done.stderr


@pytest.mark.long
def test_full_finishes_without_images_and_network_and_leaves_what_is_committed_alone(
    quick, tmp_path
):
    folder = shutil.copytree(
        quick, tmp_path / "full", ignore=shutil.ignore_patterns("build", "cache")
    )
    (tmp_path / "empty").mkdir()
    nowhere = "http://127.0.0.1:9"
    done = tool(
        folder,
        "notebooks.py",
        "run",
        "full",
        LAB_DATA=str(tmp_path / "empty"),
        https_proxy=nowhere,
        http_proxy=nowhere,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = folder / "build" / "without-fashion_mnist-cifar10-fer2013"
    text = (built / "notebooks" / "01_dataset_exploration.ipynb").read_text()
    for title, place in (
        ("Fashion-MNIST", "data/raw/fashion-mnist/"),
        ("CIFAR-10", "data/raw/"),
        ("FER2013", "fer2013.csv"),
    ):
        assert f"{title} is skipped" in text and place in text
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if (
            path.is_file()
            and name.parts[0] != "build"
            and "__pycache__" not in name.parts
        ):
            assert path.read_bytes() == (ROOT / name).read_bytes(), name
    before = json.loads(
        (ROOT / "report" / "generated" / "03_two_conv_cnn.json").read_text()
    )["numbers"]
    after = json.loads(
        next(
            folder.glob("build/without-*/report/generated/03_two_conv_cnn.json")
        ).read_text()
    )["numbers"]
    assert before == after


@pytest.mark.long
def test_a_folder_never_seen_with_damaged_files_through_all_five_notebooks(
    quick, tmp_path
):
    folder = shutil.copytree(
        quick, tmp_path / "own", ignore=shutil.ignore_patterns("build")
    )
    photos = tmp_path / "Ma collection 😀"
    rng = np.random.default_rng(0)
    for k, name in enumerate(["Äpfel & Birnen", "100 %_cats", "dogs 🐕"]):
        (photos / name).mkdir(parents=True)
        for i in range(9):
            values = rng.integers(0, 80, (50, 70, 3)) + 80 * (k == np.arange(3))
            Image.fromarray(np.uint8(values)).save(
                photos / name / f"picture {i}.{('jpg', 'png', 'webp')[i % 3]}"
            )
        (photos / name / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
        (photos / name / "empty.png").write_bytes(b"")
    done = tool(folder, "notebooks.py", "on", str(photos), "quick")
    assert done.returncode == 0, done.stdout + done.stderr
    built = folder / "build" / "quick-ma-collection"
    assert (
        len(list((built / "notebooks").glob("*.ipynb")))
        == len(list((built / "html").glob("*.html")))
        == 5
    )
    text = (built / "notebooks" / "01_dataset_exploration.ipynb").read_text()
    assert (
        text.count("broken.jpg") == text.count("empty.png") == 3
        and '"stderr"' not in text
    )
    assert (
        len(list(folder.glob("build/quick/runs/ma-collection/*/main/seed-0/run.json")))
        == 4
    )
    assert not list((folder / "data" / "runs").glob("ma-*"))
    if report.has_latex():
        done = tool(folder, "report.py", "last")
        assert done.returncode == 0 and (built / "report.pdf").exists(), (
            done.stdout + done.stderr
        )
