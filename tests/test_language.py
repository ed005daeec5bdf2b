"""Figures, tables, captions and numbers in another language."""

import ast
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

import notebooks
import report
from conftest import ROOT, tool
from lab import figures, lesson
from lab.datasets import KNOWN
from lab.drawing import output
from lab.drawing.output import latex_table
from lab.methods import audit
from lab.models import build_two_conv
from lab.plumbing import language
from lab.plumbing.files import LabError
from lab.plumbing.language import translated
from lab.plumbing.names import MODEL_TITLES

GENERATED = ROOT / "report" / "generated"
BOOKS = report.notebooks_of(GENERATED)
CATALOGUES = sorted(path.stem for path in language.FOLDER.glob("*.po"))


@pytest.fixture(autouse=True)
def english(monkeypatch):
    """Each test begins in English, and no name of another test is known."""
    monkeypatch.setenv("LAB_LANGUAGE", "")
    monkeypatch.setattr(language, "names", set())
    monkeypatch.setattr(language, "untranslated", set())


@pytest.fixture
def french(monkeypatch):
    monkeypatch.setenv("LAB_LANGUAGE", "french")


@pytest.fixture
def started(monkeypatch, digits, tmp_path):
    """A Lesson on the digits that writes into a folder of its own."""
    for module in (lesson, output):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return lesson.Lesson("02_dense_baseline", "full", [digits], [0], False)


def cells(path):
    """Return the texts of a table in LaTeX."""
    lines = [
        line[:-2] for line in path.read_text().splitlines() if line.endswith(r"\\")
    ]
    found = {cell for line in lines for cell in re.split(r"(?<!\\)&", line)}
    found = {re.sub(r"\\multicolumn\{\d\}\{l\}\{(.*)\}", r"\1", cell) for cell in found}
    found = {re.sub(r"\\textbf\{(.*)\}", r"\1", cell) for cell in found}
    return {re.sub(r"\\([&%_#])", r"\1", cell.strip()) for cell in found}


def drawn_words():
    """Return the plain texts that the modules of lab.drawing write into figures."""
    written = "xlabel ylabel title label label_text".split()
    calls = {"set_" + name for name in written} | {"supxlabel", "supylabel"}
    found = set()
    for path in (ROOT / "notebooks" / "lab" / "drawing").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                values = [word.value for word in node.keywords if word.arg == "label"]
                if getattr(node.func, "attr", "") in calls:
                    values += node.args[:1]
                found |= {v.value for v in values if isinstance(v, ast.Constant)}
    return {text for text in found if isinstance(text, str)}


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_text_of_the_results_has_a_translation(name, monkeypatch):
    if any("language" in content for content in BOOKS.values()):
        pytest.skip("the results are in another language")
    monkeypatch.setenv("LAB_LANGUAGE", name)
    for run in report.runs_in(ROOT / "data" / "runs").values():
        report.environment_rows(run)  # devices keep their names
    texts = {title for dataset in KNOWN.values() for title in dataset.classes}
    texts |= {dataset.title for dataset in KNOWN.values()} | {*MODEL_TITLES.values()}
    texts |= {*audit.FER_PLUS} | drawn_words()
    assert len(drawn_words()) > 30
    for content in BOOKS.values():
        texts |= {*content["figures"].values(), *content["tables"].values()}
        texts |= set().union(
            *(cells(GENERATED / f"{t}.tex") for t in content["tables"])
        )
    derived = "results recipes layers layers_improved environment baselines"
    for table in [*derived.split(), "baseline_recipes"]:
        texts |= cells(GENERATED / f"{table}.tex")
    texts = {text for text in texts if "…" not in text}
    assert len(texts) > 1000
    for text in texts:
        translated(text)
    assert not language.untranslated
    kinds = ("figures", "tables")
    captions = [
        text
        for book in BOOKS.values()
        for kind in kinds
        for text in book[kind].values()
    ]
    for other in map(translated, captions):  # and back: a rubric asks in English
        assert language.english(other) != other
        assert translated(language.english(other)) == other


@pytest.mark.parametrize(
    "text, due",
    [
        ("89.1 ± 0.1", "89,1 ± 0,1"),
        ("1,158,562", "1\u202f158\u202f562"),
        ("4,246.5", "4\u202f246,5"),
        ("+1.8 to +3.0", "+1,8 à +3,0"),
        ("92.4 (90.6 to 93.9)", "92,4 (90,6 à 93,9)"),
        ("1e-05", "1e-05"),
        ("3.12.3", "3.12.3"),
        ("cannot tell, < 0.8", "non concluant, < 0,8"),
        ("cat\n→ dog\n98%", "chat\n→ chien\n98%"),
        ("Fashion-MNIST: Ankle boot", "Fashion-MNIST\xa0: Bottine"),
        ("dropout 0.6", "dropout 0,6"),
        ("units: 10, use bias: no", "unités\xa0: 10, biais\xa0: non"),
        ("Conv2D", "Conv2D"),
        (
            "Dense on CIFAR-10: counts of test images. Grey: right answers.",
            "Dense sur CIFAR-10\xa0: nombres d'images de test. Gris\xa0: bonnes"
            " réponses.",
        ),
    ],
)
def test_words_and_numbers_in_french(french, text, due):
    assert translated(text) == due and not language.untranslated


