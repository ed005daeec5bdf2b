"""The hand-in on one data set."""

import os
import re
import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

import check
import handin
import notebooks
import rubric
from conftest import copy_repository
from lab import LabError, lesson
from lab.plumbing import reading

SETS = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "fer2013": "FER2013",
    "photos/": "photos",
}


@pytest.fixture(scope="module")
def books():
    return {path.name[:2]: notebooks.read(path) for path in notebooks.paths()}


@pytest.fixture
def mine(monkeypatch):
    """An author who has filled in the first page."""
    about = notebooks.project() | {
        "author": "Ada",
        "course": "Vision",
        "date": "1 May",
        "declaration": "No help.",
    }
    monkeypatch.setattr(notebooks, "project", lambda: about)
    return about


def draft(name, books, text=None):
    text = text or handin.TEXT.read_text()
    return handin.written(text, name, SETS.get(name, name), books).cells


def prose(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", SETS)
def test_it_is_about_one_data_set_and_knows_every_name_that_it_uses(name, books):
    cells = draft(name, books)
    others = {title for title in SETS.values() if title != SETS[name]}
    text = re.sub(r"published for CIFAR-10|94% on CIFAR-10", "", prose(cells))
    assert SETS[name] in text
    assert not [title for title in others if title in text]
    assert not re.search(r"notebooks? 0\d", text) or name == "photos/"
    code = "\n\n".join(c.source for c in cells if c.cell_type == "code")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "F821,F401,E501",
        ]
        + ["--config", "builtins = ['display']", "-"],
        input=code,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'DATASETS = ["{name}"]' in code


@pytest.mark.parametrize("name", SETS)
def test_it_has_a_first_page_contents_numbers_and_at_most_120_cells(name, books, mine):
    text = handin.TEXT.read_text().replace(handin.IF_SHOWN, "")  # all that it can hold
    cells = handin.finished(draft(name, books, text))
    assert 90 < len(cells) <= 120
    for word in ("author", "course", "date", "declaration"):
        assert mine[word] in cells[0].source
    headings = re.findall(r"^###? ([\d.]+) .*", prose(cells), flags=re.M)
    expected, section, part = [], 0, 0
    for number in headings:
        section, part = (
            (section + 1, 0) if number.endswith(".") else (section, part + 1)
        )
        expected.append(f"{section}.{part}" if part else f"{section}.")
    assert headings == expected and len(headings) > 25
    contents = re.findall(r"^ *(?:- )?([\d.]+) ", cells[1].source, flags=re.M)
    assert contents == headings
    tables = re.findall(r"^\*\*Table (\d+)\.\*\*", prose(cells), flags=re.M)
    assert tables == [str(i) for i in range(1, len(tables) + 1)] and len(tables) > 12


def test_a_section_that_shows_nothing_is_left_out_and_figures_are_numbered():
    def section(title, *outputs):
        cell = new_code_cell("1", outputs=[*outputs])
        return [new_markdown_cell(f"## {title}{handin.IF_SHOWN}"), cell]

    table = new_output("execute_result", {"text/html": "<table>"}, execution_count=9)
    words = new_output("stream", text="variants trained: 0 of 4")
    captions = [new_output("stream", text=f"Figure: {x}\n") for x in ("A", "B")]
    first = [
        new_markdown_cell("# Title"),
        new_markdown_cell("## Data\n\n**Table.** A."),
    ]
    cells = [*first, *section("One", words), *section("Two", table, *captions)]
    text = prose(kept := handin.finished(cells))
    assert "One" not in text and "## 2. Two" in text and "<!--" not in text
    assert kept[-1].execution_count == kept[-1].outputs[0].execution_count == 1
    printed = [output.text for output in kept[-1].outputs[1:]]
    assert printed == ["Figure 1: A\n", "Figure 2: B\n"]


@pytest.mark.parametrize(
    "block, said",
    [
        ("```cell\n02 def no_such(\n```\n", "no cells have these words"),
        ("```cell\n02 keras\n```\n", "cells have these words"),
        ("```table\n02 No such\n```\n", "has no table"),
        ("```table\n03 Layer (sheet\n```\n", "has no table"),
        ("```table\n09 Layer sheet\n```\n", "write the number of a notebook"),
        ("```table\n03\n```\n", "such as 03, and the heading of its table"),
        ("```table\n```\n", "write the number of a notebook"),
        ("```cell\n09 keras\n```\n", "write the number of a notebook"),
        ("```cell\n02\n```\n", "write the number of a notebook"),
        ("```table\n03 Convolution\n```\n", "has no table"),
        ("```text\nx\n```\n", "has a block 'text'"),
    ],
)
def test_a_text_that_names_no_cell_is_refused_with_a_sentence(block, said, books):
    with pytest.raises(LabError, match=f"report/hand-in.md.*{said}"):
        draft("cifar10", books, f"# T\n\n## S\n\n{block}")
    with pytest.raises(LabError, match="report/hand-in.md needs a title and a section"):
        draft("cifar10", books, f"# T\n\n{block}")


