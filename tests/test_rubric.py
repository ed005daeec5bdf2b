"""What an assignment asks, and where the hand-in answers it."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import notebooks
import rubric
from lab import LabError

ASKED = """
title = "A test"
hand_in = "report/report.tex"

[[item]]
asks = "Is there a name?"
text = 'Ada'

[[item]]
asks = "Are the data described?"
part = 'data'

[[item]]
asks = "Are the layers explained?"
heading = ['dense', 'convolution']

[[item]]
asks = "Is there a table of accuracies?"
table = 'accuracy by network'

[[item]]
asks = "Is there a confusion matrix?"
figure = 'confusion'
"""
IMAGE = new_output(
    "display_data", {"image/png": ""}, metadata={"image/png": {"alt": "Confusion of A"}}
)
TABLE = new_output("display_data", {"text/html": "", "text/plain": "dense 50"})
NOTEBOOK = {  # the demand that each cell answers
    "name": new_markdown_cell("# Title\n\nAda, 1 May"),
    "data": new_markdown_cell("## 1. Data\n\nPictures."),
    "explained": new_markdown_cell("### 1.1 Dense\n\nx\n\n### 1.2 Convolution"),
    "table": new_markdown_cell("**Table 1.** Accuracy by network."),
    "table ": new_code_cell("1", outputs=[TABLE]),
    "matrix": new_code_cell("2", outputs=[IMAGE]),
}
REPORT = {  # the demand that each paragraph answers
    "name": "By Ada.",
    "data": r"\section{Part I: the data}",
    "dense": r"\subsection{Dense network}",
    "layers": "\\subsection{One convolution}\nIt slides.",
    "table": r"\labtable[\compact]{02_scores}",
    "matrix": r"\labpair{0.5}{02_few}{02_confusion}",
}


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "test.toml").write_text(ASKED)
    return rubric.demands(tmp_path / "test.toml")


def missing(asked, places):
    """Return the questions that are not answered."""
    said, count = rubric.lines(asked, places)
    named = [line.split("\n")[0] for line in said if "MISSING" in line]
    assert len(named) == count
    return named


def test_a_notebook_that_has_all_is_told_where(asked):
    places = rubric.in_notebook(new_notebook(cells=list(NOTEBOOK.values())))
    assert missing(asked, places) == []
    said, _ = rubric.lines(asked, places)
    assert said[3].endswith("cell 5, 1.2 Convolution")
    assert said[4].endswith("cell 6, 1.2 Convolution")


@pytest.mark.parametrize("left_out", NOTEBOOK)
def test_whatever_is_taken_out_of_a_notebook_is_named(left_out, asked):
    cells = [cell for name, cell in NOTEBOOK.items() if name != left_out]
    (named,) = missing(asked, rubric.in_notebook(new_notebook(cells=cells)))
    assert left_out.strip() in named


def report_in(folder, parts):
    """Write a report of such paragraphs, and what LaTeX left of it; return its path."""
    generated = folder / "report" / "generated"
    generated.mkdir(parents=True)
    (folder / "report" / "sections").mkdir()
    captions = "\\defcaption{02_scores}{02.ipynb}{Accuracy by network, in \\%.}\n"
    captions += "\\defcaption{02_confusion}{02.ipynb}{Confusion of 2 classes}\n"
    (generated / "captions.tex").write_text(captions)
    body = "% \\labfigure{02_confusion} accuracy by network\n\n" + "\n\n".join(parts)
    (folder / "report" / "sections" / "1.tex").write_text(body)
    path = folder / "report" / "report.tex"
    path.write_text("\\input{macros}\n\\begin{document}\n\\input{sections/1}\nx")
    built = folder / "build" / "latex" / folder.name / "report.aux"
    built.parent.mkdir(parents=True)
    built.write_text(
        "\\newlabel{tab:02_scores}{{1}{7}{}{table.1}{}}\n"
        "\\newlabel{fig:02_confusion}{{2}{9}{}{figure.2}{}}\n"
        "\\@writefile{toc}{\\contentsline {section}{\\numberline {1}Part I: the data}"
        "{2}{section.1}\\protected@file@percent }\n"
        "\\@writefile{toc}{\\contentsline {section}{\\numberline {2}Part II}{6}{s.2}}\n"
    )
    return path


def test_a_report_that_has_all_is_told_the_pages(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    places = rubric.in_report(report_in(tmp_path, REPORT.values()))
    assert missing(asked, places) == []
    said, _ = rubric.lines(asked, places)
    assert said[1].endswith("page 2, Part I: the data")
    assert said[3].endswith("page 7, One convolution")
    assert said[4].endswith("page 9, One convolution")


@pytest.mark.parametrize("left_out", REPORT)
def test_whatever_is_taken_out_of_a_report_is_named(
    left_out, asked, tmp_path, monkeypatch
):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    parts = [part for name, part in REPORT.items() if name != left_out]
    (named,) = missing(asked, rubric.in_report(report_in(tmp_path, parts)))
    assert left_out.replace("dense", "layers") in named


@pytest.mark.parametrize(
    "pages, met", [([3, 5], True), ([5, 7], True), ([6, 7], False), ([1, 3], False)]
)
def test_a_part_may_have_too_many_or_too_few_pages(pages, met, tmp_path, monkeypatch):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    parts = [*REPORT.values(), r"\section{Part II}"]
    places = rubric.in_report(report_in(tmp_path, parts))
    _, fault = rubric.answer({"part": "part I:", "pages": pages}, places)
    assert (fault is None) == met and (met or "about 4 pages" in fault)


@pytest.mark.parametrize(
    "pages, met", [([7, 8], True), ([9, 10], True), ([10, 11], False), ([5, 7], False)]
)
def test_the_last_part_ends_on_the_last_known_page(pages, met, tmp_path, monkeypatch):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    places = rubric.in_report(report_in(tmp_path, REPORT.values()))
    _, fault = rubric.answer({"part": "part I:", "pages": pages}, places)
    assert (fault is None) == met and (met or "about 8 pages" in fault)


def test_the_pages_of_a_part_that_is_not_there_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    places = rubric.in_report(report_in(tmp_path, REPORT.values()))
    item = {"part": "part III", "text": "Ada", "pages": [5, 7]}
    assert rubric.answer(item, places)[1] == "no part has 'part III'"


def test_a_value_that_a_cell_shows_is_found():
    shown = new_output("execute_result", {"text/plain": "0.9342"}, execution_count=1)
    book = new_notebook(cells=[new_code_cell("right.mean()", outputs=[shown])])
    assert ("output", "0.9342") in [place[:2] for place in rubric.in_notebook(book)]


def test_a_notebook_may_have_too_many_cells_and_has_no_pages():
    places = rubric.in_notebook(new_notebook(cells=list(NOTEBOOK.values())))
    item = {"part": "data", "pages": [1, 9]}
    assert rubric.answer(item, places)[1] == "it is a notebook, so it has no pages"
    assert rubric.answer({"cells": 6}, places)[1] is None
    assert rubric.answer({"cells": 5}, places)[1] == "it has 6 cells"


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("asks =", "ask =", "asks"),
        ("title =", "name =", "title"),
        ("figure =", "picture =", "picture"),
        ("'confusion'", "'(confusion'", "unterminated"),
        ("'Ada'", "", "Invalid value"),
        ("item]]", "item]]\nasks = 'Sheep?'\n[[item]]", "nothing that shows"),
        ("'Ada'", "'Ada'\npages = 5", "int"),
        ("'Ada'", "'Ada'\ncells = 'many'", "str"),
        ("'Ada'", "'Ada'\npages = [1, 2]", "counts the pages of no part"),
        ("'Ada'", "[]", "is empty"),
        ('"report/report.tex"', '["report/report.tex"]', "list"),
    ],
)
def test_a_rubric_that_cannot_be_read_is_named(old, new, said, tmp_path):
    (tmp_path / "test.toml").write_text(ASKED.replace(old, new, 1))
    with pytest.raises(LabError, match=f"test.toml cannot be read as a rubric.*{said}"):
        rubric.demands(tmp_path / "test.toml")


def test_the_notebook_of_all_five_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "all.ipynb"
    notebooks.save(path, new_notebook(cells=list(NOTEBOOK.values())))
    with pytest.raises(LabError, match="has no stamp: name the notebook on one data"):
        rubric.hand_in(str(path))


def test_a_caption_of_ones_own_may_stand_on_its_own_line(tmp_path, monkeypatch):
    monkeypatch.setattr(rubric, "ROOT", tmp_path)
    own = "\\caption{My curve}\n  \\label{fig:my-curve}"
    places = rubric.in_report(report_in(tmp_path, [own]))
    assert ("figure", "my-curve: My curve") in [(p.kind, p.words) for p in places]


def test_the_command_fails_where_a_demand_is_not_met(tmp_path, monkeypatch, capsys):
    (tmp_path / "test.toml").write_text(ASKED)
    cells = list(NOTEBOOK.values())
    for kept, status in ((cells, 0), (cells[1:], 1)):
        places = rubric.in_notebook(new_notebook(cells=kept))
        found = tmp_path / "hand-in.ipynb", places
        monkeypatch.setattr(rubric, "hand_in", lambda _, found=found: found)
        with pytest.raises(SystemExit) as end:
            rubric.main([str(tmp_path / "test.toml")])
        assert end.value.code == status
    assert "4 of 5 demands are met." in capsys.readouterr().out


def test_a_missing_rubric_or_hand_in_is_named(tmp_path):
    with pytest.raises(LabError, match="choose among cifar10, clothes, emotions"):
        rubric.demands(rubric.RUBRICS / "poems.toml")
    with pytest.raises(LabError, match="build/none/x.ipynb is not here"):
        rubric.hand_in("build/none/x.ipynb")


def test_the_report_of_the_repository_answers_what_a_project_on_emotions_asks(
    tmp_path, monkeypatch
):
    asked = rubric.demands(rubric.RUBRICS / "emotions.toml")
    report = rubric.ROOT / "report" / "report.tex"
    monkeypatch.setattr(rubric, "ROOT", tmp_path)  # where nothing was built
    said, unmet = rubric.lines(asked, rubric.in_report(report))
    assert unmet == sum("pages" in item for item in asked["item"]) > 0
    assert sum("pages are not known: run make report" in line for line in said) == unmet
