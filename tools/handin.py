"""One notebook on one data set: the text of report/hand-in.md with those cells of the
five notebooks that it names, run once more on that set alone.
"""

import json
import os
import re
from ast import literal_eval
from itertools import count
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import check
import notebooks
from lab import DATA_SETS, datasets
from lab.plumbing.files import LabError, relative, text_of
from lab.plumbing.parameters import names

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT / "report" / "hand-in.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```(?:\n|\Z)", flags=re.M | re.S)
MARK = re.compile(r"^<!-- (?:only (.+)|all) -->\n", flags=re.M)
IF_SHOWN = " <!-- if shown -->"
# The Setup cell of a hand-in clones the repository everywhere, not only in Colab.
ANYWHERE = {
    'kaggle = "KAGGLE_KERNEL_RUN_TYPE" in os.environ\n': "",
    'if (kaggle or "google.colab" in sys.modules) and not Path("lab").is_dir():': (
        'if not Path("lab").is_dir() and not Path("notebooks/lab").is_dir():'
    ),
    'Path("/kaggle/working" if kaggle else "/content", "{name}")': (
        'Path("{name}").resolve()'
    ),
}


def complete():
    """Raise LabError where pyproject.toml does not say whose hand-in it is."""
    if missing := check.unfilled():
        raise LabError(
            f"The first page of the hand-in lacks {', '.join(missing)}: write"
            f" {'them' if len(missing) > 1 else 'it'} in pyproject.toml, then run make"
            " sync report."
        )


# --- from the text to cells


def chosen(text, name):
    """Return the text without what is only for other data sets than `name`; any set but
    the three counts as own.
    """
    kind = name if name in DATA_SETS else "own"
    first, *parts = MARK.split(text)
    for words in filter(None, parts[::2]):
        if wrong := {*words.split()} - {*DATA_SETS, "own"}:
            raise LabError(
                f"{relative(TEXT)}: only {words} has {min(wrong)!r}: write words among"
                f" {', '.join(DATA_SETS)} and own, with spaces between them."
            )
    pairs = zip(parts[::2], parts[1::2])
    return first + "".join(
        part for names, part in pairs if not names or kind in names.split()
    )


def named(line, books, what):
    """Return the number of a notebook and the words after it, which are `what`."""
    number, _, words = line.partition(" ")
    if number not in books or not words:
        raise LabError(
            f"{relative(TEXT)} has a block with {line!r}: write the number of a"
            f" notebook, such as 03, and {what}."
        )
    return number, words


def quoted(line, books):
    """Return the source of the code cell of a notebook that alone holds some words.

    line: the number of the notebook and the words.
    """
    number, words = named(line, books, "words of its cell")
    sources = [
        cell.source
        for cell in books[number].cells
        if cell.cell_type == "code" and words in cell.source
    ]
    if len(sources) != 1:
        raise LabError(
            f"{relative(TEXT)} names the cell of notebook {number} with {words!r}, but"
            f" {len(sources) or 'no'} cells have these words: write others."
        )
    return sources[0]


def table(line, books):
    """Return the table under a heading of a notebook, without what points to other
    notebooks.

    line: the number of the notebook and the heading.
    """
    number, heading = named(line, books, "the heading of its table")
    text = "\n\n".join(
        cell.source for cell in books[number].cells if cell.cell_type == "markdown"
    )
    below = re.split(rf"^## {re.escape(heading)}$", text, flags=re.M)[-1]
    section = re.split(r"^## ", below, flags=re.M)[0]
    rows = re.search(r"^\|.*\|$(?:\n\|.*\|$)+", section, flags=re.M)
    if below == text or not rows:
        raise LabError(f"{relative(TEXT)}: notebook {number} has no table {heading!r}.")
    rows = rows[0].splitlines()
    if rows[0].endswith("| where here |"):
        rows = [row.rsplit("|", 2)[0] + "|" for row in rows]
    return re.sub(r" \(notebooks? [^)]*\)", "", "\n".join(rows))


