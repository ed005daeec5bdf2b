import csv
import io
import json
import re

import pytest

import baselines
import report
from conftest import ROOT, tool
from lab.lesson import DATASETS
from lab.plumbing.files import LabError
from lab.plumbing.numbers import Number

NAMES = "CIFAR-10|FER2013|ResNet-20"  # names that hold digits, and are no results
SOURCES = [
    ROOT / "report" / "report.tex",
    *sorted((ROOT / "report" / "sections").glob("*.tex")),
]

RUNS = ROOT / "data" / "runs"
RECORDS = sorted(RUNS.glob("*/*/*/seed-*/run.json"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_number_is_typed(path):
    text = re.sub(NAMES, "", path.read_text())
    measured = r"\\given\{[^}]*\d\.\d[^}]*\\%|\\given\{[^}]*[a-z]{2}"
    assert not re.search(measured, text), "\\given is for what we chose"
    for commands in (
        r"(?:gain|setlength|renewcommand|labpair\{[\d.]+\})\{[^}]*\}",
        r"(?:result|given|ref|cite|label|labfigure|labtable|lablayers|input"
        r"|documentclass)(?:\[[^]]*\])?",
    ):
        text = re.sub(rf"\\{commands}\{{[^}}]*\}}", "", text)
    assert not re.search(r"\d+\.\d|\d+\s*(\\,)?\\%|\d{2,}", text), re.findall(
        r".*\d.*", text
    )


def test_every_key_figure_and_table_of_the_report_exists():
    text = "".join(path.read_text() for path in SOURCES)
    numbers = (ROOT / "report" / "generated" / "numbers.tex").read_text()
    captions = (ROOT / "report" / "generated" / "captions.tex").read_text()
    keys = re.findall(r"\\result\{([^}]*)\}", text)
    for dataset, networks in re.findall(r"\\gain\{(.*?)\}\{(.*?)\}", text):
        key = f"{dataset}.gain.{networks}"
        keys += [f"{key}.points", f"{key}.low.points", f"{key}.high.points"]
    for key in keys:
        assert f"\\defresult{{{key}}}" in numbers
    shown = re.findall(r"\\lab(?:figure|table|layers)(?:\[[^]]*\])?\{(\w+)\}", text)
    for pair in re.findall(r"\\labpair\{[^}]*\}\{(\w+)\}\{(\w+)\}", text):
        shown += pair
    assert len(shown) == len(set(shown)) > 50
    for name in shown:
        assert f"\\defcaption{{{name}}}" in captions
        assert re.search(rf"\\ref\{{(fig|tab):{name}\}}", text), f"{name}: no reference"


def test_the_csv_of_runs_has_a_row_for_every_run():
    rows = list(csv.DictReader(io.StringIO(report.runs_csv(RUNS, DATASETS["full"]))))
    folders = {path.parent.relative_to(RUNS).as_posix() for path in RECORDS}
    assert {row["run"] for row in rows} == folders
    row = next(row for row in rows if row["run"] == "cifar10/improved/main/seed-0")
    record = json.loads((RUNS / row["run"] / "run.json").read_text())
    assert float(row["test.accuracy"]) == record["metrics"]["test"]["accuracy"]
    assert json.loads(row["recipe.augmentation"]) == record["recipe"]["augmentation"]


def test_the_table_of_recipes_has_a_column_a_recipe_and_what_each_run_used():
    table = report.recipes(report.runs_in(RUNS)).set_index("hyper-parameter")
    sizes = {
        json.loads(path.read_text())["recipe"]["batch_size"]
        for path in RECORDS
        if path.parts[-3] == "main"
    }
    assert set(table.loc["batch size"]) == {str(size) for size in sizes}
    assert ("One convolution", "Two convolutions") in table.columns
    assert table.loc["shift", ("Improved CNN", "FER2013")] == "4"
    assert table.loc["shift", ("Dense", "")] == "–"


def test_the_table_of_baselines_says_how_they_are_trained():
    for name, (_, changes, falls) in baselines.BASELINES.items():
        said = report.BASELINE_RECIPES[name]
        assert said["batch size"] == str(baselines.BATCH)
        assert (said["augmentation"] == "none") == (changes is None)
        rates = baselines.FALLS if falls else baselines.FALLS[-1:]
        numbers = re.findall(r"\d[\d.e-]*", said["learning rate"])
        assert {rate for _, rate in rates} <= set(map(float, numbers))
    assert report.BASELINE_RECIPES.keys() == baselines.BASELINES.keys()


def test_a_number_without_a_run_is_no_number_of_a_notebook():
    numbers = [
        content["numbers"]
        for content in report.notebooks_of(ROOT / "report" / "generated").values()
    ]
    assert not any(key in found for key in report.FACTS for found in numbers)


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
        "We used no",
        "We really used no",
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
