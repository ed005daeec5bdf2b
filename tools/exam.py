"""A paper to practise on: questions of the five notebooks, drawn at random."""

import interrupt  # noqa: F401

import argparse
import random
import re
import sys
from pathlib import Path

import notebooks
from lab.plumbing.files import LabError, relative, write

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = 10
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<script>MathJax = {{tex: {{inlineMath: [["$", "$"]]}}}};</script>
<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>
<style>
body {{ max-width: 42rem; margin: 2rem auto; font: 1rem/1.5 serif; }}
pre {{ background: #f4f4f4; padding: 0.6rem; overflow: auto; }}
td, th {{ padding: 0.2rem 0.6rem; }}
h2 {{ break-before: page; }}
</style></head>
<body>
{body}
</body>
</html>
"""


def section(book, name):
    """Return {number: text} of the numbered paragraphs of a section of a notebook,
    "Questions" or "Answers".
    """
    text = "\n\n".join(
        cell.source
        if cell.cell_type == "markdown"
        else f"```python\n{cell.source}\n```"
        for cell in book.cells
    )
    match = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    parts = re.split(r"^\*\*(\d+)\.\*\*", match[1] if match else "", flags=re.M)
    return {int(n): text.strip() for n, text in zip(parts[1::2], parts[2::2])}


def questions():
    """Return [(notebook's title, number, question, answer)] of all notebooks.

    Raises LabError where a question has no answer, or an answer no question.
    """
    every = []
    for path in notebooks.paths():
        book = notebooks.read(path)
        asked, answered = section(book, "Questions"), section(book, "Answers")
        if wrong := asked.keys() ^ answered.keys():
            raise LabError(
                f"{relative(path)}: question or answer {min(wrong)} stands alone:"
                " give both the same number."
            )
        title = notebooks.title(path, book)
        every += [(title, n, asked[n], answered[n]) for n in asked]
    return every


def paper(seed):
    """Return a random paper as Markdown: the questions, then their answers on a page of
    their own.
    """
    every = questions()
    if len(every) < QUESTIONS:
        raise LabError(f"A paper needs {QUESTIONS} questions; there are {len(every)}.")
    drawn = sorted(random.Random(seed).sample(range(len(every)), QUESTIONS))
    lines = [f"# Practice paper {seed}", "Answers follow on a page of their own."]
    for i, place in enumerate(drawn, 1):
        title, _, question, _ = every[place]
        lines.append(f"**{i}.** *({title})* {question}")
    lines.append("## Answers")
    for i, place in enumerate(drawn, 1):
        title, number, _, answer = every[place]
        lines.append(f"**{i}.** *({title}, question {number})* {answer}")
    return "\n\n".join(lines) + "\n"


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    text = "the number of the paper; the same number gives the same paper"
    made.add_argument("--seed", type=int, help=text)
    return made


def main(arguments):
    """Do what the command line asks for."""
    from nbconvert.filters import markdown2html

    given = parser().parse_args(arguments)
    seed = random.randrange(10_000) if given.seed is None else given.seed
    body = markdown2html(paper(seed))
    body = re.sub(r'<a class="anchor-link".*?</a>', "", body)
    path = ROOT / "build" / f"exam-{seed}.html"
    write(path, PAGE.format(title=f"Practice paper {seed}", body=body))
    print(f"{relative(path)}: {QUESTIONS} questions; print it, or open it.")


if __name__ == "__main__":
    notebooks.guarded(main, sys.argv[1:])
