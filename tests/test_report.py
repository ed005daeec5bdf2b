import re

import pytest

import report
from conftest import ROOT
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
