"""What is handed in and what is published."""

import ast
import os
import re
import subprocess
import zipfile
from collections import Counter
from copy import deepcopy

import nbformat
import pytest
from nbclient import NotebookClient

import notebooks
import publish
import report
from conftest import ROOT, tool
from lab import LabError


@pytest.fixture(scope="module")
def one():
    return publish.merged({path: notebooks.read(path) for path in notebooks.paths()})


def test_one_notebook_holds_all_five_once(one):
    nbformat.validate(one)
    assert (
        len(notebooks.tagged(one, "setup"))
        == len(notebooks.tagged(one, "parameters"))
        == 1
    )
    for path in notebooks.paths():
        cells = [
            cell
            for cell in notebooks.read(path).cells
            if not {"setup", "parameters"} & set(cell.metadata.get("tags", []))
        ]
        kept = [cell.source for cell in one.cells]
        untouched = [
            cell.source
            for cell in cells[1:]
            if not re.search(
                r"SEEDS|HAND_BACK|finish|\.ipynb|^## (Setup|Param)", cell.source
            )
        ]
        assert len(untouched) > 20 and all(source in kept for source in untouched)
        assert cells[0].source.splitlines()[0] in "\n".join(kept)
    books = map(notebooks.read, notebooks.paths())
    given = Counter(cell.source for book in books for cell in book.cells)
    assert not [s for s, n in Counter(kept).items() if s in given and n > given[s]]
    code = [cell for cell in one.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(len(cell.outputs) for cell in code) > 50


def test_its_parameters_keep_the_values_of_each_part(one):
    def parameters(path, book):
        return notebooks.assigned(notebooks.parameters_cell(path, book).source)

    found = parameters(ROOT / "one.ipynb", one)
    for path in notebooks.paths():
        for name, value in parameters(path, notebooks.read(path)).items():
            assert found.get(f"{name}_{path.name[:2]}", found.get(name)) == value
    text = "\n".join(cell.source for cell in one.cells if cell.cell_type == "code")
    ast.parse(text)
    assert not re.search(r"\bSEEDS\b", text)
    assert text.count("HAND_BACK_GPU") == 2 and text.rstrip().endswith(
        "lesson.finish(HAND_BACK_GPU)"
    )  # set once, used at the end


def test_without_an_author_nothing_is_handed_in(tmp_path, monkeypatch):
    import check

    about = notebooks.project() | {"author": ""}
    monkeypatch.setattr(notebooks, "project", lambda: about)
    monkeypatch.setattr(notebooks, "stale", lambda *_: [])
    monkeypatch.setattr(check, "check_report", lambda: [])
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    with pytest.raises(LabError, match="lacks .*author"):
        publish.submission("")
    assert not [*tmp_path.iterdir()]


def test_its_links_lead_nowhere_but_to_the_repository_or_the_web(one):
    for cell in one.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\]\((?!https?:)|\.ipynb\)", cell.source), cell.source


@pytest.mark.long
def test_it_runs_from_top_to_bottom(quick, one):
    client = NotebookClient(
        deepcopy(one),
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(quick / "notebooks")}},
    )
    done = client.execute(env=os.environ | {"LAB_PROFILE": "quick"})
    assert "profile quick (from LAB_PROFILE)" in done.cells[1].outputs[0].text


def test_a_stale_notebook_is_not_handed_in(copy):
    path = copy / "notebooks" / "02_dense_baseline.ipynb"
    path.write_text(
        path.read_text().replace("tables.scores(named)", "tables.scores(dict(named))")
    )
    done = tool(copy, "publish.py", "submission")
    assert (
        done.returncode == 1
        and "a code cell has changed since it was run: run make reproduce first."
        in done.stderr
    )
    assert not (copy / "build" / "submission").exists()


def test_the_archive_builds_the_same_report_by_itself(tmp_path):
    packed = tmp_path / "report.zip"
    publish.archive(packed, publish.report_files())
    again = tmp_path / "again.zip"
    publish.archive(again, publish.report_files())
    assert packed.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "report")
    if not report.has_latex():
        pytest.skip("LaTeX is missing")
    done = subprocess.run(
        ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=tmp_path / "report",
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "report" / "report.pdf").stat().st_size > 500_000


@pytest.mark.long
def test_the_pages_lead_to_each_other(copy):
    done = tool(copy, "publish.py", "pages")
    assert done.returncode == 0, done.stderr
    page = (copy / "public" / "index.html").read_text()
    links = re.findall(r'\b(?:href|src)="([^"]*)"', page)
    assert "page.jpg" in links and "05_light_ground.png" in links
    inside = [link for link in links if not link.startswith(("http", "#"))]
    assert (
        len([link for link in inside if link.endswith(".html")]) >= 5
        and "report.pdf" in inside
    )
    for link in inside:
        assert (copy / "public" / link).exists(), link


def test_the_page_shows_the_pictures_of_the_readme_and_links_into_the_repository():
    page = publish.index((ROOT / "README.md").read_text())
    shown = re.findall(r'<img[^>]* src="([^"]*)"', page)
    assert len(shown) >= 3 and all("/" not in name for name in shown)
    assert 'href="report.pdf"' in page and "/-/blob/main/docs/" in page


def test_of_all_sets_a_notebook_the_report_and_its_sources_are_handed_in(
    tmp_path, monkeypatch
):
    about = notebooks.project() | {
        name: "mine" for name in ("author", "course", "date", "declaration")
    }
    about["repository"] = "https://gitlab.com/ada/vision"
    monkeypatch.setattr(notebooks, "project", lambda: about)
    monkeypatch.setattr(notebooks, "stale", lambda *_: [])
    monkeypatch.setattr(publish.check, "check_report", lambda: [])
    files = publish.report_files()
    monkeypatch.setattr(publish, "report_files", lambda: files)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    pdf = tmp_path / publish.REPORT
    pdf.parent.mkdir()
    pdf.write_bytes(b"%PDF")
    publish.submission("")
    written = [path for path in (tmp_path / "build").rglob("*") if path.is_file()]
    names = ["report.pdf", "report.zip", "vision.ipynb"]
    assert sorted(path.name for path in written) == names
    assert next(p for p in written if p.name == names[0]).read_bytes() == b"%PDF"
