"""Write the hand-in, build/submission/, and the web pages, public/."""

import interrupt  # noqa: F401

import argparse
import re
import sys
import zipfile
from pathlib import Path

import nbformat

import check
import handin
import notebooks
import report
from lab.plumbing.files import LabError, relative, write, writing

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK_LINK = re.compile(r"\[([^\]]*)\]\([^)]*notebooks/\w+\.ipynb\)")
HAND_BACK = "HAND_BACK_GPU"
REPORT = "report/report.pdf"
STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
body { font: 1rem/1.5 sans-serif; }
table { border-collapse: collapse; font-size: 0.9rem; }
td, th { padding: 0.2rem 0.6rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; }
.anchor-link { display: none; }
code { background: #f4f4f4; }
pre { background: #f4f4f4; padding: 0.6rem; overflow: auto; }
"""


# --- one notebook


def merged(books):
    """Return one notebook that holds `books`, {path: notebook}, in order, with one
    Setup and one Parameters cell.

    A parameter whose value is not the same in all of them gets one name a part, such as
    SEEDS_02.
    """
    values = {}  # {parameter: {number of the part: value}}
    for path, book in books.items():
        cell = notebooks.parameters_cell(path, book)
        for name, value in notebooks.assigned(cell.source).items():
            values.setdefault(name, {})[path.name[:2]] = value
    varying = {name for name, parts in values.items() if len(set(parts.values())) > 1}
    lines = [
        line
        for name, parts in values.items()
        for line in (
            [f"{name}_{number} = {value}" for number, value in parts.items()]
            if name in varying
            else [f"{name} = {next(iter(parts.values()))}"]
        )
    ]
    explained = dict.fromkeys(  # each sentence once
        sentence
        for book in books.values()
        for cell in book.cells
        if cell.source.startswith("## Parameters\n")
        for sentence in re.split(r"(?<=\.) ", cell.source.split("\n\n", 1)[1])
    )
    about = notebooks.project()
    first = next(iter(books.values()))
    cells = [
        nbformat.v4.new_markdown_cell(
            f"# {about['title']}\n\n{about['author']}, {about['course']}\n\nThe five"
            f" notebooks of [the repository]({about['repository']}) in one: each is a"
            " part, and has its number. Run it from top to bottom.\n\n## Setup\n\nIn"
            " Colab the next cell fetches the repository; elsewhere it only checks"
            " that the helper package `lab` is there."
        ),
        *notebooks.tagged(first, "setup"),
        nbformat.v4.new_markdown_cell(
            "## Parameters\n\n"
            + " ".join(explained)
            + " What ends in a number is of that part alone."
        ),
        nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]}),
    ]
    for path, book in books.items():
        cells += part(path.name[:2], book, varying, last=path == list(books)[-1])
    metadata = {key: value for key, value in first.metadata.items() if key != "lab"}
    return nbformat.v4.new_notebook(cells=handin.numbered(cells), metadata=metadata)


def part(number, book, varying, last):
    """Yield the cells of a notebook as a part of the merged one: without Setup,
    Parameters and links to its neighbours.
    """
    for position, cell in enumerate(book.cells):
        tags = cell.metadata.get("tags", [])
        if {"setup", "parameters"} & set(tags) or cell.source.startswith(
            ("## Setup", "## Parameters")
        ):
            continue
        if position == 0:
            cell.source = notebooks.LINKS.sub("", cell.source)
        if cell.cell_type == "markdown":
            cell.source = NOTEBOOK_LINK.sub(r"\1", cell.source)
        else:
            cell.source = re.sub(
                r"\blesson\.finish\(\w*\)",
                f"lesson.finish({HAND_BACK})" if last else "lesson.finish()",
                cell.source,
            )
            for name in varying:
                cell.source = re.sub(rf"\b{name}\b", f"{name}_{number}", cell.source)
        yield cell


# --- the report as an archive


def report_files():
    """Return {name in the archive: path} of all that the report is built from."""
    folder, sources = ROOT / "report", report.sources()
    macros = folder / "macros.tex"  # whose comments name no figure
    text = "".join(path.read_text() for path in sources if path != macros)
    shown = re.findall(r"\\labfigure(?:\[[^]]*\])?\{(\w+)\}", text)
    for pair in re.findall(r"\\labpair(?:\[[^]]*\])?\{[^}]*\}\{(\w+)\}\{(\w+)\}", text):
        shown += pair
    figures = [ROOT / "figures" / f"{name}.pdf" for name in sorted(set(shown))]
    figures += [ROOT / "docs" / name for name in re.findall(r"\{(\w+\.jpg)\}", text)]
    return {str(path.relative_to(folder)): path for path in sources} | {
        f"figures/{path.name}": path for path in figures
    }


def archive(target, files):
    """Write a zip archive of {name: path}; the same files give the same archive."""
    with (
        writing(target) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name, path in files.items():
            packed.writestr(
                zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)),
                path.read_bytes(),
                zipfile.ZIP_DEFLATED,
            )


def submission(name):
    """Write what is handed in: one notebook on the data set `name`, or all five in one
    and the report where it is empty. Raises LabError where a notebook's outputs are out
    of date, or its author has no name.
    """
    folder = ROOT / "build" / "submission"
    if name:
        written = handin.build(name, folder)
    else:
        for path in notebooks.paths():
            for fault in notebooks.stale(path, ROOT / "data" / "runs"):
                raise LabError(f"{fault}: run make reproduce first.")
        handin.complete()
        for _, fault in check.check_report():
            raise LabError(f"{fault} first.")
        repository = notebooks.project()["repository"].rsplit("/", 1)[-1]
        books = {path: notebooks.read(path) for path in notebooks.paths()}
        written = [folder / f"{repository}.ipynb", folder / "report.zip"]
        notebooks.save(written[0], merged(books))
        archive(written[1], report_files())
        write(folder / "report.pdf", (ROOT / REPORT).read_bytes())
        written.append(folder / "report.pdf")
    for path in map(Path, written):
        print(f"{relative(path)}: {path.stat().st_size / 1e6:.1f} MB")


# --- pages


def index(text):
    """Return README.md's text as a web page whose links lead to what lies beside it, or
    into the repository.
    """
    from nbconvert.filters import markdown2html

    files = notebooks.project()["files"]

    def mend(match):
        target = match[2]
        if target.endswith(".ipynb"):
            target = Path(target).stem + ".html"
        elif re.match(r"https?:|#", target):
            pass
        elif match[1] == "src" or target == REPORT:
            target = Path(target).name
        else:
            target = f"{files}/{target}"
        return f'{match[1]}="{target}"'

    body = re.sub(r'\b(href|src)="([^"]*)"', mend, markdown2html(text))
    title = re.search(r"^# (.*)$", text, flags=re.M)[1]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><meta'
        ' name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def pages():
    """Write the folder public/ that GitLab Pages publishes."""
    folder = ROOT / "public"
    for path in notebooks.paths():
        notebooks.to_html(path, folder)
    text = (ROOT / "README.md").read_text()
    write(folder / "index.html", index(text))
    for path in (REPORT, *re.findall(r"!\[[^]]*\]\((?!https?:)([^)]*)\)", text)):
        write(folder / Path(path).name, (ROOT / path).read_bytes())
    print(
        f"{len(list(folder.iterdir()))} files in {relative(folder)}; open"
        f" {relative(folder / 'index.html')}"
    )


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = (
        "build/submission/: one notebook that holds all five, and an archive of the"
        " report for Overleaf; or one notebook on one data set"
    )
    command = commands.add_parser("submission", help=text, description=f"Write {text}.")
    command.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a data set, or a folder of photos; without it all are in the notebook",
    )
    text = (
        "public/: the notebooks as web pages, the report, and README.md as the page"
        " that leads there"
    )
    commands.add_parser("pages", help=text, description=f"Write {text}.")
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if given.command == "submission":
        submission(given.name)
    else:
        pages()


if __name__ == "__main__":
    notebooks.guarded(main, sys.argv[1:])
