"""Measure how much `make check` sees: damage a copy of the repository in every way that
somebody thought of, and print which changes it named.
"""

import interrupt  # noqa: F401

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lab.metrics import measure
from lab.plumbing import records
from lab.plumbing.files import sha256
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]


# --- a copy


def tracked(root=ROOT):
    """Return the files of a checkout that .gitignore lets pass, without asking git."""
    patterns = [".git", ".ruff_cache", *(root / ".gitignore").read_text().split()]
    patterns = [pattern.rstrip("/") for pattern in patterns]
    paths = []
    for folder, inner, files in os.walk(root):
        for names in (inner, files):
            names[:] = [
                name
                for name in names
                if not any(
                    fnmatch.fnmatch(text, pattern)
                    for pattern in patterns
                    for text in (
                        name,
                        (Path(folder) / name).relative_to(root).as_posix(),
                    )
                )
            ]
        paths += [Path(folder) / name for name in files]
    return sorted(paths)


def copied(to):
    """Copy the repository into the folder `to`, and return it."""
    for path in tracked():
        place = to / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    return to


def restored(copy, content):
    """Give a copy the files {path: bytes} again, and no others."""
    for path in sorted(copy.rglob("*"), reverse=True):
        if {"__pycache__", "build"} & {*path.relative_to(copy).parts}:
            continue
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in content:
            path.unlink()
    for path, text in content.items():
        if not path.exists() or path.read_bytes() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)


def check(copy):
    """Return the lines that `make check` prints in a copy, on both streams."""
    done = subprocess.run(
        [sys.executable, "tools/check.py"],
        cwd=copy,
        capture_output=True,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(copy / "notebooks"), str(copy)])},
    )
    return (done.stdout + done.stderr).splitlines()


# --- what is done to a file; each returns a function of a path


def digit(after=""):
    """Change the first digit that follows a text."""

    def change(path):
        text = path.read_text()
        i = text.index(after) + len(after)
        while not text[i].isdigit():
            i += 1
        path.write_text(text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :])

    return change


def word(old, new):
    """Replace a text once."""

    def change(path):
        text = path.read_text()
        assert old in text, f"{path}: no {old!r}"
        path.write_text(text.replace(old, new, 1))

    return change