@pytest.mark.parametrize("names, wrong", [("cifar10, own", "cifar10,"), ("my", "my")])
def test_a_misspelt_mark_is_refused_with_a_sentence(names, wrong, books):
    text = f"# T\n\n## S\n\n<!-- only {names} -->\nx\n<!-- all -->\n"
    said = f"only {names} has '{wrong}': write words among fashion_mnist, cifar10"
    with pytest.raises(LabError, match=said):
        draft("cifar10", books, text)


def test_a_last_block_without_a_line_end_is_code(books):
    cells = draft("cifar10", books, "# T\n\n## S\n\n```python\nx = 1\n```")
    assert [cell.cell_type for cell in cells] == ["markdown", "markdown", "code"]


def test_a_text_without_its_last_block_is_refused_before_it_is_run(
    mine, monkeypatch, tmp_path
):
    text = handin.TEXT.read_text()
    short = tmp_path / "hand-in.md"
    short.write_text(text.replace("lesson.finish(HAND_BACK_GPU)", "print()"))
    monkeypatch.setattr(handin, "complete", lambda: None)
    monkeypatch.setattr(notebooks, "out_of_sync", list)
    monkeypatch.setattr(
        handin, "loaded", lambda name, books: handin.datasets.load("digits")
    )
    monkeypatch.setattr(handin, "TEXT", short)
    with pytest.raises(LabError, match="lacks its last block"):
        handin.build("digits", tmp_path)


