"""What a notebook writes: figures, tables and numbers, each with its caption."""

import csv
import io
import json
import re
import textwrap
from functools import partial
from numbers import Integral
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.text import Text

from ..plumbing import language
from ..plumbing.files import ROOT, LabError, relative, sha256, write
from ..plumbing.language import translated
from ..plumbing.names import MODEL_TITLES
from ..plumbing.numbers import FORMS, Number
from .base import DRAWN, fitted, png, show

# An unchanged figure is an unchanged file.
PLAIN_PDF = {"CreationDate": None, "Creator": None, "Producer": None}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a formula begins with
ALIKE = 0.1  # of white: a difference of two pixels that nobody sees
ROWS = 45  # of a table on a page of the report
NUMBER = r"[-+]?[\d.,]+( %)?"
NUMBERS = rf"{NUMBER}( ± {NUMBER}| to {NUMBER}| \({NUMBER} to {NUMBER}\))?"
WIDE = 36  # letters in a cell of a table; above, its column is a paragraph


class Output:
    """The files of one notebook below the folder `top`; `finish` lists them all. What
    people read in them is in the language of `plumbing.language`.

    datasets: those whose names need no translation; runs: {name: digest} of the runs
    that were read.
    """

    def __init__(self, notebook, top, datasets=()):
        self.notebook, self.output = notebook, top
        language.names.update(MODEL_TITLES.values())
        for dataset in datasets:
            language.names.update([dataset.title, *dataset.classes])
        self.numbers, self.captions, self.tables = {}, {}, {}
        self.files, self.runs = [], {}

    @property
    def number(self):
        """The notebook's number, "01" to "05", which begins the names of its files."""
        return self.notebook[:2]

    def save_numbers(self, prefix, values, form):
        """Keep {name: number}, which the report prints with \\result{prefix.name}.

        form: a name in `numbers.FORMS`, the unit and the rounding of these numbers.
        Raises LabError for another.
        """
        if form not in FORMS:
            raise LabError(
                f"There is no form {form!r}: take one of {', '.join(FORMS)}."
            )
        for name, value in values.items():
            key = f"{prefix}.{name.replace(' ', '_')}"
            self.numbers[key] = Number(round(float(value), 9), form)

    def save_figure(self, figure, name, caption):
        """Write figures/NN_name.pdf and .png, show the figure and its caption, and keep
        the caption for the report.
        """
        stem = self.output / "figures" / f"{self.number}_{name}"
        caption = translated(caption)
        translate(figure)
        files = stem.with_suffix(".pdf"), stem.with_suffix(".png")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="pdf", metadata=PLAIN_PDF)
        image = png(figure)  # always second: drawing again moves the axes a little
        if all(map(Path.exists, files)) and alike(files[1].read_bytes(), image):
            image = files[1].read_bytes()
        else:
            write(files[0], drawn.getvalue())
            write(files[1], image)
        self.files += files
        self.captions[stem.name] = caption
        show(figure, caption, image)
        print(textwrap.fill(f"Figure: {caption}", 88))

    def save_table(self, frame, name, caption):
        """Write a DataFrame as a LaTeX table, keep its caption, and return it to be
        shown.
        """
        if frame.empty:
            return frame
        path = self.output / "report" / "generated" / f"{self.number}_{name}.tex"
        write(
            path, latex_table(frame.rename_axis(frame.index.name or "").reset_index())
        )
        self.files.append(path)
        self.tables[path.stem] = translated(caption)
        return frame

    def save_matrix(self, matrix, classes, name):
        """Write a confusion matrix of integers as figures/NN_name.csv."""
        path = self.output / "figures" / f"{self.number}_{name}.csv"
        write(path, confusion_csv(matrix, classes))
        self.files.append(path)

    def finish(self, datasets, profile):
        """Write the notebook's numbers and captions, and print the list of all files.

        datasets: those that it used. Of FER2013 the positions of the pictures that were
            drawn are listed: few may be, because nobody asked these people.
        """
        path = self.output / "report" / "generated" / f"{self.notebook}.json"
        numbers = dict(sorted(self.numbers.items()))
        content = {
            "datasets": [dataset.name for dataset in datasets],
            "faces": [place for dataset in datasets for place in faces(dataset)],
            "numbers": {key: number.value for key, number in numbers.items()},
            "forms": {key: number.form for key, number in numbers.items()},
            "figures": self.captions,
            "tables": self.tables,
        }
        if language.chosen():
            content["language"] = language.chosen()
            content["untranslated"] = sorted(language.untranslated)
        write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        self.files.append(path)
        trace = {
            "output": relative(self.output),
            "runs": self.runs,
            "files": {relative(file): sha256(file) for file in self.files},
        }
        path = ROOT / "build" / "trace" / profile / f"{self.notebook}.json"
        write(path, json.dumps(trace, indent=1))
        for file in self.files:
            print(relative(file))


