"""The notebook contract, on the committed files."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import notebooks
from conftest import ROOT
from lab import LabError
from notebooks import SETUP, paths, project, tagged

NAMES = [
    "01_dataset_exploration",
    "02_dense_baseline",
    "03_two_conv_cnn",
    "04_improved_cnn",
    "05_analysis",
]
BOOKS = {
    name: nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for name in NAMES
}
LAST = ["What we learned", "Questions", "Answers", "Sources", "Files written"]
APART = ("Questions", "Answers", "Sources", "Layer sheet")  # not counted as prose
each = pytest.mark.parametrize("name", NAMES)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def prose(book):
    return [cell for cell in book.cells if cell.cell_type == "markdown"]


def sections(book):
    """Return [(heading, text)] of all text of a notebook."""
    text = "\n\n".join(cell.source for cell in prose(book))
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)
    return list(zip(parts[1::2], parts[2::2]))


def test_there_are_five():
    assert [path.stem for path in paths()] == NAMES


@each
def test_outline(name):
    book = BOOKS[name]
    title = book.cells[0].source
    assert (
        re.match(rf"# {name[:2]} · \S", title)
        and "T4" in title
        and "two CPU cores" in title
    )
    assert "/-/blob/main/notebooks/" in title
    headings = [
        line
        for cell in prose(book)
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    assert sum(line.startswith("# ") for line in headings) == 1
    assert headings[1:3] == ["## Setup", "## Parameters"]
    assert headings[-5:] == [f"## {name}" for name in LAST]
    assert [tag for cell in code(book)[:2] for tag in cell.metadata.tags] == [
        "setup",
        "parameters",
    ]
    assert all(
        re.fullmatch(r"[A-Z_]+ = .+", line)
        for line in code(book)[1].source.splitlines()
    )


@each
def test_setup_is_the_same_everywhere_and_prints_one_line(name):
    [cell] = tagged(BOOKS[name], "setup")
    assert cell.source == SETUP.format(
        address=project()["repository"], name=project()["repository"].rsplit("/", 1)[-1]
    )
    assert len(cell.outputs) == 1 and cell.outputs[0].text.count("\n") == 1
    assert "pip" not in cell.source and "drive" not in cell.source


def lines(cell):
    return len([line for line in cell.source.splitlines() if line.strip()])


@each
def test_a_table_that_is_shown_has_at_most_twenty_rows(name):
    for cell in code(BOOKS[name]):
        for output in cell.outputs:
            shown = str(output.get("data", {}).get("text/html", ""))
            for table in shown.split("<table")[1:]:
                assert table.partition("<tbody")[2].count("<tr") <= 20, cell.source


@each
def test_cells_are_few_small_and_explained(name):
    book = BOOKS[name]
    assert len(book.cells) <= 100
    lengths = [lines(cell) for cell in code(book)]
    assert statistics.median(lengths) <= 6
    for cell in code(book):
        long = {"setup", "model", "recipe"} & set(cell.metadata.get("tags", []))
        assert lines(cell) <= (25 if long else 15), cell.source
        assert all(len(line) <= 88 for line in cell.source.splitlines()), cell.source
    words = sum(
        len(text.split()) for heading, text in sections(book) if heading not in APART
    )
    assert 4 <= words / sum(lengths) <= 9, (
        f"{words / sum(lengths):.1f} words of prose a line of code"
    )
    for cell, following in pairwise(book.cells):
        assert not cell.cell_type == following.cell_type == "code", (
            "two code cells without a sentence between"
        )


@each
def test_questions_have_answers_and_sources_have_links(name):
    found = dict(sections(BOOKS[name]))
    numbers = re.findall(r"^\*\*(\d+)\.\*\*", found["Questions"], flags=re.M)
    assert 8 <= len(numbers) <= 12
    assert numbers == [str(i + 1) for i in range(len(numbers))]
    assert numbers == re.findall(r"^\*\*(\d+)\.\*\*", found["Answers"], flags=re.M)
    assert all(
        line.startswith("- ") and "](http" in line
        for line in found["Sources"].strip().splitlines()
    )


@each
def test_the_reader_predicts_before_three_experiments(name):
    guesses = [cell for cell in code(BOOKS[name]) if "guess = None" in cell.source]
    assert len(guesses) >= 3


@each
def test_prose_types_no_result(name):
    for heading, text in sections(BOOKS[name])[1:]:
        if heading not in APART:
            typed = r"\d+\.\d+|\b(?!95 %|5 %|70 %)\d+ ?%"
            assert not re.search(typed, text), re.findall(rf".*(?:{typed}).*", text)


@each
def test_it_was_run_from_top_to_bottom_and_is_clean(name):
    cells = code(BOOKS[name])
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [
        output
        for output in outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    assert len(text) < 2_000_000
    for unwanted in (
        r"\\u001b\[",
        r"\\b\\b",
        r"application/javascript",
        r"<script",
        r"widget",
        r"/home/|/root/|/tmp/|/Users/",
    ):
        assert not re.search(unwanted, text), unwanted


@each
def test_mathematics_and_html_stay_within_what_gitlab_renders(name):
    for cell in prose(BOOKS[name]):
        assert "<details" not in cell.source and "](#" not in cell.source
        assert not re.search(r"(^|\n|[(*:])\$[^$]", cell.source)


def test_model_cells_hold_functions_and_nothing_else():
    defined = []
    for cell in [cell for book in BOOKS.values() for cell in tagged(book, "model")]:
        body = ast.parse(cell.source).body
        assert all(isinstance(node, ast.FunctionDef) for node in body)
        assert all(map(ast.get_docstring, body))
        defined += [node.name for node in body]
    networks = {"build_dense", "build_one_conv", "build_two_conv", "build_improved"}
    assert networks <= set(defined)


def run_setup(folder, before="", kaggle="/kaggle", **environment):
    script = before + SETUP.format(
        address="https://example.invalid/nobody/nothing", name="nothing"
    ).replace("/kaggle", str(kaggle))
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_setup_in_another_folder_is_one_sentence(tmp_path):
    done = run_setup(tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == "The folder lab is not here: start this notebook in the folder notebooks.\n"
    )


def test_setup_works_from_the_top_of_the_repository():
    assert "Keras 3" in run_setup(ROOT).stdout


def test_a_clone_that_fails_in_colab_is_one_sentence(tmp_path):
    (tmp_path / "git").write_text("#!/bin/sh\nexit 128\n")
    (tmp_path / "git").chmod(0o755)
    colab = "import sys; sys.modules['google.colab'] = sys\n"
    done = run_setup(tmp_path, colab, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == "https://example.invalid/nobody/nothing cannot be cloned: "
        "set REPOSITORY to your own copy."
    )


def test_setup_in_kaggle_takes_the_repository_that_was_added_as_a_data_set(tmp_path):
    shutil.copytree(
        ROOT / "notebooks" / "lab",
        tmp_path / "input" / "datasets" / "owner" / "dense" / "notebooks" / "lab",
    )
    (tmp_path / "working").mkdir()
    environment = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "PYTHONPATH": ""}
    done = run_setup(tmp_path / "working", kaggle=tmp_path, **environment)
    assert "Keras 3" in done.stdout
    assert (tmp_path / "working" / "nothing" / "notebooks" / "lab").is_dir()


def test_keras_2_is_one_sentence(tmp_path):
    (tmp_path / "keras.py").write_text("__version__ = '2.15.0'")
    folders = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", "import lab"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": folders},
    )
    assert (
        "LabError: Keras 2.15.0 is too old, Keras 3 is needed: install what"
        " requirements.txt lists" in done.stderr
    )


def test_parameters_may_take_several_lines_and_a_mistake_is_one_sentence():
    source = (
        'import os\nDATASETS = [\n    "a",  # one\n]\nKEEP = ""  # none\nX = (1 +\n 2)'
    )
    assert notebooks.assigned(source) == {
        "DATASETS": '[\n    "a",  # one\n]',
        "KEEP": '""',
        "X": "(1 +\n 2)",
    }
    with pytest.raises(LabError, match="Parameters cell is no Python .*'SEEDS ='"):
        notebooks.assigned("SEEDS = ")


def test_sync_keeps_the_last_paragraph_of_a_title_and_renews_its_links(
    tmp_path, monkeypatch
):
    copies = [Path(shutil.copy(path, tmp_path)) for path in paths()]
    book = deepcopy(BOOKS["03_two_conv_cnn"])
    book.cells[0].source = "# 03 · My networks\n\nMy purpose."
    notebooks.save(copies[2], book)
    monkeypatch.setattr(notebooks, "paths", lambda: copies)
    for _ in range(2):
        written = notebooks.shared()[copies[2]]
        title = nbformat.reads(written, as_version=4).cells[0].source
        head, purpose, links = title.split("\n\n")
        assert purpose == "My purpose."
        assert re.fullmatch(r"Before: \[02 .*\)\. Next: \[04 .*\)\.", links)
        copies[2].write_text(written)


RUNS_ELSEWHERE = """
import json
from pathlib import Path
trace = Path("../build/trace/full/01_small.json")
trace.parent.mkdir(parents=True)
trace.write_text(json.dumps({"output": "build/pets", "runs": {}, "files": {}}))
"""


@pytest.fixture
def figure(tmp_path, monkeypatch):
    """A figure that differs from the stamp of a small notebook."""
    figure = tmp_path / "figures" / "01_mine.png"
    for folder in ("figures", "notebooks", "build"):
        (tmp_path / folder).mkdir()
    figure.write_text("mine")
    parameters = nbformat.v4.new_code_cell(
        'DATASETS = [\n    "digits",\n]\nSEEDS = [0]'
    )
    parameters.metadata["tags"] = ["parameters"]
    cells = [parameters, nbformat.v4.new_code_cell(RUNS_ELSEWHERE)]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["lab"] = {"files": {"figures/01_mine.png": "another hash"}}
    notebooks.save(tmp_path / "notebooks" / "01_small.ipynb", book)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(notebooks, "lab_sha256", lambda: "")
    return figure


@pytest.mark.parametrize("datasets", [["pets/"], None], ids=["photos", "reproduce"])
def test_a_run_that_writes_into_build_leaves_a_changed_figure_alone(
    datasets, figure, tmp_path
):
    path = tmp_path / "notebooks" / "01_small.ipynb"
    ran, output = notebooks.execute(path, "full", datasets)
    assert output == tmp_path / "build" / "pets" and figure.read_text() == "mine"
    if datasets:
        assert ran.cells[0].source == "DATASETS = ['pets/']\nSEEDS = [0]"


def test_a_notebook_whose_parameters_lack_the_data_sets_is_one_sentence(
    figure, tmp_path
):
    path = tmp_path / "notebooks" / "01_small.ipynb"
    book = notebooks.read(path)
    book.cells[0].source = "SEEDS = [0]"
    notebooks.save(path, book)
    with pytest.raises(LabError, match="01_small.ipynb has no line DATASETS"):
        notebooks.execute(path, "full", ["pets/"])
    book.cells[0].source = ""
    with pytest.raises(LabError, match="01_small.ipynb has no title"):
        notebooks.title(path, book)
    book.cells[0].metadata["tags"] = []
    with pytest.raises(LabError, match="01_small.ipynb has no cells tagged param"):
        notebooks.parameters_cell(path, book)


def test_control_c_puts_a_changed_figure_back_before_it_leaves(
    figure, tmp_path, monkeypatch
):
    for name in ("00_stopped", "02_last"):
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        notebooks.save(path, nbformat.v4.new_notebook())
    running, left, kept = threading.Event(), threading.Event(), []

    def execute(client, **options):
        if not client.nb.cells:
            assert running.wait(20) and not figure.exists()
            raise KeyboardInterrupt
        running.set()
        left.wait(20)

    def leave():
        kept.append(figure.exists())
        left.set()
        raise SystemExit(130)

    monkeypatch.setattr(NotebookClient, "execute", execute)
    monkeypatch.setattr(notebooks.interrupt, "leave", leave)
    with pytest.raises(SystemExit, match="130"):
        notebooks.run("full")
    assert kept == [True] and figure.read_text() == "mine"


def test_control_c_waits_for_no_running_notebook(monkeypatch):
    left, (first, *_) = threading.Event(), paths()

    def leave():
        left.set()
        raise SystemExit(130)

    def run_one(profile, datasets, path):
        if path == first:
            raise KeyboardInterrupt
        assert left.wait(20)

    monkeypatch.setattr(notebooks.interrupt, "leave", leave)
    monkeypatch.setattr(notebooks, "run_one", run_one)
    begin = time.monotonic()
    with pytest.raises(SystemExit, match="130"):
        notebooks.run("full")
    assert time.monotonic() - begin < 10


def test_a_notebook_with_merge_marks_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "01_small.ipynb").write_text('{"cells": [\n<<<<<<< HEAD\n')
    monkeypatch.setattr(notebooks.gather, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match="01_small.ipynb cannot be read .*: mend it"):
        notebooks.gather.write()


def test_one_notebook_is_run_and_an_unknown_number_is_one_sentence(monkeypatch):
    ran = []
    monkeypatch.setattr(notebooks, "run_one", lambda *given: ran.append(given[-1].stem))
    notebooks.main(["run", "quick", "03"])
    assert ran == ["03_two_conv_cnn"]
    with pytest.raises(LabError, match="no notebook 09: take some of 01, 02, 03, 04, "):
        notebooks.main(["run", "quick", "03", "09"])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("x = one(", "03_two_conv_cnn.ipynb fails .SyntaxError.*x = one"),
        ("x = y", "03_two_conv_cnn.ipynb fails .NameError: name 'y' is.*line 'x = y'"),
    ],
)
def test_a_mistake_in_a_tagged_cell_is_one_sentence(
    tmp_path, monkeypatch, wrong, named
):
    path = tmp_path / "lab" / "models.py"
    path.parent.mkdir()
    path.write_text(f"# --- 03_two_conv_cnn.ipynb ---\n\n{wrong}\n")
    monkeypatch.setattr(notebooks.gather, "FOLDER", tmp_path)
    with pytest.raises((SyntaxError, NameError)) as found:
        exec(compile(path.read_text(), str(path), "exec"), {})
    assert re.search(named, notebooks.gather.place(found.value))
    assert notebooks.gather.place(ValueError("elsewhere")) is None


def test_the_cell_that_stopped_is_named_and_the_later_ones_are_not():
    new = nbformat.v4.new_code_cell
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="", traceback=[])
    cells = [new("1"), new("2", outputs=[error]), new("3", outputs=[error])]
    book = nbformat.v4.new_notebook(cells=cells)
    error.evalue = "several\nlines"
    assert (
        notebooks.where(book, error) == "in code cell 2 of 3: KeyError: several lines"
    )
    error.evalue = ""
    assert notebooks.where(book, error) == "in code cell 2 of 3: KeyError"


def test_a_missing_quotation_mark_or_file_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[tool.coursework]\nauthor = "Ada\n')
    with monkeypatch.context() as patch:
        patch.setattr(notebooks, "ROOT", tmp_path)
        with pytest.raises(
            LabError, match="cannot be used .*line 2.*: correct this pl"
        ):
            project()
    with pytest.raises(SystemExit, match="No such file .*: it must be there, readable"):
        notebooks.guarded((tmp_path / "none").read_text)


@pytest.mark.parametrize(
    "address, files",
    [
        ("https://gitlab.com/ada/vision.git", "https://gitlab.com/ada/vision/-/blob"),
        ("https://github.com/ada/vision/", "https://github.com/ada/vision/blob"),
    ],
)
def test_links_into_the_repository_are_those_of_its_server(
    address, files, tmp_path, monkeypatch
):
    text = (ROOT / "pyproject.toml").read_text()
    text = re.sub(
        r'(?m)^repository = ".*"', f'repository = "{address}"', text, flags=re.I
    )
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    assert project()["files"] == f"{files}/main"
    assert project()["repository"] == "/".join(files.split("/")[:5])


def test_make_quick_refuses_notebooks_about_one_data_set(monkeypatch):
    changed = notebooks.read(notebooks.paths()[1])
    [cell] = tagged(changed, "parameters")
    cell.source = cell.source.replace('DATASETS = "all"', 'DATASETS = ["photos/"]')
    monkeypatch.setattr(notebooks, "read", lambda path: changed)
    with pytest.raises(LabError, match=r"has DATASETS = .* make photos FOLDER"):
        notebooks.run("quick")


def test_a_folder_that_was_moved_is_one_sentence(capsys):
    error = ModuleNotFoundError("No module named 'lab'", name="lab")
    notebooks.interrupt.hook(ModuleNotFoundError, error, None)
    said = capsys.readouterr().err
    assert "delete its folder .venv and run make again" in said