def test_a_nameless_hand_in_is_refused_with_a_sentence(mine, monkeypatch, tmp_path):
    mine["repository"] = "https://gitlab.com/ada/mine"
    assert check.unfilled() == []
    for name, example in (check.EXAMPLE | {"date": "", "declaration": " "}).items():
        about = mine | {name: example}
        monkeypatch.setattr(notebooks, "project", lambda about=about: about)
        with pytest.raises(LabError, match=f"lacks {name}: write it in pyproject.toml"):
            handin.build("cifar10", tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_stale_hand_in_is_refused_with_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "unfilled", list)
    changed = [tmp_path / path.name for path in notebooks.paths()]
    for path, copy in zip(notebooks.paths(), changed):
        copy.write_text(path.read_text().replace("scores(named)", "scores({**named})"))
    monkeypatch.setattr(notebooks, "paths", lambda: changed)
    with pytest.raises(LabError, match="changed since it was run: run make repro"):
        handin.build("cifar10", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_on_which_the_notebooks_have_not_run_is_refused(
    monkeypatch, tmp_path, books
):
    from PIL import Image

    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    for name, grey in (("dark", 0), ("light", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(12):
            image = Image.new("RGB", (16, 16), (grey + i, grey, i))
            image.save(tmp_path / "pets" / name / f"{i}.png")
    with pytest.raises(LabError, match='have not run .*make photos FOLDER=".*pets"'):
        handin.loaded(str(tmp_path / "pets"), books)


def test_a_folder_with_a_long_name_is_looked_for_where_the_notebooks_write(
    monkeypatch, tmp_path, books
):
    long = SimpleNamespace(name="x" * 121, title="pets", classes=(), available=True)
    monkeypatch.setattr(handin, "ROOT", tmp_path)
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    output = lesson.Lesson("03", "full", [long], [0], False).output
    (output / "notebooks").mkdir(parents=True)
    (output / "notebooks" / "03_small.ipynb").touch()
    looked = []
    monkeypatch.setattr(handin.datasets, "load", lambda *_: long)
    monkeypatch.setattr(handin, "outdated", lambda ran, *_: looked.append(ran))
    assert handin.loaded("pets/", books) == long
    assert looked == [[output / "notebooks" / "03_small.ipynb"]]


@pytest.mark.parametrize("committed, built", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_known_set_needs_the_notebooks_here_or_those_on_this_set_alone(
    committed, built, monkeypatch, books
):
    here = SimpleNamespace(name="cifar10", title="CIFAR-10", available=True)
    monkeypatch.setattr(handin.datasets, "load", lambda *_: here)
    faults = {True: "the five are old" * committed, False: "those are old" * built}
    monkeypatch.setattr(
        handin, "outdated", lambda ran, _: faults[ran == notebooks.paths()]
    )
    if not committed or not built:
        assert handin.loaded("cifar10", books) == here
    else:
        said = "the five are old: run make reproduce, or make photos FOLDER=cifar10,"
        with pytest.raises(LabError, match=said):
            handin.loaded("cifar10", books)


def test_its_parameters_may_take_several_lines_and_are_read_where_they_are_plain(
    books, tmp_path
):
    changed = deepcopy(books)
    (cell,) = notebooks.tagged(changed["03"], "parameters")
    given = notebooks.assigned(cell.source)["CLASSES"]
    for classes in ('[\n    "dark",  # at night\n    "light",\n]', "[30, 8]"):
        cell.source = cell.source.replace(f"CLASSES = {given}", f"CLASSES = {classes}")
        given = classes
        assert f"\nCLASSES = {classes}\n" in handin.parameters("digits", changed)
    cell.source += "\nSEEDS = list(range(3))"
    with pytest.raises(LabError, match="Digits, which has: 0, 1.*it has no 30"):
        handin.loaded("digits", changed)
    plain = cell.source
    for wrong in (
        plain + '\nCLASSES = list("ab")',
        plain.replace("GREY = False", "grey = False"),
    ):
        cell.source = wrong
        with pytest.raises(LabError, match="Notebook 03 has no plain value of CLASSES"):
            handin.loaded("digits", changed)


def test_its_first_cell_clones_the_repository_into_an_empty_folder(mine, tmp_path):
    origin, empty = tmp_path / "origin", tmp_path / "empty"
    (origin / "notebooks" / "lab").mkdir(parents=True)
    line = "def setup_line():\n    return 'cloned'\n"
    (origin / "notebooks" / "lab" / "__init__.py").write_text(line)
    empty.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(origin)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    mine["repository"] = str(origin)
    for _ in range(2):  # the second time the clone is there
        done = subprocess.run(
            [sys.executable, "-c", handin.setup()],
            cwd=empty,
            capture_output=True,
            text=True,
        )
        assert done.stdout == "cloned\n", done.stderr
    mine["repository"] = str(tmp_path / "none")
    done = subprocess.run(
        [sys.executable, "-c", handin.setup()],
        cwd=empty,
        capture_output=True,
        text=True,
    )
    assert f"{tmp_path / 'none'} cannot be cloned: set REPOSITORY" in done.stderr


@pytest.mark.long
def test_it_runs_alone_from_top_to_bottom_and_answers_a_rubric(
    mine, books, tmp_path, monkeypatch
):
    origin, empty = copy_repository(tmp_path / "origin"), tmp_path / "empty"
    empty.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(origin)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    mine["repository"] = str(origin)
    book = handin.written(handin.TEXT.read_text(), "digits", "Digits", books)
    client = NotebookClient(
        book,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(empty)}},
    )
    monkeypatch.delenv("LAB_PROFILE", raising=False)
    monkeypatch.delenv("PYTHONPATH")  # the clone's packages are the ones to be used
    client.execute(env=dict(os.environ))
    assert [*(empty / "origin" / "build" / "quick" / "figures").glob("ha_curves.png")]
    book.cells = handin.finished(book.cells)
    nbformat.validate(book)
    demands = rubric.demands(rubric.RUBRICS / "clothes.toml")
    places = rubric.in_notebook(book)
    open_ones = []
    for item in demands["item"]:
        where, fault = rubric.answer(item, places)
        numbers = {place.number for place in where}
        rest = [place for place in places if place.number not in numbers]
        assert rubric.answer(item, rest)[1], item["asks"]
        open_ones += [item["asks"]] * bool(fault)
    assert open_ones == ["Are the most frequent errors named and explained?"]


def test_it_is_a_notebook_and_a_page_with_the_repositorys_name(
    mine, monkeypatch, tmp_path, digits
):
    mine["repository"] = "https://gitlab.com/ada/vision"
    monkeypatch.setattr(handin, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "out_of_sync", list)
    monkeypatch.setattr(handin, "loaded", lambda *_: digits)

    def execute(path, profile):
        book = notebooks.read(path)
        book.metadata["lab"] = {"runs": {}, "files": {}}
        return book, None

    monkeypatch.setattr(notebooks, "execute", execute)
    found = handin.build("digits", tmp_path / "out")
    names = [path.name for path in found if path.stat().st_size > 10_000]
    assert names == ["vision-digits.ipynb", "vision-digits.html"]
