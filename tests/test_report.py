import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

import baselines
import mutate
import report
from conftest import ROOT
from lab.lesson import DATASETS
from lab.plumbing.files import LabError
from lab.plumbing.numbers import Number
from lab.runs import Seeds, headline

NAMES = "CIFAR-10|FER2013|ResNet-20"  # names that hold digits, and are no results
SOURCES = [
    ROOT / "report" / "report.tex",
    *sorted((ROOT / "report" / "sections").glob("*.tex")),
]

RUNS = ROOT / "data" / "runs"
RECORDS = sorted(
    path
    for name in DATASETS["full"]  # a student has runs on own pictures, too
    for path in RUNS.glob(f"{name}/*/*/seed-*/run.json")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_number_is_typed(path):
    text = re.sub(NAMES, "", path.read_text())
    measured = r"\\given\{[^}]*\d\.\d[^}]*\\%|\\given\{[^}]*[a-z]{2}"
    assert not re.search(measured, text), "\\given is for what we chose"
    for commands in (
        r"(?:gain|setlength|renewcommand|labpair(?:\[[\d.]+\])?\{[\d.]+\})\{[^}]*\}",
        r"(?:result|given|chosen|ref|cite|label|labfigure|labtable|input"
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
    shown = re.findall(r"\\lab(?:figure|table)(?:\[[^]]*\])?\{(\w+)\}", text)
    for pair in re.findall(r"\\labpair(?:\[[^]]*\])?\{[^}]*\}\{(\w+)\}\{(\w+)\}", text):
        shown += pair
    assert len(shown) == len(set(shown)) > 50
    for name in shown:
        assert f"\\defcaption{{{name}}}" in captions
        assert re.search(rf"\\ref\{{(fig|tab):{name}\}}", text), f"{name}: no reference"


def test_the_csv_of_runs_has_a_row_for_every_run():
    rows = report.every_run(RUNS, DATASETS["full"]).to_dict("records")
    folders = {path.parent.relative_to(RUNS).as_posix() for path in RECORDS}
    assert {row["run"] for row in rows} == folders
    row = next(row for row in rows if row["run"] == "cifar10/improved/main/seed-0")
    record = json.loads((RUNS / row["run"] / "run.json").read_text())
    assert float(row["test.accuracy"]) == record["metrics"]["test"]["accuracy"]
    assert json.loads(row["recipe.augmentation"]) == record["recipe"]["augmentation"]
    total = report.totals(pd.DataFrame(rows))
    assert total["runs.count"].value == len(RECORDS)
    assert total["runs.pflop"].value == pytest.approx(sum(row["pflop"] for row in rows))
    assert not any(number.value for number in report.totals(pd.DataFrame()).values())


def test_the_table_of_recipes_has_a_column_a_recipe_and_what_each_run_used():
    table = report.recipes(report.runs_in(RUNS)).set_index("hyper-parameter")
    sizes = {
        json.loads(path.read_text())["recipe"]["batch_size"]
        for path in RECORDS
        if path.parts[-3] == "main"
    }
    assert set(table.loc["batch size"]) == {str(size) for size in sizes}
    assert ("One convolution", "Two convolutions") in table.columns
    assert table.loc["shift (pixels)", ("Improved CNN", "FER2013")] == "4"
    assert table.loc["shift (pixels)", ("Dense", "")] == "–"


def test_the_tables_of_layers_count_the_parameters_of_the_networks_that_were_trained():
    groups = report.runs_in(RUNS)
    for (dataset, model), seeds in groups.items():
        column = report.layers(groups, model)[report.title(dataset)]["parameters"]
        total = sum(int(text.replace(",", "")) for text in column if text)
        assert total == seeds[0].record["parameters"], (dataset, model)
    improved = report.layers(groups, "improved")
    settings = " ".join(improved[""]["settings"])
    assert "kernel size: 3 × 3 (CIFAR-10: 2 × 2)" in settings
    empty = improved["CIFAR-10"]["output"] == ""
    assert empty.sum() == 5  # the fourth block of FER2013
    assert set(improved["FER2013"]["output"][empty]) == {"5 × 5 × 384", "2 × 2 × 384"}
    skips = improved[improved["FER2013"]["output"] == ""][""]["layer"]
    assert list(skips) == 3 * ["Conv2D", "BatchNormalization", "Add"]


def test_a_table_of_layers_says_what_differs_and_refuses_what_it_cannot_show():
    def group(dataset="cifar10", **arguments):
        record = {"dataset": dataset, "model": "improved"}
        recipe = SimpleNamespace(model_arguments=arguments)
        return [SimpleNamespace(record=record, recipe=recipe)]

    dropped = {("fashion_mnist", "improved"): group("fashion_mnist")}
    dropped["cifar10", "improved"] = group(identity=False)
    settings = " ".join(report.layers(dropped, "improved")[""]["settings"])
    assert "kernel initializer: PartialIdentity (CIFAR-10: none)" in settings
    dropped["cifar10", "improved"] = group(dropout=0.3)
    dropped["fashion_mnist", "improved"] = group("fashion_mnist", widths=(8, 8, 8, 8))
    with pytest.raises(LabError, match="Improved CNN has other layers on Fashion"):
        report.layers(dropped, "improved")


def test_the_table_of_baselines_says_how_they_are_trained():
    for name, (_, changes, falls) in baselines.BASELINES.items():
        said = report.BASELINE_RECIPES[name]
        assert said["batch size"] == str(baselines.BATCH)
        assert (said["augmentation"] == "none") == (changes is None)
        rates = baselines.FALLS if falls else baselines.FALLS[-1:]
        numbers = re.findall(r"\d[\d.e-]*", said["learning rate"])
        assert {rate for _, rate in rates} <= set(map(float, numbers))
    named = {*baselines.BASELINES, baselines.PEER}
    assert report.BASELINE_RECIPES.keys() == named


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


@pytest.mark.parametrize(
    "command, said",
    [
        (r"\result{no.such}", "Unknown result 'no.such'"),
        (r"\labfigure{no_such}", "File `no_such' not found"),
        (r"\labtable{no_such}", "Unknown figure or table 'no_such'"),
    ],
)
def test_what_does_not_exist_stops_the_build(tmp_path, command, said):
    if not report.has_latex():
        pytest.skip("LaTeX is not installed")
    (tmp_path / "wrong.tex").write_text(
        "\\documentclass{article}\n"
        + (ROOT / "report" / "macros.tex").read_text()
        + f"\\begin{{document}}{command}\\end{{document}}\n"
    )
    with pytest.raises(LabError, match=said):
        report.latex(tmp_path / "wrong.tex", tmp_path / "wrong.pdf", tmp_path / "work")
    assert not (tmp_path / "wrong.pdf").exists()


def test_runs_of_another_environment_have_a_row_of_their_own():
    def run(name, device):
        facts = dict.fromkeys(("python", "keras", "backend", "backend_version"), "1")
        facts |= {"device": device, "threads": 2, "precision": "float32"}
        return SimpleNamespace(name=name, record={"environment": facts})

    same = [run(f"a/dense/main/seed-{i}", "one") for i in range(3)]
    assert [row["Runs"] for row in report.environment_rows(same)] == ["all"]
    other = [run(f"a/improved/main/seed-{i}", "card") for i in range(2)]
    rows = report.environment_rows([*other, *same])
    assert [row["Runs"] for row in rows] == ["a/improved", "all others"]
    assert [row["Device, CPU threads"] for row in rows] == ["card, 2", "one, 2"]


def test_a_report_before_the_notebooks_have_run_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    for command in ("last", "quick"):
        with pytest.raises(LabError, match="build/.*: run the notebooks first"):
            report.main([command])
    assert not [*tmp_path.iterdir()]


def test_the_written_report_is_built_whatever_the_notebooks_ran_on_last(
    tmp_path, monkeypatch, capsys
):
    trace = tmp_path / "build" / "trace" / "full" / "05_analysis.json"
    trace.parent.mkdir(parents=True)
    built = []
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "build", lambda *words: built.append(words))
    without = "build/without-fer2013"
    for output in (without, "."):
        trace.write_text(json.dumps({"output": output}))
        report.main(["full"])
        report.main(["last"])
    assert built == [
        ("full", tmp_path),
        ("full", tmp_path / without),
        ("full", tmp_path),
        ("full", tmp_path),
    ]
    trace.write_text(json.dumps({"output": without}))
    report.main(["readme"])
    assert "are left as they are" in capsys.readouterr().out


def test_a_refit_has_a_column_once_all_its_seeds_are_finished(tmp_path):
    shutil.copytree(RUNS / "fer2013" / "improved" / "main", tmp_path / "main")
    seeds, _ = headline(tmp_path / "main")
    assert "Refit" not in report.result_table([seeds])
    shutil.copytree(tmp_path / "main", tmp_path / "refit")
    table = report.result_table([report.runs_in(RUNS)["cifar10", "dense"], seeds])
    assert list(table["Refit"]) == ["", table["Views"][1]]
    for record in (tmp_path / "refit").glob("*/run.json"):
        mutate.record(recipe__learning_rate=0.5)(record)
    assert "Refit" not in report.result_table([seeds])  # of another recipe
    shutil.rmtree(tmp_path / "refit")
    shutil.copytree(tmp_path / "main", tmp_path / "refit")
    shutil.rmtree(tmp_path / "refit" / "seed-2")
    assert "Refit" not in report.result_table([seeds])


def test_the_table_of_baselines_ends_with_our_network_before_and_after():
    found = json.loads((ROOT / "data" / "baselines.json").read_text())
    ours = report.runs_in(RUNS)["cifar10", "improved"]
    earlier, _ = headline(RUNS / "cifar10" / "improved" / "earlier")
    rows = report.baseline_rows(found, earlier, ours)[-2:]
    for row, seeds in zip(rows, (earlier, ours)):
        images = seeds[0].record["epochs_run"] * 45_000
        once = seeds[0].record["pflop"] * 1e15 / (3 * images) / 1e6
        assert row["MFLOP"] == f"{once:.0f}"
    assert report.defaults("improved")["skip"] == "no"
    both = report.baseline_rows(found, ours, ours)
    names = [*found["networks"], "Improved CNN, earlier", "Improved CNN"]
    assert [row["Network"] for row in both] == names
    assert report.baseline_rows(found, Seeds(), ours) == [*both[:-2], both[-1]]


def test_the_readme_says_of_a_graphics_card_what_the_runs_say(monkeypatch):
    text = (ROOT / "README.md").read_text()
    shared = "GPU: the graphics card also did other trainings at the same time. "
    groups = report.runs_in(RUNS)

    def said(card, alone=False):
        kept = {
            key: Seeds(
                replace(run, record=run.record | {"shared_machine": not alone})
                for run in runs
            )
            for key, runs in groups.items()
            if ("GPU" in report.minutes(runs)) <= card
        }
        monkeypatch.setattr(report, "runs_in", lambda folder: kept)
        return report.readme(text)

    both = said(True)
    assert shared + "While the processor trained Dense (" in both
    assert "To train the first seed of each network not marked GPU takes" in both
    alone = said(True, alone=True)
    assert (
        shared not in alone
        and "To train the first seed of each network not marked GPU" in alone
    )
    without = said(False)
    assert (
        shared not in without and "To train the first seed of each network" in without
    )


@pytest.mark.parametrize("chosen, more", [("", []), ("french", ["LANGUAGE=french"])])
def test_latex_is_installed_where_the_user_is_root(monkeypatch, chosen, more):
    there, ran = iter([False, True]), []
    monkeypatch.setattr(report, "has_latex", lambda: next(there))
    monkeypatch.setattr(report.os, "geteuid", lambda: 0)
    monkeypatch.setattr(report.shutil, "which", lambda name: name)
    monkeypatch.setattr(report.language, "chosen", lambda: chosen)
    monkeypatch.setattr(report.subprocess, "run", lambda words, **_: ran.append(words))
    report.need_latex()
    assert ran == [["make", "install-tex", *more, "--no-print-directory"]]


def test_a_damaged_file_of_numbers_is_one_sentence(tmp_path):
    (tmp_path / "02_dense_baseline.json").write_text("<<<<<<< HEAD")
    with pytest.raises(LabError, match="02_dense_baseline.json cannot be read"):
        report.notebooks_of(tmp_path)