def alike(image, other):
    """Return whether two PNG pictures look the same: processors of different kinds
    compute different last bits.
    """
    try:
        pixels, other_pixels = (plt.imread(io.BytesIO(data)) for data in (image, other))
    except (OSError, SyntaxError):  # the stored one is damaged
        return False
    return (
        pixels.shape == other_pixels.shape
        and float(abs(pixels - other_pixels).max()) < ALIKE
    )


def translate(figure):
    """Put the texts and the numbers of a figure into the chosen language."""
    if not language.chosen():
        return
    for text in figure.findobj(Text):
        whole = text.get_label()
        text.set_text(
            fitted(text.axes, translated(whole))
            if whole
            else translated(text.get_text())
        )
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    for formatter in {axis.get_major_formatter() for axis in axes}:
        formatter.format_ticks = partial(_ticks, formatter.format_ticks)


def _ticks(labels, values):
    return [translated(str(label)) for label in labels(values)]


def shown(text):
    """Return a cell's text as LaTeX can set it: long words are cut."""
    cut = re.sub(rf"\S{{{WIDE + 1},}}", lambda word: word[0][: WIDE - 1] + "…", text)
    return in_fonts(cut)


def in_fonts(text):
    """Return text in which letters that LaTeX's fonts lack are numbers of Unicode."""
    return "".join(
        letter
        if ord(letter) < 0x180 or letter in "–—‘’“”…×±−≤≥→\u202f"
        else f"U+{ord(letter):X} "
        for letter in text
    )


def faces(dataset):
    """Return the positions of the images of FER2013 that were drawn; of equal images
    the first.
    """
    if dataset.name != "fer2013" or not dataset.available:
        return []
    places = {}
    for place, image in enumerate(dataset.images):
        places.setdefault(sha256(image), place)
    return sorted(places[digest] for digest in DRAWN & set(places))


def latex_table(cells):
    """Return a DataFrame, without its index, as LaTeX in the style of booktabs: its
    first `ROWS` rows, and words that fit a column, in the chosen language.
    """
    more, cells = len(cells) - ROWS, cells[:ROWS]
    english = cells.map(_text)
    if more > 0:
        last = [f"and {more} more rows", *[""] * (cells.shape[1] - 1)]
        english = pd.concat([english, pd.DataFrame([last], columns=cells.columns)])
    cells = english.map(lambda text: shown(translated(text)))
    numbers = english.map(lambda text: bool(re.fullmatch(NUMBERS, text)))
    signed = cells.map(lambda text: re.sub(r"(?<![\w.])-(?=\d)", "−", text))
    cells = cells.where(~numbers, signed)
    kinds = "".join(
        _kind(english.iloc[:, i].str, cells.iloc[:, i].str)
        for i in range(cells.shape[1])
    )
    cells = cells.rename(columns=lambda name: translated(str(name)))
    styler = cells.style.hide(axis="index").format(escape="latex")
    styler = styler.format_index(escape="latex", axis=1)
    return styler.to_latex(hrules=True, column_format=kinds, multicol_align="l")


def _text(value):
    if isinstance(value, Integral) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _kind(english, texts):
    """Return how LaTeX sets a column: numbers to the right, long texts in lines."""
    if english.fullmatch(rf"({NUMBER}(( ± | to ){NUMBER})?)?").all():
        return "r"
    long = texts.len().max() > WIDE
    return r">{\raggedright\arraybackslash}p{0.28\textwidth}" if long else "l"


def confusion_csv(matrix, classes):
    """Return a confusion matrix as text: a header, then a row a true class. A name that
    a spreadsheet would take for a formula begins with an apostrophe.
    """
    classes = [f"'{name}" if name[:1] in FORMULA else name for name in classes]
    text = io.StringIO()
    rows = [[name, *row] for name, row in zip(classes, matrix.tolist())]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["true\\predicted", *classes], *rows])
    return text.getvalue()
