"""Say where the hand-in answers each demand of an assignment, and what is missing.

The demands stand in a file that its author edits: docs/hand-in.md explains it.
"""

import interrupt  # noqa: F401

import argparse
import os
import re
import sys
from collections import namedtuple
from glob import glob
from pathlib import Path

import check
import notebooks
import report
from lab.plumbing import language
from lab.plumbing.files import LabError, relative, text_of
from lab.plumbing.language import english

ROOT = Path(__file__).resolve().parents[1]
RUBRICS = ROOT / "report" / "rubrics"
KINDS = ("part", "heading", "text", "code", "output", "figure", "table")
SHOWN = 3  # places of one answer
FLOAT = re.compile(
    r"\\lab(figure|table)(?:\[[^]]*\])?\{(\w+)\}"
    r"|\\labpair(?:\[[^]]*\])?\{[^}]*\}\{(\w+)\}\{(\w+)\}"
    r"|\\caption\{(.*?)\}\s*\\label\{(fig|tab):([\w:.-]+)\}",
    flags=re.S,
)
# What a hand-in holds: its kind and words, its section, and its page or cell.
Place = namedtuple("Place", "kind words section number")


# --- what a hand-in holds


def in_notebook(book):
    """Return the Places of a notebook in order; cells are counted from 1."""
    places, section, before, number = [], "", "", 0

    def add(kind, words):
        places.append(Place(kind, words, section, number))

    for cell in book.cells:
        number += 1
        if cell.cell_type == "code":
            add("code", cell.source)
            for output in cell.outputs:
                data = output.get("data", {})
                if "image/png" in data:
                    image = output.metadata.get("image/png", {})
                    add("figure", english(image.get("alt", "")))
                elif "text/html" in data:
                    add("table", f"{before}\n{data.get('text/plain', '')}")
                else:
                    add("output", output.get("text") or data.get("text/plain", ""))
            continue
        for part in cell.source.split("\n\n"):
            if part.startswith("#"):
                section = part.splitlines()[0].lstrip("# ")
                add("part" if part.startswith("## ") else "heading", section)
            elif part.startswith("|"):
                add("table", f"{before}\n{part}")
            else:
                add("text", part)
            before = part
    return places


def in_report(path):
    """Return the Places of a report in LaTeX in order, with their pages in its last
    build, "?" where it was not built here.
    """
    folder, base = path.parent, path.parents[1]
    built = ROOT / "build" / "latex" / base.name / f"{path.stem}.aux"
    built = built.read_text(errors="replace") if built.exists() else ""
    pages = dict(re.findall(r"\\newlabel\{(\w+:[^}]+)\}\{\{[^}]*\}\{(\d+)\}", built))
    line = (
        r"\\contentsline \{\w*section\}\{(?:\\numberline \{[^}]*\})?(.*)\}\{(\d+)\}\{"
    )
    pages |= dict(re.findall(line, built))
    told = (folder / "generated" / "captions.tex").read_text()
    told = re.sub(r"\\([%&#_$])", r"\1", told)
    captions = dict(re.findall(r"\\defcaption\{(\w+)\}\{[^}]*\}\{(.*)\}", told))
    places, section, page = [], "first page", "1"
    text = re.sub(r"(?<!\\)%.*", "", text_of(path))
    while parts := re.search(
        r"\\input\{((?!generated/(?!contents)|macros)[\w/]+)\}", text
    ):
        source = re.sub(r"(?<!\\)%.*", "", text_of(folder / f"{parts[1]}.tex"))
        text = text[: parts.start()] + f"\n\n{source}\n\n" + text[parts.end() :]
    for paragraph in re.split(r"\n\s*\n|(?<=\})\n(?=\\sub)", text):
        title = r"\\((?:sub)*)section\*?\{(.*?)\}(?:\\label\{[^}]*\})?$"
        if heading := re.search(title, paragraph, flags=re.M):
            section, page = heading[2], pages.get(heading[2], "?")
            kind = "heading" if heading[1] else "part"
            places.append(Place(kind, section, section, page))
        for command, name, *pair, caption, label, other in FLOAT.findall(paragraph):
            for key in filter(None, (name, *pair, other)):
                kind = "table" if {command, label} & {"table", "tab"} else "figure"
                words = f"{key}: {caption or english(captions.get(key, ''))}"
                number = pages.get(f"{kind[:3]}:{key}", "?")
                places.append(Place(kind, words, section, number))
        places.append(Place("text", FLOAT.sub("", paragraph), section, page))
    return places


# --- what is asked


def patterns(value):
    """Return a pattern, or a list of them, as a list."""
    return [value] if isinstance(value, str) else value