def test_in_english_nothing_changes(monkeypatch, started):
    frame = pd.DataFrame({"accuracy": ["1,234.5 to 2.0"], "Bag": [0.5]})
    for name in ("", "english"):
        monkeypatch.setenv("LAB_LANGUAGE", name)
        assert translated("no such text, 0.5") == "no such text, 0.5"
        assert r"1,234.5 to 2.0 & 0.500 \\" in latex_table(frame)
    started.finish()
    path = started.output / "report" / "generated" / "02_dense_baseline.json"
    assert not {"language", "untranslated"} & json.loads(path.read_text()).keys()
    assert report.preamble() == ""


def test_a_notebook_writes_its_figures_tables_and_captions_in_french(
    french, started, digits
):
    classes = KNOWN["cifar10"].classes
    title = "Dense on CIFAR-10"
    figure = figures.confusion(np.eye(10, dtype=int), classes, title)
    caption = figures.confusion_caption(np.eye(10, dtype=int), classes, title)
    started.save_figure(figure, "confusion", caption)
    figure.canvas.draw()
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"Dense sur CIFAR-10", "classe prédite", "grenouille", "0,8"} <= texts
    network = figures.diagram(build_two_conv((28, 28, 1), 10))
    started.save_figure(network, "diagram", "The recipe of both networks.")
    texts = {text.get_text() for text in network.findobj(Text)}
    assert {"Deux convolutions\xa0: 824\u202f842 paramètres", "bloc 2"} <= texts
    table = pd.DataFrame({"accuracy": ["89.1 ± 0.1"]}, index=["One convolution"])
    started.save_table(table, "scores", "Results on the test images, in %.")
    started.finish()
    folder = started.output / "report" / "generated"
    text = (folder / "02_scores.tex").read_text()
    assert r"{lr}" in text and r"Une convolution & 89,1 ± 0,1 \\" in text
    written = json.loads((folder / "02_dense_baseline.json").read_text())
    assert written["language"] == "french" and written["untranslated"] == []
    assert written["figures"]["02_diagram"] == "La recette des deux réseaux."
    assert written["tables"]["02_scores"].startswith("Résultats sur les images de test")


def test_a_picture_has_a_translated_title_that_fits(french, started, digits):
    image = digits.images[0]
    figure = figures.labelled([(image, "T-shirt/top\n→ Ankle boot")])
    started.save_figure(figure, "examples", "The recipe of both networks.")
    title = figure.axes[0].get_title()
    assert title == "T-shirt/haut\n→ Bottine"
    figure = figures.labelled([(image, "→ Trouser, Trouser, Dress")])
    started.save_figure(figure, "longer", "The recipe of both networks.")
    title = figure.axes[0].get_title()
    assert title.startswith("→ Pantalon, ") and title.endswith("…")


def test_names_of_a_reader_stay_as_they_are_and_are_not_listed(french, digits):
    own = lesson.replace(digits, title="My birds", classes=("blue tit", "jay, 1.5"))
    lesson.Lesson("02_dense_baseline", "full", [own], [0], False)
    for name in own.classes:
        assert translated(name) == name
    said = translated("Dense on My birds: counts of test images.")
    assert said == "Dense sur My birds\xa0: nombres d'images de test."
    assert not language.untranslated


def test_a_text_without_a_translation_stays_english_and_is_listed(
    french, capsys, tmp_path
):
    assert translated("Accuracy on turned images.") == "Accuracy on turned images."
    content = {"untranslated": ["turned to the left\n(pixels)"]}
    (tmp_path / "03_two_conv_cnn.json").write_text(json.dumps(content))
    report.tell_untranslated(tmp_path)
    assert capsys.readouterr().out == (
        "2 texts have no translation in report/languages/french.po: Accuracy on turned"
        " images.; turned to the left\\n(pixels)\n"
    )


@pytest.mark.parametrize(
    "main, arguments", [(notebooks.main, ["run", "quick"]), (report.main, ["quick"])]
)
def test_an_unknown_language_is_one_sentence(monkeypatch, main, arguments):
    monkeypatch.setenv("LAB_LANGUAGE", "klingon")
    with pytest.raises(LabError) as caught:
        main(arguments)
    assert str(caught.value) == (
        "There is no language 'klingon': set LANGUAGE (or LAB_LANGUAGE) to 'english' or"
        " 'french'."
    )


