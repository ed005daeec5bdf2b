"""The report on a data set of one's own: parts, facts and open places."""

from itertools import islice
from types import SimpleNamespace

import pytest

import check
import notebooks
import own
from apps import datasheet
from lab import LabError

PAGE = f"""# Datasheet: birds

## Composition

<!-- Composition:start -->
- Collected: 10 pictures of 100 % cats & dogs_1.

| class | train | test |
|---|---|---|
| cat {{x}} | 1 | 2 |
<!-- Composition:end -->

{datasheet.OPEN} What do the *pictures* show?

Our own words, in `a_b`.

{datasheet.OPEN} And what not?
"""
BOOKS = {
    stem: {
        "datasets": ["birds"],
        "tables": {f"{stem[:2]}_scores": ""},
        "figures": {f"{stem[:2]}_curves": ""},
    }
    for stem in ("01_a", "02_b", "04_c", "05_d")
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "ROOT", tmp_path)
    monkeypatch.setattr(own, "WORDS", tmp_path / "report" / "own")
    monkeypatch.setattr(own, "relative", lambda path: str(path.relative_to(tmp_path)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "birds.md").write_text(PAGE)
    (tmp_path / "data" / "README.md").write_text("# Data")
    return tmp_path


def test_a_datasheet_becomes_latex_with_its_places_marked():
    text = own.latex(PAGE)
    assert r"\subsection{Composition}" in text
    assert r"\item Collected: 10 pictures of 100 \% cats \& dogs\_1." in text
    assert r"\begin{tabular}{lrr}\toprule" in text and r"cat \{x\} & 1 & 2 \\" in text
    assert r"\openplace{What do the \emph{pictures} show?}" in text
    assert (
        r"Our own words, in \texttt{a\_b}." in text and "Composition:start" not in text
    )
    assert text.count(own.OPEN) == datasheet.open_places(PAGE) == 2


def test_the_report_has_three_parts_in_their_order(house):
    (house / "03_confusion_birds_two_conv.csv").write_text(
        "true\\predicted,a_1,b\na_1,8,2\nb,5,5\n"
    )
    groups = {
        ("birds", "dense"): SimpleNamespace(mean=lambda: 0.5),
        ("birds", "two_conv"): SimpleNamespace(mean=lambda: 0.65),
    }
    text = own.body("birds", BOOKS, groups, house)
    expected = [
        r"\section{Part I: the data}",
        r"\openplace{What do",
        r"\input{own/data}",
        r"\labfigure{01_curves}",
        r"\section{Part II: the solution}",
        r"\result{birds.two_conv.test.accuracy}",
        r"\labtable{02_scores}",
        r"\labtable{04_scores}",
        r"\section{Part III: the analysis}",
        r"Two convolutions has the highest accuracy",
        r"b taken for a\_1 (\num{5})",
        r"lowest recall is b: found are \num{5} of \num{10}",
        r"\labtable{05_scores}",
        r"\section{Conclusion}",
    ]
    places = [text.index(one) for one in expected]
    assert places == sorted(places)


def test_what_the_authors_wrote_stays_and_what_is_open_is_counted(house):
    own.body("birds", BOOKS, {}, house)
    assert own.datasheets() == [house / "data" / "birds.md"]
    words = house / "report" / "own" / "birds" / "solution.tex"
    assert own.open_places() == {
        "data/birds.md": 2,
        **{f"report/own/birds/{part}.tex": 1 for part in sorted(own.PARTS)},
    }
    words.write_text("We began with a dense network.")
    own.body("birds", BOOKS, {}, house)
    assert own.words("birds")["solution.tex"] == "We began with a dense network."
    assert "report/own/birds/solution.tex" not in own.open_places()
    said = [*islice(check.reminders(), 4)]
    assert "data/birds.md: 2 places still open" in said
    assert "report/own/birds/data.tex: 1 place still open" in said
    words.write_bytes("Käfer".encode("latin-1"))
    with pytest.raises(LabError, match="solution.tex is not UTF-8: save it as UTF-8"):
        own.open_places()


def test_a_known_data_set_has_no_such_report():
    assert own.name_of(BOOKS) == "birds"
    both = BOOKS | {"05_d": {"datasets": ["birds", "digits"]}}
    assert own.name_of(both) is None
    assert own.name_of({"01_a": {"datasets": ["digits"]}}) is None


def test_a_folder_is_the_one_that_its_name_means_here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "data").mkdir()  # the repository has one of this name, too
    monkeypatch.chdir(tmp_path / "here")
    seen = notebooks.seen_from_kernel("../data")
    assert (notebooks.FOLDER / seen).resolve() == tmp_path / "data"
    for name in ("cifar10", "no-such-folder/"):
        assert notebooks.seen_from_kernel(name) == name
    with pytest.raises(LabError, match="Say which pictures: make photos FOLDER="):
        notebooks.seen_from_kernel("")