def demands(path):
    """Return a rubric: its title, its hand_in and its list `item`.

    Raises LabError where the file is none.
    """
    known = {*KINDS, "asks", "pages", "cells"}
    try:
        rubric = notebooks.tomllib.loads(path.read_text())
        rubric["title"], Path(rubric["hand_in"])
        for item in rubric["item"]:
            item["asks"]
            if wrong := item.keys() - known:
                raise ValueError(f"it has {', '.join(sorted(wrong))}")
            if item.keys() == {"asks"}:
                raise ValueError(f"{item['asks']!r} says nothing that shows its answer")
            for kind in item.keys() & set(KINDS):
                if not list(map(re.compile, patterns(item[kind]))):
                    raise ValueError(f"{kind} of {item['asks']!r} is empty")
            low, high = item.get("pages", (1, 1))
            sum((low, high, item.get("cells", 1)))
            if "pages" in item and "part" not in item:
                raise ValueError(f"{item['asks']!r} counts the pages of no part")
    except FileNotFoundError:
        names = ", ".join(path.stem for path in sorted(RUBRICS.glob("*.toml")))
        raise LabError(
            f"There is no rubric {relative(path)}: choose among {names}, or give the"
            " path of a file."
        ) from None
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise LabError(
            f"{relative(path)} cannot be read as a rubric ({error}): docs/hand-in.md"
            " explains one."
        ) from None
    return rubric


def answer(item, places):
    """Return (where, fault) of a demand: the Places that answer it, and what is missing
    or not as it is asked; None where nothing is.
    """
    where, fault = [], None
    for kind in KINDS:
        for pattern in patterns(item.get(kind, [])):
            asked = re.compile(pattern, flags=re.I | re.M)
            matches = [p for p in places if p.kind == kind and asked.search(p.words)]
            where += matches
            fault = fault or (None if matches else f"no {kind} has {pattern!r}")
    if "cells" in item and not isinstance(places[0].number, int):
        fault = "it is no notebook, so it has no cells"
    elif "cells" in item and (cells := max(p.number for p in places)) > item["cells"]:
        fault = f"it has {cells} cells"
    if "pages" in item and isinstance(places[0].number, int):
        fault = "it is a notebook, so it has no pages"
    elif "pages" in item and where and where[0].kind == "part":
        parts = [p for p in places if p.kind == "part"]
        after = parts[parts.index(where[0]) + 1 :]
        low, high = item["pages"]
        last = max([int(p.number) for p in places if p.number != "?"], default=0)
        start, end = where[0].number, after[0].number if after else last + 1
        length = None if "?" in (start, end) else int(end) - int(start)
        if length is None:
            fault = fault or "its pages are not known: run make report"
        elif length + 1 < low or length > high:  # the last page may be shared
            fault = f"it has about {length} pages, of {low} to {high}"
    return where, fault


def hand_in(pattern):
    """Return (path, Places) of the hand-in, the newest file that a pattern names.

    Raises LabError where there is none, or where it is out of date.
    """
    paths = [ROOT / path for path in glob(pattern, root_dir=ROOT)]
    if not paths:
        raise LabError(f"The hand-in {pattern} is not here: docs/hand-in.md says how.")
    path = max(paths, key=lambda path: path.stat().st_mtime)
    if path.suffix == ".tex":
        report.take_language(report.notebooks_of(path.parent / "generated"))
        if path == ROOT / "report" / "report.tex":
            for _, fault in check.check_report():
                raise LabError(f"{fault} first.")
        return path, in_report(path)
    book = notebooks.read(path)
    told = book.metadata.get("lab", {})
    if not told:
        raise LabError(
            f"{relative(path)} has no stamp: name the notebook on one data set, or"
            " report/report.tex, as hand_in. The five notebooks in one have no stamp."
        )
    os.environ["LAB_LANGUAGE"] = told.get("language", language.ENGLISH)
    quick = ROOT / "build" / "quick" / "runs"
    digits = all(name.startswith("digits/") for name in told["runs"])
    runs = quick if digits else ROOT / "data" / "runs"
    for fault in notebooks.stale(path, runs):
        raise LabError(f"{fault}: run make submission again.")
    return path, in_notebook(book)


def lines(rubric, places):
    """Return a line for each demand, and how many are not met."""
    unit, said, missing = "cell" if isinstance(places[0].number, int) else "page", [], 0
    for item in rubric["item"]:
        where, fault = answer(item, places)
        where = sorted(where, key=places.index)
        shown = list(dict.fromkeys(f"{unit} {p.number}, {p.section}" for p in where))
        more = [f"and {len(shown) - SHOWN} more"] * (len(shown) > SHOWN)
        text = "; ".join([*shown[:SHOWN], *more]) or "as asked"
        said.append(f"{item['asks']}\n    {f'MISSING: {fault}' if fault else text}")
        missing += bool(fault)
    return said, missing


def main(arguments):
    """Do what the command line asks for; the status is 1 where a demand is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "rubric",
        metavar="RUBRIC",
        help="a name in report/rubrics, or the path of a file",
    )
    name = parser.parse_args(arguments).rubric
    path = Path(name) if name.endswith(".toml") else RUBRICS / f"{name}.toml"
    rubric = demands(path)
    file, places = hand_in(rubric["hand_in"])
    said, missing = lines(rubric, places)
    print(f"{rubric['title']}, in {relative(file)}:", *said, sep="\n")
    met = f"{len(said) - missing} of {len(said)} demands are met."
    print(met if missing else f"All {len(said)} demands are met.")
    sys.exit(bool(missing))


if __name__ == "__main__":
    notebooks.guarded(main, sys.argv[1:])
