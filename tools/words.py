"""What the sentences of the pages and notebooks say: numbers that look measured, and
comparisons.
"""

import re

import nbformat

from lab.plumbing.numbers import FORMS

MEASURED = re.compile(
    r"\d[\d.,]*\s?(?:%|percent\b|points\b|seconds\b|minutes?\b|hours?\b)"
)
FACTS = {  # numbers that no run gives, with their source
    "5 %": "the level of every test",
    "15 %": "the share of an own folder that is validation, and test: by definition",
    "65 %": "people on FER2013: Goodfellow et al., 2013, section 3",
    "70 %": "the example that explains calibration",
    "95 %": "the level of every interval",
    "1 minute": "notebook 04 with the stored runs on two cores, as make reproduce took",
    "3 minutes": "a seed on a T4, from its operations and the rate of the card",
    "4 points": "of a drawing in notebook 01",
}
APART = ("Questions", "Answers", "Sources", "Layer sheet")  # examples may have digits
COMPARING = re.compile(
    r"\b(?:more|less|fewer|most|least|better|best|worse|worst|than|only|never|always"
    r"|gains?|loses?|helps?|because|beats?|(?:high|low|larg|small|great|strong|weak|fast"
    r"|slow|long|short|hard|eas)i?e(?:r|st))\b",
    re.IGNORECASE,
)
UNIT = {"percent": " %", "points": " points", "minutes": " minutes"}


def in_words(number):
    """Return a Number as a sentence has it."""
    factor, form, _ = FORMS[number.form]
    return f"{number.value * factor:{form}}{UNIT.get(number.form, '')}"


def prose(path):
    """Return the sentences of a page, of a notebook or of a part of the report, without
    code, tables that are generated, and what need not follow from a run.
    """
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
        first, *parts = re.split(r"^(?=#+ )", text, flags=re.M)
        apart = re.compile(rf"#+ (?:{'|'.join(APART)})\n")
        text = first + "".join(part for part in parts if not apart.match(part))
        return re.sub(r"`[^`\n]*`", "", text)
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
    return re.sub(r"<!-- results:start.*?results:end -->", "", text, flags=re.S)


def typed(path, numbers):
    """Yield a sentence for each number of a page or notebook that looks measured and
    neither stands between <!-- key --> and <!-- -->, as `numbers` has it, nor in FACTS.

    numbers: {key: Number}.
    """
    text = prose(path)
    for key, given in re.findall(r"<!-- (\S+) -->([^<]*)<!-- -->", text):
        due = in_words(numbers[key]) if key in numbers else "no result"
        if given != due:
            yield f"{key} is {due}, not {given}"
    for number in MEASURED.findall(
        re.sub(r"<!-- \S+ -->[^<]*<!-- -->|\]\([^)]*\)", "", text)
    ):
        if number not in FACTS:
            yield (
                f"{number!r} is typed: put it between <!-- its key --> and <!-- -->, or"
                " among FACTS in tools/words.py"
            )


def claims(path):
    """Yield each sentence that compares, or gives a reason: whether it follows from
    what is shown, its author must judge.
    """
    text = prose(path)
    if path.suffix == ".tex":
        text = re.sub(r"(?<!\\)%.*", "", text)
    for part in re.split(r"\n\s*\n|^[#|].*$", text, flags=re.M):
        sentences = re.split(r"(?<=[.:?!])\s+(?=[A-Z*`\\])", " ".join(part.split()))
        yield from (sentence for sentence in sentences if COMPARING.search(sentence))