def setup():
    """Return the source of the Setup cell."""
    source, address = notebooks.SETUP, notebooks.project()["repository"]
    for old, new in ANYWHERE.items():
        source = source.replace(old, new)
    return source.format(address=address, name=address.rsplit("/", 1)[-1])


def parameters(name, books):
    """Return the source of the Parameters cell: that of notebook 03, on one data set or
    folder.
    """
    values = {
        "PROFILE": '"quick"' if name == "digits" else '"full"',
        "DATASETS": f"[{json.dumps(name, ensure_ascii=False)}]",
    }
    (cell,) = notebooks.tagged(books["03"], "parameters")
    given = notebooks.assigned(cell.source) | values
    return "\n".join(f"{key} = {value}" for key, value in given.items())


def code_cell(kind, code, name, books):
    """Return the cell of a fenced block of the text."""
    if kind in ("setup", "parameters"):
        source = setup() if kind == "setup" else parameters(name, books)
        return new_code_cell(source, metadata={"tags": [kind]})
    if kind == "cell":
        return new_code_cell(quoted(code.strip(), books))
    if kind != "python":
        raise LabError(
            f"{relative(TEXT)} has a block {kind!r}: write cell, table, python, setup"
            " or parameters, or begin it with three backticks alone."
        )
    return new_code_cell(code.strip())


def written(text, name, title, books):
    """Return the notebook that a text describes, not yet run.

    name, title: of the data set; name may be the path of a folder. books: {"01":
    notebook, ...}.
    """
    about, cells = notebooks.project() | {"dataset": title}, []
    first, *parts = FENCE.split(chosen(text, name))
    if not first.startswith("# ") or "\n\n## " not in first:
        raise LabError(
            f"{relative(TEXT)} needs a title and a section before its first block:"
            " write a line that begins with # and one that begins with ##."
        )
    for kind, code, prose in zip(
        ["", *parts[::3]], ["", *parts[1::3]], [first, *parts[2::3]]
    ):
        if kind == "table":
            prose = table(code.strip(), books) + "\n\n" + prose
        elif kind:
            cells.append(code_cell(kind, code, name, books))
        for word, value in about.items():
            prose = prose.replace(f"{{{word}}}", value)
        for part in re.split(r"^(?=##)", prose, flags=re.M):  # a section begins a cell
            cells += [new_markdown_cell(part.strip())] * bool(part.strip())
    return new_notebook(cells=cells)


# --- from what was run to what is handed in


def shows(cells):
    """Return whether cells show a figure or a table."""
    return any(
        {"image/png", "text/html"} & set(output.get("data", ()))
        for cell in cells
        for output in cell.get("outputs", ())
    )


def finished(cells):
    """Return the cells of an executed notebook with numbered headings, figures and
    tables and a list of contents; sections that have nothing to show are left out.
    """
    sections = []
    for cell in cells:
        if cell.source.startswith("#") and cell.cell_type == "markdown":
            sections.append([])
        sections[-1].append(cell)
    kept = []
    for cell in sum(
        (
            section
            for section in sections
            if IF_SHOWN not in section[0].source.splitlines()[0] or shows(section)
        ),
        [],
    ):
        if kept and cell.cell_type == kept[-1].cell_type == "markdown":
            kept[-1].source += "\n\n" + cell.source
        else:
            kept.append(cell)
    contents, numbers, tables, figures = [], [0, 0], 0, count(1)
    for cell in kept:
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = re.sub(
                    "^Figure: ",
                    lambda _: f"Figure {next(figures)}: ",
                    output.text,
                    flags=re.M,
                )
        if cell.cell_type == "code":
            continue
        lines = cell.source.replace(IF_SHOWN, "").split("\n")
        for i, line in enumerate(lines):
            if line.startswith("## "):
                numbers = [numbers[0] + 1, 0]
                lines[i] = f"## {numbers[0]}. {line[3:]}"
                contents.append(lines[i][3:])
            elif line.startswith("### "):
                numbers[1] += 1
                lines[i] = f"### {numbers[0]}.{numbers[1]} {line[4:]}"
                contents.append(f"    - {lines[i][4:]}")
            elif line.startswith("**Table.**"):
                tables += 1
                lines[i] = f"**Table {tables}.**{line.removeprefix('**Table.**')}"
        cell.source = "\n".join(lines)
    first, rest = kept[0].source.split("\n\n## ", 1)
    pages = [first, "## Contents\n\n" + "\n".join(contents), "## " + rest]
    kept[:1] = map(new_markdown_cell, pages)
    return numbered(kept)


