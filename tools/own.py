"""The report on a data set of one's own: three parts, with places for its authors."""

import csv
from pathlib import Path

import mistune
import numpy as np

from apps import datasheet
from lab.datasets import KNOWN
from lab.metrics import largest_confusions
from lab.plumbing import language
from lab.plumbing.files import relative, text_of, write
from lab.plumbing.language import translated
from lab.plumbing.names import MODEL_TITLES
from tex import escape

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "report" / "own"  # what the authors write, a folder for each data set
OPEN = r"\openplace{"
# The parts in their order: title, the notebooks whose figures and tables stand in it,
# and what the authors are asked.
PARTS = {
    "data": (
        "Part I: the data",
        ("01",),
        "Say what the figures show, and which pictures will be hard, and why.",
    ),
    "solution": (
        "Part II: the solution",
        ("02", "03", "04"),
        "Say why you chose these networks and hyper-parameters, from the simplest to"
        " the most elaborate, and what each step changed.",
    ),
    "analysis": (
        "Part III: the analysis",
        ("05",),
        "Say what the errors have in common, which errors come from the data and which"
        " from the network, and what you would do next.",
    ),
    "conclusion": (
        "Conclusion",
        (),
        "Say what you found, how sure you are, and what remains open.",
    ),
}


def name_of(books):
    """Return the name of the own data set on which all notebooks ran, or None.

    books: {stem: content} of what the notebooks wrote.
    """
    names = {name for content in books.values() for name in content["datasets"]}
    return names.pop() if len(names) == 1 and not names & {*KNOWN} else None


def body(name, books, groups, figures):
    """Return the LaTeX of the report on the data set `name`. The files for the authors'
    words are made where they are missing, and never changed.

    books: {stem: content} of what the notebooks wrote; groups: {(dataset, model):
    Seeds}; figures: the folder with the confusion matrices.
    """
    lines = []
    for part, (title, numbers, question) in PARTS.items():
        words = WORDS / name / f"{part}.tex"
        if not words.exists():
            write(
                words,
                "% Your own words, in place of the next line; make check counts what is"
                f" open.\n{OPEN}{translated(question)}}}\n",
            )
        lines.append(rf"\section{{{translated(title)}}}")
        sheet = ROOT / "data" / f"{name}.md"
        if part == "data" and sheet.exists() and datasheet.is_datasheet(text_of(sheet)):
            lines.append(latex(text_of(sheet)))
            lines += learning_curve(name, figures)
        if part == "solution":
            lines += solution(name, groups)
        if part == "analysis":
            lines += analysis(name, groups, figures)
        lines.append(rf"\input{{own/{part}}}")
        mine = {stem: book for stem, book in books.items() if stem[:2] in numbers}
        for content in mine.values():
            lines += [rf"\labtable{{{table}}}" for table in content["tables"]]
            lines += [rf"\labfigure{{{figure}}}" for figure in content["figures"]]
        lines.append(r"\clearpage" if mine else "")
    return "\n".join(lines) + "\n"


def learning_curve(name, figures):
    """Return the figure of `make collect`'s learning curve, copied to `figures`, where
    it was drawn.
    """
    path = datasheet.drawing(name)
    if not path.exists():
        return []
    write(figures / path.name, path.read_bytes())
    caption = (
        "Learning curve: a small network on shares of the training pictures, the fitted"
        r" power law, and twice the pictures with the 95\,\% interval of one training."
    )
    return [
        rf"\begin{{figure}}[htbp]\centering\includegraphics{{{path.name}}}"
        rf"\caption{{{translated(caption)}}}\end{{figure}}"
    ]


def words(name):
    """Return {file name: text} of what the authors wrote."""
    return {path.name: text_of(path) for path in (WORDS / name).glob("*.tex")}


def solution(name, groups):
    """Return sentences on the networks that were trained, their numbers from the
    runs.
    """
    sentence = translated(
        r"the network has {parameters} parameters and is right on {accuracy} of the"
        r" test images (95\,\% interval {low} to {high})."
    )
    keys = {"parameters": "parameters", "accuracy": "test.accuracy"}
    keys |= {end: f"test.accuracy_{end}" for end in ("low", "high")}
    lines = []
    for model, title in MODEL_TITLES.items():
        if (name, model) in groups:
            values = {
                word: rf"\result{{{name}.{model}.{key}}}" for word, key in keys.items()
            }
            said = sentence.format(**values)
            mark = translated(": ")
            lines.append(rf"\textbf{{{translated(title)}}}{mark}{said}" + "\n")
    return lines


