import json
import re

import pytest

import report
from conftest import ROOT, tool
from lab.plumbing.files import LabError
from lab.plumbing.numbers import Number

NAMES = "CIFAR-10|FER2013|ResNet-20"  # names that hold digits, and are no results
SOURCES = [
    ROOT / "report" / "report.tex",
    *sorted((ROOT / "report" / "sections").glob("*.tex")),
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_number_is_typed(path):
    text = re.sub(NAMES, "", path.read_text())
    text = re.sub(
        r"\\(result|ref|cite|label|labfigure|labtable|input|documentclass)"
        r"(\[[^]]*\])?\{[^}]*\}",
        "",
        text,
    )
    assert not re.search(r"\d+\.\d|\d+\s*(\\,)?\\%|\d{2,}", text), re.findall(
        r".*\d.*", text
    )


def test_every_key_figure_and_table_of_the_report_exists():
    text = "".join(path.read_text() for path in SOURCES)
    numbers = (ROOT / "report" / "generated" / "numbers.tex").read_text()
    captions = (ROOT / "report" / "generated" / "captions.tex").read_text()
    for key in re.findall(r"\\result\{([^}]*)\}", text):
        assert f"\\defresult{{{key}}}" in numbers
    for name in re.findall(r"\\lab(?:figure|table)\{([^}]*)\}", text):
        assert f"\\defcaption{{{name}}}" in captions


@pytest.mark.parametrize(
    "value, form, text",
    [
        (0.91634, "percent", r"\qty{91.6}{\percent}"),
        (1167786, "count", r"\num{1167786}"),
        (-0.0123, "points", r"\num{-1.2}"),
        (90.0, "minutes", r"\qty{1.5}{\minute}"),
        (0.9, "ratio", r"\num{0.900}"),
        (9.0, "mean", r"\num{9}"),
        (9.5, "mean", r"\num{9.5}"),
    ],
)
def test_the_form_of_a_number_decides_how_it_is_printed(value, form, text):
    assert Number(value, form).latex() == text


def test_special_characters_of_captions_are_escaped():
    assert (
        report.escape("100 % of T_shirts & {socks}")
        == r"100 \% of T\_shirts \& \{socks\}"
    )


def test_an_unknown_key_stops_the_build(tmp_path):
    if not report.has_latex():
        pytest.skip("LaTeX is not installed")
    (tmp_path / "wrong.tex").write_text(
        "\\documentclass{article}\n"
        + (ROOT / "report" / "macros.tex").read_text()
        + "\\begin{document}\\result{no.such.key}\\end{document}\n"
    )
    with pytest.raises(LabError, match="Unknown result 'no.such.key'"):
        report.latex(tmp_path / "wrong.tex", tmp_path / "wrong.pdf", tmp_path / "work")
    assert not (tmp_path / "wrong.pdf").exists()


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def first_accuracy(copy):
    path = (
        copy
        / "data"
        / "runs"
        / "fashion_mnist"
        / "dense"
        / "main"
        / "seed-0"
        / "run.json"
    )
    return path, re.search(r'"accuracy": (0\.\d+)', path.read_text())[1]


def test_check_names_what_was_changed_by_hand(copy):
    run, accuracy = first_accuracy(copy)
    change(run, accuracy, accuracy[:-1] + str((int(accuracy[-1]) + 1) % 10))
    number = copy / "report" / "generated" / "numbers.tex"
    printed = re.search(
        r"cifar10.improved.test.accuracy\}\{\\qty\{(\d)", number.read_text()
    )
    change(number, printed[0], printed[0][:-1] + str((int(printed[1]) + 1) % 10))
    change(
        copy / "notebooks" / "04_improved_cnn.ipynb",
        "% 2 == 1, shift=2",
        "% 2 == 1, shift=3",
    )
    matrix = copy / "figures" / "05_confusion_fashion_mnist_improved.csv"
    change(matrix, "Trouser,", "Trouser,1")
    (copy / "figures" / "05_old.png").touch()
    change(
        copy / "report" / "sections" / "4_conclusion.tex",
        "Growing networks recognise",
        "Growing networks really recognise",
    )
    change(copy / "README.md", "Two convolutions |", "Two convolutions  |")
    answers = {
        "validation_answers": "0" * 5_000,
        "test_answers": "0" * 10_000,
    }  # a tenth of both is of class 0
    net = answers | {
        "validation_accuracy": 0.1,
        "test_accuracy": 0.2,
        "parameters": 10,
        "operations": 10,
        "epochs": 1,
        "seconds": 1.0,
    }
    (copy / "data" / "baselines.json").write_text(
        json.dumps({"operations": 10, "networks": {"net": net}})
    )
    done = tool(copy, "check.py")
    assert done.returncode == 1
    for named in (
        "dense/main/seed-0/run.json: ",
        "numbers.tex is not what",
        "04_improved_cnn.ipynb: a code cell has changed",
        "05_confusion_fashion_mnist_improved.csv is not the confusion matrix",
        "figures/05_old.png is written by no notebook",
        "report.pdf was built from other",
        "README.md: the results table",
        "net: the test accuracy is 0.1 when",
    ):
        assert named in done.stdout, done.stdout


def test_check_passes_on_what_is_committed_and_names_a_changed_line_of_lab(copy):
    path = copy / "notebooks" / "lab" / "drawing" / "base.py"
    change(path, "WIDTH = 6.3  # inches", "WIDTH = 6.3  # Inches")
    done = tool(copy, "check.py")
    assert done.returncode == 0, done.stdout + done.stderr
    change(path, "WIDTH = 6.3", "WIDTH = 6.4")
    done = tool(copy, "check.py")
    assert done.returncode == 1
    for name in ("01_dataset_exploration", "05_analysis"):
        assert (
            f"notebooks/{name}.ipynb: the code of notebooks/lab has changed"
            in done.stdout
        )