def numbered(cells):
    """Return cells whose ids, and whose counts of execution, follow one another."""
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:03d}"
    for place, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        cell.execution_count = place
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = place
    return cells


def outdated(ran, runs):
    """Return why notebooks are of no use: they have not run, or ran on what has changed
    since; None where they are current.
    """
    if not ran:
        return "The notebooks have not run on this data"
    return next((fault for path in ran for fault in notebooks.stale(path, runs)), None)


def loaded(name, books):
    """Return a data set or folder with the classes and the size that notebook 03 names.

    Raises LabError where its images, or the trainings on them, are not here.
    """
    asked = notebooks.assigned(parameters(name, books))
    try:
        classes, size, grey = (
            literal_eval(asked[key]) for key in ("CLASSES", "IMAGE_SIZE", "GREY")
        )
    except (KeyError, ValueError):
        raise LabError(
            "Notebook 03 has no plain value of CLASSES, IMAGE_SIZE or GREY: write one"
            ' in its Parameters cell, such as CLASSES = ["cat", "dog"].'
        ) from None
    dataset = datasets.load(name, names(classes, None, "CLASSES"), size, grey)
    quick, known = name == "digits", name in DATA_SETS
    built = ROOT / "build" / ("quick" if quick else dataset.name[:100])
    runs = (built if quick else ROOT / "data") / "runs"
    ran = sorted((built / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    faults = [outdated(ran, runs)]
    remedy = "make quick" if quick else f'make photos FOLDER="{name}"'
    if known:
        faults.insert(0, outdated(notebooks.paths(), runs))
        remedy = f"make reproduce, or make photos FOLDER={name},"
    if all(faults):
        raise LabError(f"{faults[0]}: run {remedy} first.")
    if not dataset.available:
        raise LabError(f"{dataset.title} is not here, so its hand-in cannot be built.")
    return dataset


def build(name, folder):
    """Write the hand-in on a data set, or on a folder of photos, into a folder, as a
    notebook and as a page, and return their paths.

    Raises LabError where it would be nameless, or made of what is out of date.
    """
    complete()
    for fault in notebooks.out_of_sync():
        raise LabError(f"{fault}: run make sync reproduce first.")
    books = {path.name[:2]: notebooks.read(path) for path in notebooks.paths()}
    dataset = loaded(name, books)
    draft = ROOT / "build" / "hand_in.ipynb"
    book = written(text_of(TEXT), name, dataset.title, books)
    if not any("lesson.finish(" in cell.source for cell in book.cells):
        raise LabError(
            f"{relative(TEXT)} lacks its last block, lesson.finish(HAND_BACK_GPU): it"
            " writes what the hand-in was made of."
        )
    notebooks.save(draft, book)
    os.environ.pop("LAB_PROFILE", None)
    book, _ = notebooks.execute(draft, "quick" if name == "digits" else "full")
    book.cells, told = finished(book.cells), book.metadata["lab"]
    book.metadata["lab"] = notebooks.stamp(book, told["runs"], told["files"])
    repository = notebooks.project()["repository"].rsplit("/", 1)[-1]
    target = folder / f"{repository}-{dataset.name}.ipynb"
    notebooks.save(target, book)
    notebooks.to_html(target, folder)
    return [target, target.with_suffix(".html")]