def analysis(name, groups, figures):
    """Return sentences on what the best network on the test images confuses."""
    seeds_of = {
        model: seeds for (dataset, model), seeds in groups.items() if dataset == name
    }
    best = max(seeds_of, key=lambda model: seeds_of[model].mean(), default=None)
    path = next(iter(sorted(figures.glob(f"*_confusion_{name}_{best}.csv"))), None)
    if path is None:
        return []
    with path.open(newline="") as file:
        (_, *classes), *rows = csv.reader(file)
    matrix = np.array([[int(cell) for cell in row[1:]] for row in rows])
    language.names.update(classes)
    classes = [escape(translated(label)) for label in classes]
    errors = largest_confusions(matrix, classes)
    highest = translated(
        "{network} has the highest accuracy on the test images. It is wrong on {errors}"
        " of {images}."
    )
    wrong, images = matrix.sum() - matrix.trace(), matrix.sum()
    sentences = [
        highest.format(
            network=translated(MODEL_TITLES[best]),
            errors=rf"\num{{{wrong}}}",
            images=rf"\num{{{images}}}",
        )
    ]
    if errors:
        taken = translated("{true} taken for {answer}")
        listed = translated("; ").join(
            rf"{taken.format(true=true, answer=said)} (\num{{{count}}})"
            for true, said, count in errors
        )
        worst = int(np.argmin(np.diag(matrix) / np.maximum(1, matrix.sum(axis=1))))
        right, images = matrix[worst, worst], matrix[worst].sum()
        frequent = translated("Its most frequent errors are: {errors}.")
        lowest = translated(
            "The class with the lowest recall is {name}: found are {right} of {images}"
            " images."
        )
        sentences += [
            frequent.format(errors=listed),
            lowest.format(
                name=classes[worst],
                right=rf"\num{{{right}}}",
                images=rf"\num{{{images}}}",
            ),
        ]
    return [" ".join(sentences) + "\n"]


class Latex(mistune.BaseRenderer):
    """Turns a datasheet's Markdown into LaTeX; what is not text is left out."""

    NAME = "latex"

    def render_token(self, token, state):
        """Return a token as LaTeX."""
        inside = (
            "".join(self.render_token(child, state) for child in token["children"])
            if "children" in token
            else escape(token.get("raw", ""))
        )
        kind, depth = token["type"], token.get("attrs", {}).get("level", 0)
        if kind == "heading":
            return "" if depth == 1 else f"\\subsection{{{inside}}}\n"
        if kind == "paragraph":
            start, mark = inside[: len(MARK)], len(MARK)
            opened = f"{OPEN}{inside[mark:].strip()}}}" if start == MARK else inside
            return f"{opened}\n\n"
        if kind == "table_cell":
            return f"{inside} & "
        if kind in ("table_head", "table_row"):
            end = "\\midrule\n" if kind == "table_head" else ""
            return f"{inside.removesuffix(' & ')} \\\\\n{end}"
        if kind == "table":
            kinds = "l" + "r" * (len(token["children"][0]["children"]) - 1)
            return (
                f"\\begin{{center}}\\begin{{tabular}}{{{kinds}}}\\toprule\n"
                f"{inside}\\bottomrule\\end{{tabular}}\\end{{center}}\n\n"
            )
        forms = {
            "strong": "\\textbf{%s}",
            "emphasis": "\\emph{%s}",
            "codespan": "\\texttt{%s}",
            "list": "\\begin{itemize}\\setlength{\\itemsep}{0pt}\n%s\\end{itemize}\n\n",
            "list_item": "\\item %s\n",
            "block_html": "",
            "inline_html": "",
            "softbreak": " ",
            "linebreak": " ",
        }
        form = forms.get(kind, "%s")
        return form % inside if "%s" in form else form


MARK = r"\textbf{" + datasheet.OPEN.strip("*") + "}"


def latex(text):
    """Return a datasheet, Markdown, as LaTeX."""
    return mistune.create_markdown(renderer=Latex(), plugins=["table"])(text)


def datasheets():
    """Return the paths of the datasheets that `make collect` wrote."""
    pages = sorted((ROOT / "data").glob("*.md"))
    return [path for path in pages if datasheet.is_datasheet(text_of(path))]


def open_places():
    """Return {page: how many places wait for the authors} of all own data sets."""
    pages = {path: datasheet.open_places(text_of(path)) for path in datasheets()}
    pages |= {path: text_of(path).count(OPEN) for path in sorted(WORDS.glob("*/*.tex"))}
    return {relative(path): count for path, count in pages.items() if count}