def bit(path):
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path):
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def becomes(text):
    """Write a text in place of a file, or a new file."""

    def change(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def folder(path):
    """Make an empty folder."""
    path.mkdir(parents=True)


def like(other):
    """Make a file or a folder the copy of another one beside it."""

    def change(path):
        source = path.parent / other
        if source.is_dir():
            shutil.copytree(source, path, dirs_exist_ok=True)
        else:
            shutil.copy2(source, path)

    return change


def record(**fields):
    """Set fields of a run.json; a name a__b is field b in a. None deletes a field."""

    def change(path):
        content = json.loads(path.read_text())
        for name, value in fields.items():
            *outer, last = name.split("__")
            place = content
            for part in outer:
                place = place[part]
            if value is None:
                del place[last]
            else:
                place[last] = value(place[last]) if callable(value) else value
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    return change


def predictions(alter):
    """Alter the stored arrays of a run, and what its record says of them."""

    def change(path):
        with np.load(path) as stored:
            arrays = dict(stored)
        alter(arrays)
        np.savez_compressed(path, **arrays)
        record(
            predictions_sha256=sha256(path),
            metrics=records.all_metrics(arrays, measure),
        )(path.with_name("run.json"))

    return change


def turned(name):
    """Change one label, mark or answer in an array."""

    def alter(arrays):
        if arrays[name].dtype == bool:
            arrays[name][0] = ~arrays[name][0]
        else:
            arrays[name][0] = (arrays[name][0] + 1) % 7

    return alter


def of_another(name):
    """Take an array from the next seed."""

    def change(path):
        with np.load(path.parents[1] / "seed-1" / path.name) as other:
            array = other[name]
        predictions(lambda arrays: arrays.update({name: array}))(path)

    return change


# --- what is done to a notebook


def cells(kind, alter):
    """Alter the first code cell of a notebook that has an output of a kind: "text",
    "text/html", "image/png", or "output_type" for any.
    """

    def change(path):
        book = json.loads(path.read_text())
        for cell in book["cells"]:
            outputs = cell.get("outputs", [])
            if any(
                kind in output or kind in output.get("data", {}) for output in outputs
            ):
                alter(book, cell)
                break
        else:
            raise ValueError(f"{path} has no output with {kind}")
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n")

    return change


def first(kind, old, new):
    """Return a change of a cell's first output of a kind."""

    def alter(_, cell):
        for output in cell["outputs"]:
            place = output if kind in output else output.get("data", {})
            if kind in place:
                text = "".join(place[kind])
                assert old in text
                place[kind] = text.replace(old, new, 1)
                return

    return cells(kind, alter)


def silent(book, cell):
    """Take all outputs of a cell."""
    cell["outputs"] = []


def speechless(book, _):
    """Take all outputs of all cells."""
    for cell in book["cells"]:
        if "outputs" in cell:
            cell["outputs"], cell["execution_count"] = [], None


def swapped(book, cell):
    """Give a cell the outputs of the last one that has some, and back."""
    other = [other for other in book["cells"] if other.get("outputs")][-1]
    cell["outputs"], other["outputs"] = other["outputs"], cell["outputs"]


def doubled(book, cell):
    """Put a cell there once more."""
    book["cells"].insert(book["cells"].index(cell) + 1, cell)


def numbered(book, cell):
    """Say that a cell was run later."""
    cell["execution_count"] += 100


def alternative(book, cell):
    """Change the alternative text of a picture."""
    for output in cell["outputs"]:
        if "image/png" in output.get("data", {}):
            output["metadata"]["image/png"] = {"alt": "another text"}


def stamped(field, value):
    """Change a notebook's stamp."""

    def change(path):
        book = json.loads(path.read_text())
        book["metadata"]["lab"][field] = value
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n")

    return change


def older(path):
    """Put another PDF in place of the report, and its hash into the stamp."""
    content = path.read_bytes()
    place = content.index(b"/Sources (") + 10 if b"/Sources (" in content else 0
    path.write_bytes(content[:place] + b"0" * 64 + content[place + 64 :])
    stamp = path.parent / "generated" / "stamp.json"
    record(pdf=sha256(path))(stamp)


# --- the table: (path, what is done, change, a text that must be printed)


def of_notebooks(copy):
    """Yield what is done to each of the five notebooks."""
    cell = "is not as the run left it"
    for path in sorted((copy / "notebooks").glob("0*.ipynb")):
        for name, change, named in (
            ("a printed text", first("text", "a", "b"), cell),
            ("an HTML table", first("text/html", "</td>", "9</td>"), cell),
            ("the text of a table", first("text/plain", "e", "a"), cell),
            ("a picture", first("image/png", "A", "B"), cell),
            ("an alternative text", cells("image/png", alternative), cell),
            ("no picture", cells("image/png", silent), cell),
            ("no text", cells("text", silent), cell),
            ("another cell's output", cells("text", swapped), cell),
            ("a number of execution", cells("output_type", numbered), cell),
            ("no outputs at all", cells("output_type", speechless), cell),
            ("code", word(".start(", ".start( "), "a code cell has changed"),
            ("a cell twice", cells("output_type", doubled), "has other code cells"),
            ("a digit of Setup", word("--depth=1", "--depth=2"), "make sync writes"),
            ("another title", word("# 0", "# 1"), "make sync writes"),
            ("an old stamp", stamped("package", "0"), "lab has changed"),
            ("a stamp without outputs", stamped("outputs", []), "has other code cells"),
            ("no stamp", stamped("runs", 3), ""),
            ("half of it", cut, "cannot be read as a notebook"),
            ("no JSON", becomes("[]"), "cannot be read as a notebook"),
        ):
            yield path, name, change, named


def of_runs(copy):
    """Yield what is done to runs, each to another one."""
    top = copy / "data" / "runs"
    small = iter(sorted(top.glob("fashion_mnist/*/[!m]*/seed-*/run.json")))
    for name, change, named in (
        ("an accuracy", digit('"accuracy": 0.'), "accuracy is"),
        ("a metric more", record(metrics__validation__luck=1.0), "luck is"),
        ("a metric fewer", record(metrics__validation__macro_f1=None), "macro_f1 is"),
        ("a text as accuracy", record(metrics__validation__accuracy="good"), ""),
        ("the learning rate", record(recipe__learning_rate=0.5), "recipe is not"),
        ("an unknown setting", record(recipe__luck=7), "recipe is not"),
        ("parameters", record(parameters=lambda n: n + 1), "parameters is not"),
        ("PFLOP", record(pflop=lambda n: n * 2), "pflop is not"),
        ("the fingerprint", record(fingerprint="0" * 64), "has changed since"),
        ("the protocol", record(protocol=2), "protocol is not"),
        ("the epochs", record(epochs_run=lambda n: n + 1), "epochs"),
        ("the epoch kept", record(best_epoch=lambda n: n + 1), "is kept"),
        ("the seconds", record(seconds__train=1.0), "is another one than it read"),
        ("the seed", record(seed=17), "names another place"),
        ("the data set", record(dataset="cifar10"), "names another place"),
        ("the content", record(data_sha256="0"), "another content"),
        ("the split", record(split_sha256="0"), "another content or split"),
        ("weights named", record(weights_file_sha256="0"), "weights.npz is missing"),
        ("the date", record(finished_at="2020-01-01"), "is another one than it read"),
        ("the device", record(environment__device="T4"), "is another one than it read"),
        ("no recipe", record(recipe=None), "cannot be read"),
        ("no date", record(finished_at=None), "cannot be read"),
        ("half a record", cut, "is damaged"),
        ("an empty record", becomes("{}"), "is damaged"),
        ("a list", becomes("[]"), "is damaged"),
    ):
        path = next(small)
        yield path, f"run.json: {name}", change, named
    files = iter(sorted(top.glob("cifar10/*/[!m]*/seed-*/predictions.npz")))
    answers = "predictions.npz: validation_labels are not"
    for name, change, named in (
        ("a bit", bit, "is damaged"),
        ("half of it", cut, "is damaged"),
        ("missing", gone, "is damaged"),
        ("a label", predictions(turned("validation_labels")), answers),
        ("an answer", predictions(turned("validation_answer")), "it read"),
    ):
        path = next(files)
        yield path, f"predictions.npz: {name}", change, named
    for name, change, named in (
        ("a value", digit("\n2,"), "is another one than it read"),
        ("half of it", cut, "epochs"),
        ("missing", gone, "is damaged"),
        ("a text", becomes("no history"), ""),
    ):
        path = next(files).with_name("history.csv")
        yield path, f"history.csv: {name}", change, named
    for model, array, named in (
        ("dense", "test_labels", "test_labels are not"),
        ("one_conv", "test_leaked", "test_leaked are not"),
        ("two_conv", "validation_leaked", "validation_leaked are not"),
    ):
        path = top / "fer2013" / model / "main" / "seed-0" / "predictions.npz"
        yield path, f"{array}: a value", predictions(turned(array)), named
    for model, array in (
        ("dense", "test_probabilities"),
        ("two_conv", "validation_probabilities"),
    ):
        path = top / "cifar10" / model / "main" / "seed-0" / "predictions.npz"
        yield path, f"{array} of seed 1", of_another(array), f"{array} are those of"
    weights = sorted(top.glob("*/*/*/*/weights.npz"))
    for path, (name, change) in zip(weights, (("a bit", bit), ("missing", gone))):
        yield path, f"weights.npz: {name}", change, "weights.npz is missing or another"
    headline = top / "fashion_mnist" / "improved" / "main"
    yield headline / "seed-1", "another seed's folder", like("seed-0"), "another place"
    for path in (
        top / "fashion_mnist" / "dense" / "main" / "seed-0" / "notes.txt",
        top / "cifar10" / "dense" / "stray.npz",
        copy / "data" / "more.json",
        copy / "data" / "splits" / "more.npz",
    ):
        yield path, "a stray file", becomes("stray"), "is read by nothing"
    yield top / "cifar10" / "empty", "an empty folder", folder, "is read by nothing"
    yield top / "clothes", "a data set", like("fashion_mnist"), "names another place"
    path = headline.with_name("luck")
    yield path, "a variant", like("main"), "no job asks for it"
    for name in ("digits", "fashion_mnist", "cifar10", "fer2013"):
        path = copy / "data" / "splits" / f"{name}.npz"
        yield path, "a bit", bit, "is missing or altered"
        yield path, "missing", gone, "is missing or altered"


def of_figures(copy):
    """Yield what is done to figures, numbers and tables."""
    figures, generated = copy / "figures", copy / "report" / "generated"
    wrote = "is missing or differs from what it wrote"
    for path in (
        figures / "01_samples_cifar10.png",
        figures / "03_controlled.pdf",
        figures / "05_reliability.png",
        generated / "03_study.tex",
    ):
        yield path, "a bit", bit, wrote
        yield path, "missing", gone, wrote
    path = figures / "05_confusion_fer2013_improved.csv"
    yield path, "a count", digit("\n"), "is not the confusion matrix"
    yield path, "half of it", cut, "is not the confusion matrix"
    for name in ("06_more.png", "more.pdf", "05_confusion_luck_dense.csv"):
        yield figures / name, "a stray figure", becomes("x"), "written by no notebook"
    yield figures / "more", "an empty folder", folder, "written by no notebook"
    yield generated / "more.tex", "a stray table", becomes("x"), "written by no"
    yield generated / "06_more.json", "more numbers", becomes("{}"), "written by no"
    path = generated / "runs.csv"
    run = "fashion_mnist/improved/main/seed-0"
    yield path, "a digit", digit(f"\n{run},"), f"results give: {run}"
    for name in ("numbers", "captions", "results", "environment", "baselines"):
        path = generated / f"{name}.tex"
        after = "cifar10" if name in ("numbers", "captions") else "& "
        yield path, "a digit", digit(after), "is not what the results give"
    yield path, "missing", gone, "baselines.tex is missing"
    for path, (name, change, named) in zip(
        sorted(generated.glob("0*_*.json")),
        (
            ("a digit", digit('"numbers": {'), wrote),
            ("half of it", cut, "cannot be read"),
            ("no forms", record(forms=None), "cannot be read"),
            ("a caption", word("the", "thee"), wrote),
            ("missing", gone, wrote),
        ),
    ):
        yield path, name, change, named


def of_pages(copy):
    """Yield what is done to the report, to pages and to code."""
    report, data, lab = copy / "report", copy / "data", copy / "notebooks" / "lab"
    sources = "was built from other sources"
    for path in (
        report / "sections" / "2_solution.tex",
        report / "report.tex",
        report / "references.bib",
    ):
        yield path, "a word", word("the", "thee"), sources
    yield report / "report.pdf", "a bit", bit, "another file than the one"
    yield report / "report.pdf", "an older one", older, "that it was built from other"
    yield report / "report.pdf", "missing", gone, ""
    path = report / "generated" / "stamp.json"
    yield path, "half of it", cut, "report/report.pdf: cannot be read"
    yield path, "no hash", becomes("{}"), "report/report.pdf: cannot be read"
    for path in (copy / "README.md", data / "MODEL_CARD.md"):
        yield path, "a digit", digit("<!-- results:start -->"), "its table does not"
        yield path, "no marker", word("<!-- results:end -->", ""), "need the lines"
        yield path, "missing", gone, "cannot be read"
    path = data / "expected.json"
    yield path, "a digit", digit('"accuracies": ['), "does not hold the accuracies"
    path = data / "baselines.json"
    yield path, "an accuracy", digit('"test_accuracy": 0.'), "accuracy is"
    yield path, "half of it", cut, "data/baselines.json: cannot be read"
    path = data / "page.json"
    yield path, "a digit", digit('"opened": '), "page.opened is"
    yield path, "half of it", cut, "data/page.json: cannot be read"
    yield copy / "README.md", "a speed", digit("page.ready -->"), "page.ready is"
    yield (
        lab / "metrics.py",
        "a constant",
        word("clip(p, 1e-4", "clip(p, 1e-3"),
        "lab has changed",
    )
    yield lab / "taught.py", "a word", word("Return", "Give"), "make sync writes"
    yield lab / "models.py", "a number", word("0.9", "0.8"), "make sync writes"
    yield (
        copy / "pyproject.toml",
        "a title",
        word("dense to conv", "d to c"),
        "numbers.tex",
    )


ALONE = (  # what makes everything else unreadable has a check of its own
    ("notebooks/lab/models.py", "no Python", word("import", "imp ort"), "be imported"),
    ("notebooks/lab/runs.py", "a wrong name", word("@dataclass", "@datclass"), ""),
    ("tools/report.py", "no Python", word("import", "imp ort"), "be imported"),
    ("pyproject.toml", "no TOML", becomes("[project"), "pyproject.toml"),
    ("notebooks/04_improved_cnn.ipynb", "missing", gone, "04_improved_cnn"),
    ("data/runs", "missing", gone, "data/runs"),
    ("figures", "missing", gone, "figures"),
    ("report/generated", "missing", gone, "report/generated"),
)


def rounds(copy):
    """Return lists of mutations, each of which can be done in one copy, since none is
    named by what is printed of another one.
    """
    groups, taken = [], []
    for mutation in (
        *of_notebooks(copy),
        *of_runs(copy),
        *of_figures(copy),
        *of_pages(copy),
    ):
        tags = shared(mutation[0].relative_to(copy).as_posix())
        i = next((i for i, those in enumerate(taken) if not tags & those), len(taken))
        if i == len(taken):
            groups.append([])
            taken.append(set())
        groups[i].append(mutation)
        taken[i] |= tags
    return groups + [[(copy / path, *rest)] for path, *rest in ALONE]


def shared(where):
    """Return what a file shares with those that must not be changed at once."""
    tags = {where.removesuffix("/run.json")}
    if where.startswith("notebooks/lab") or where == "pyproject.toml":
        tags |= {"code", "numbers"}
    if "/generated/0" in where or where.endswith(
        ("numbers.tex", "captions.tex", "MODEL_CARD.md")
    ):
        tags.add("numbers")
    if where.endswith((".tex", ".bib", ".pdf", "stamp.json", "runs.csv")):
        tags.add("sources")
    if "/main/" in where or where.endswith(
        ("results.tex", "runs.csv", "baselines.tex", "README.md", "expected.json")
    ):
        tags.add("main")
    return tags


def signs(where):
    """Return texts, one of which stands in each line that tells of a change."""
    if where.startswith("data/runs/"):
        parts = where.split("/")[2:6]
        return ["/".join(parts)]
    if where.startswith("notebooks/lab/"):
        return [where, "notebooks/lab"]
    if where.startswith("report/") and "generated/0" not in where:
        return [where, "report/report.pdf"]
    others = {"pyproject.toml": "report/generated", "data/page.json": "README.md"}
    return [where, others.get(where, where)]


def parser():
    """Return the parser of the command line."""
    return argparse.ArgumentParser(
        description=__doc__, epilog="The status is 1 where a change was missed."
    )


def main():
    """Print what was named, and return the exit status: 1 where anything was not."""
    start, counts = time.perf_counter(), {True: 0, False: 0}
    with tempfile.TemporaryDirectory() as temporary:
        copy = copied(Path(temporary).resolve() / "repository")
        content = {path: path.read_bytes() for path in tracked(copy)}
        before = {*check(copy)}
        for mutations in rounds(copy):
            for path, name, change, _ in mutations:
                try:
                    change(path)
                except Exception as error:  # the file is another one by now
                    print(f"{path.name}: {name}: cannot be done ({error})")
            lines = [line for line in check(copy) if line not in before]
            crashed = any("Traceback" in line for line in lines)
            for path, name, _, named in mutations:
                where = path.relative_to(copy).as_posix()
                seen = not crashed and any(
                    named in line and any(sign in line for sign in signs(where))
                    for line in lines
                )
                counts[seen] += 1
                print(f"{'named' if seen else 'MISSED':6} {where}: {name}", flush=True)
            restored(copy, content)
    minutes = (time.perf_counter() - start) / 60
    print(
        f"{counts[True]} of {sum(counts.values())} changes were named, in"
        f" {minutes:.0f} minutes"
    )
    return 1 if counts[False] else 0


if __name__ == "__main__":
    parser().parse_args()
    sys.exit(guarded(main))