@pytest.mark.parametrize(
    "text, said",
    [
        ('msgid "map {n}"\nmsgstr "carte {m}"', "'map {n}' needs the same"),
        ('msgid "map"\nmsgstr carte', "line 2: needs a msgid"),
        ('msgid "map"\nmsgstr "la "carte""', "line 2: a quotation mark"),
        ('"map"', "line 1: needs a msgid"),
        ('msgstr "carte"', "line 1: needs a msgid"),
    ],
)
def test_a_faulty_catalogue_is_one_sentence(monkeypatch, tmp_path, text, said):
    (tmp_path / "faulty.po").write_text(text)
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setenv("LAB_LANGUAGE", "faulty")
    with pytest.raises(LabError, match=re.escape(said)):
        translated("map")


def test_a_copy_with_empty_translations_stays_english(monkeypatch, tmp_path):
    (tmp_path / "other.po").write_text('msgid "map"\nmsgstr ""\n\nmsgid "x"\n')
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setenv("LAB_LANGUAGE", "other")
    assert translated("map 0.5") == "map 0.5" and translated("0.5") == "0.5"
    assert language.untranslated == {"map 0.5"}


@pytest.fixture
def in_french(tmp_path):
    """What notebooks in French leave: a folder of generated files."""
    for stem, content in BOOKS.items():
        text = json.dumps(content | {"language": "french"})
        (tmp_path / f"{stem}.json").write_text(text)
    return tmp_path


def test_the_report_has_the_language_of_the_notebooks(in_french):
    files = report.generated(in_french, ROOT / "data" / "runs")
    assert files["numbers.tex"].startswith("\\usepackage[french]{babel}\n\\sisetup{")
    assert r"\renewcommand{\wordto}{à}" in files["numbers.tex"]
    assert "Une convolution" in files["results.tex"]
    assert re.search(r"\d,\d ± \d,\d", files["results.tex"])
    assert not re.search(r"\d\.\d", files["results.tex"])
    assert "\ncifar10/dense/main/seed-0," in files["runs.csv"]  # for programs
    source = "\\section*{\\translated{The size of an image is its\nheight}}"
    assert (
        report.in_language(source) == r"\section*{The size of an image is its height}"
    )
    source = r"\section*{\translated{Results}}"
    assert report.in_language(source) == r"\section*{Résultats}"


def test_notebooks_in_several_languages_are_one_sentence(in_french):
    (in_french / "05_analysis.json").write_text(json.dumps(BOOKS["05_analysis"]))
    with pytest.raises(LabError, match=r"several languages \(english, french\)"):
        report.generated(in_french, ROOT / "data" / "runs")


def test_a_report_in_another_language_than_the_notebooks_is_one_sentence(monkeypatch):
    written = next(iter(BOOKS.values())).get("language", "english")
    other = "french" if written == "english" else "english"
    before = {path: path.stat().st_mtime_ns for path in GENERATED.iterdir()}
    monkeypatch.setenv("LAB_LANGUAGE", other)
    with pytest.raises(LabError) as caught:
        report.build("full", ROOT)
    assert str(caught.value) == (
        f"The figures and tables are in {written}: run the notebooks with"
        f" LANGUAGE={other}, too, such as make reproduce LANGUAGE={other}."
    )
    assert before == {path: path.stat().st_mtime_ns for path in GENERATED.iterdir()}


def test_a_desktops_variable_language_changes_nothing():
    rule = "show:\n\t@echo [$$LAB_LANGUAGE] $(TEX)"

    def said(*arguments, **environment):
        return subprocess.run(
            ["make", "--no-print-directory", f"--eval={rule}", "show", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | environment,
        ).stdout

    plain = said()
    assert plain == said(LANGUAGE="fr:en") == said(LANGUAGE="french")
    assert said("LANGUAGE=english") == plain.replace("[]", "[english]")
    french = plain.replace("[]", "[french]").strip() + " texlive-lang-french\n"
    assert french == said("LANGUAGE=french")


@pytest.mark.long
def test_all_of_quick_is_in_french(quick, tmp_path):
    folder = shutil.copytree(quick, tmp_path / "french")
    done = tool(folder, "notebooks.py", "run", "quick", LAB_LANGUAGE="french")
    assert done.returncode == 0 and "up to date" not in done.stdout, done.stderr
    done = tool(folder, "report.py", "quick")
    assert "no translation" not in done.stdout, done.stdout
    built = folder / "build" / "quick" / "report"
    assert r"\section*{Carnet 02" in (built / "generated" / "contents.tex").read_text()
    assert r"\title{Du dense" in (built / "short.tex").read_text()
