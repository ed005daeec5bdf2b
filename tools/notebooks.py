"""Write what the notebooks share, run them on a clean kernel, and stamp them.

A stamp holds the hashes of their code, their outputs, and what they read and wrote.
"""

import interrupt

import argparse
import ast
import io
import json
import os
import re
import sys
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import nbformat

import gather
from gather import tagged

if sys.argv[1:] == ["sync"]:
    gather.write()  # before lab is imported, which may need what is written

import lab
from lab.plumbing import language
from lab.plumbing.files import LabError, located, relative, sha256, write
from lab.plumbing.storage import run_sha256

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
FIRST_PAGE = ("title", "author", "course")  # without which nothing is built
PACKAGE = Path(lab.__file__).resolve().parents[2]  # the checkout that holds lab
SETUP = """import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = "{address}"
kaggle = "KAGGLE_KERNEL_RUN_TYPE" in os.environ
if (kaggle or "google.colab" in sys.modules) and not Path("lab").is_dir():
    copy = Path("/kaggle/working" if kaggle else "/content", "{name}")
    clone = "git -c core.askPass=true clone -q --depth=1".split()
    added = sorted(Path("/kaggle/input").rglob("notebooks/lab"))
    if added and not copy.is_dir():  # the repository is a data set of the notebook
        shutil.copytree(added[0].parents[1], copy, copy_function=shutil.copyfile)
    if not copy.is_dir() and subprocess.run([*clone, REPOSITORY, copy]).returncode:
        sys.exit(f"{{REPOSITORY}} cannot be cloned: set REPOSITORY to your own copy.")
    os.chdir(copy / "notebooks")
if Path("notebooks/lab").is_dir():
    os.chdir("notebooks")
if not Path("lab").is_dir():
    sys.exit("The folder lab is not here: start this notebook in the folder notebooks.")
sys.path[:0] = [os.getcwd(), os.path.dirname(os.getcwd())]
import lab

print(lab.setup_line())"""
SENTENCES = {"LabError"} | {kind.__name__ for kind in LabError.__subclasses__()}
LINKS = re.compile(r"\n\n(Before|Next): \[.*\Z")  # the last line of a title cell


def paths():
    """Return the five notebooks in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def read(path):
    """Return a notebook. Raises LabError where the file is none."""
    try:
        notebook = nbformat.convert(nbformat.reader.reads(path.read_text()), 4)
        nbformat.validate(notebook)
        return notebook
    except Exception as error:  # nbformat has many for what is no notebook
        error = str(error).splitlines()[0][:100] if str(error) else "no notebook"
        raise LabError(
            f"{relative(path)} cannot be read as a notebook ({error})."
        ) from None


def save(path, notebook):
    """Write a notebook in its normal form."""
    nbformat.validate(notebook)
    write(path, nbformat.writes(notebook) + "\n")


def texts(path):
    """Return the sources of a notebook's cells."""
    return [cell.source for cell in read(path).cells]


def project():
    """Return the addresses of the repository and of its files, and what the report and
    the hand-in carry on their first page, from pyproject.toml. Raises LabError where it
    does not hold them.
    """
    try:
        content = tomllib.loads((ROOT / "pyproject.toml").read_text())
        about = {"date": "", "declaration": ""} | content["tool"]["coursework"]
        where = (
            content["project"]["urls"]["repository"].rstrip("/").removesuffix(".git")
        )
        files = where + ("/blob/main" if "github.com" in where else "/-/blob/main")
        about = {name: str(about[name]) for name in (*FIRST_PAGE, *about)}
        return {"repository": where, "files": files} | about
    except (KeyError, ValueError) as error:
        raise LabError(
            f"pyproject.toml cannot be used ({error}): correct this place."
        ) from None


# --- sync


def title(path, book):
    """Return a notebook's title. Raises LabError where its first cell has none."""
    lines = book.cells[0].source.splitlines() if book.cells else []
    if not lines:
        raise LabError(
            f"{relative(path)} has no title: begin its first cell with a line such as"
            " # 03 · CNN."
        )
    return lines[0].lstrip("# ")


def parameters_cell(path, book):
    """Return the Parameters cell. Raises LabError where there is not exactly one."""
    cells = tagged(book, "parameters")
    if len(cells) != 1:
        raise LabError(
            f"{relative(path)} has {len(cells) or 'no'} cells tagged parameters: give"
            " the tag to one."
        )
    return cells[0]


def shared():
    """Return {path: content} of the notebooks, lab/models.py and lab/taught.py as `make
    sync` writes them.
    """
    books = {path: read(path) for path in paths()}
    where, files = (project()[name] for name in ("repository", "files"))
    titles = {path: title(path, book) for path, book in books.items()}
    links = {path: f"[{titles[path]}]({files}/notebooks/{path.name})" for path in books}
    order = list(books)
    for i, book in enumerate(books.values()):
        for cell in tagged(book, "setup"):
            cell.source = SETUP.format(address=where, name=where.rsplit("/", 1)[-1])
        neighbours = [f"Before: {links[order[i - 1]]}."] if i else []
        neighbours += [f"Next: {links[order[i + 1]]}."] if i + 1 < len(order) else []
        kept = LINKS.sub("", book.cells[0].source)
        book.cells[0].source = kept + "\n\n" + " ".join(neighbours)
    content = {path: nbformat.writes(book) + "\n" for path, book in books.items()}
    return content | gather.modules(books)


def sync():
    """Write what the notebooks share."""
    for path, content in shared().items():
        if path.read_text() != content:
            write(path, content)
            print("written:", relative(path))


def out_of_sync():
    """Return a sentence for each file that `make sync` would change."""
    return [
        f"{relative(path)} differs from what make sync writes"
        for path, content in shared().items()
        if not path.exists() or path.read_text() != content
    ]


# --- stamps


def code_sha256(notebook):
    """Return the SHA-256 of a notebook's code cells, without Setup."""
    cells = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    return sha256(json.dumps(cells))


def output_hashes(notebook):
    """Return the SHA-256 of each code cell together with its number and all that it
    left: texts, tables and pictures; Setup's source is left out.
    """
    return [
        sha256(
            json.dumps(
                [
                    "" if "setup" in cell.metadata.get("tags", []) else cell.source,
                    cell.execution_count,
                    cell.outputs,
                ],
                sort_keys=True,
            )
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@cache
def bare(source):
    """Return Python source without comments, docstrings and empty lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            for row in range(node.body[0].lineno, node.body[0].end_lineno + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


# Files of lab that no output depends on: what models.py builds has a fingerprint, and
# what the others read is compared with a hash.
UNSTAMPED = {"models.py"} | {
    f"plumbing/{name}.py" for name in ("downloads", "reading", "sources")
}


def lab_sha256():
    """Return the SHA-256 of the helper package's code that outputs depend on."""
    top = FOLDER / "lab"
    files = {path.relative_to(top).as_posix(): path for path in top.rglob("*.py")}
    kept = sorted(set(files) - UNSTAMPED)
    faces = bare((ROOT / "apps" / "faces.py").read_text())  # for notebook 05
    photo = ROOT / "apps" / "web" / "examples" / "both.jpg"
    texts = (f"{name}\n{bare(files[name].read_text())}\n" for name in kept)
    return sha256(*texts, faces, photo)


def stamp(notebook, runs, files):
    """Return what an executed notebook tells of its run: hashes of its code, of the
    package, of each cell with its outputs, of the runs read and of the files written.
    """
    stored = nbformat.reads(nbformat.writes(notebook), as_version=4)
    other = {"language": language.chosen()} if language.chosen() else {}
    return other | {
        "code": code_sha256(stored),
        "package": lab_sha256(),
        "outputs": output_hashes(stored),
        "runs": runs,
        "files": files,
    }


def assignments(source):
    """Return {name: its assignment as text} of a Parameters cell."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise LabError(
            f"A Parameters cell is no Python ({error.msg}): correct {line!r}."
        ) from None
    return {
        node.targets[0].id: ast.get_source_segment(source, node)
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def assigned(source):
    """Return {name: value as text} of a Parameters cell."""
    lines = assignments(source).items()
    return {name: line.split("=", 1)[1].strip() for name, line in lines}


def stale(path, runs_folder):
    """Return a sentence for each way in which an executed notebook's outputs are out of
    date, or are not those of its run.
    """
    notebook, name = read(path), relative(path)
    told = notebook.metadata.get("lab")
    if not told:
        return [f"{name} carries no stamp: it has not been run by tools"]
    faults = []
    if told["code"] != code_sha256(notebook):
        faults.append(f"{name}: a code cell has changed since it was run")
    cells = output_hashes(notebook)
    if "outputs" not in told:
        faults.append(
            f"{name} has not been run by tools since stamps cover outputs: make"
            " reproduce"
        )
    elif len(told["outputs"]) != len(cells):
        faults.append(f"{name}: it has other code cells than its run")
    elif other := [
        str(i)
        for i, (now, then) in enumerate(zip(cells, told["outputs"]), 1)
        if now != then
    ]:
        faults.append(
            f"{name}: code cell {', '.join(other)} of {len(cells)} is not as the run"
            " left it (its outputs, or its code)"
        )
    if told["package"] != lab_sha256():
        faults.append(f"{name}: the code of notebooks/lab has changed since it was run")
    for run, digest in told["runs"].items():
        try:
            same = run_sha256(runs_folder / run) == digest
        except OSError:  # a file is missing
            same = False
        if not same:
            faults.append(
                f"{name}: the run {run} is another one than it read (run.json or"
                " history.csv)"
            )
    for file, digest in told["files"].items():
        if not (ROOT / file).exists() or sha256(ROOT / file) != digest:
            faults.append(f"{name}: {file} is missing or differs from what it wrote")
    return faults


# --- run


def joined(outputs):
    """Return outputs with what was printed in one go as one output."""
    result = []
    for output in outputs:
        if result and output.output_type == result[-1].output_type == "stream":
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def clean(notebook):
    """Drop noise: what went to stderr, times of execution, and metadata that nobody
    needs.
    """
    for cell in notebook.cells:
        cell.metadata = {
            key: value for key, value in cell.metadata.items() if key == "tags"
        }
        if cell.cell_type == "code":
            cell.outputs = joined(
                output for output in cell.outputs if output.get("name") != "stderr"
            )
    notebook.metadata = {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": []},
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    } | {key: value for key, value in notebook.metadata.items() if key == "lab"}


ASIDE = {}  # {notebook: {file: content}}: what is away while the notebook runs


def put_back(files):
    """Write the files, {path: content}, that are not there: what was run wrote
    elsewhere, or stopped.
    """
    for file, content in list(files.items()):
        if not file.exists():
            write(file, content)


def execute(path, profile, datasets=None):
    """Return a notebook, run from top to bottom on a fresh kernel and stamped, and its
    trace.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = read(path)
    if datasets:
        for cell in tagged(notebook, "parameters"):
            line = assignments(cell.source).get("DATASETS")
            if line is None:
                raise LabError(
                    f"The Parameters cell of {relative(path)} has no line DATASETS ="
                    ' "all": write it again.'
                )
            cell.source = cell.source.replace(line, f"DATASETS = {datasets!r}")
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    # What the kernel says outside of any cell:
    log = ROOT / "build" / f"kernel-{profile}-{path.stem}.log"
    log.parent.mkdir(exist_ok=True)
    trace = ROOT / "build" / "trace" / profile / f"{path.stem}.json"
    trace.unlink(missing_ok=True)
    changed = ASIDE[path] = {}  # a figure that looks the same would be kept
    if profile == "full" and not datasets:
        for name, digest in notebook.metadata.get("lab", {}).get("files", {}).items():
            if (ROOT / name).exists() and sha256(ROOT / name) != digest:
                changed[ROOT / name] = (ROOT / name).read_bytes()
                (ROOT / name).unlink()
    try:
        with open(log, "w") as stderr:
            client.execute(stderr=stderr)
    except CellExecutionError as error:
        if error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        raise LabError(f"{relative(path)} stopped {where(notebook, error)}") from None
    except DeadKernelError:
        raise LabError(
            f"{relative(path)} stopped: its kernel died, most often for want of memory;"
            f" {relative(log)} may say more."
        ) from None
    finally:
        put_back(changed)
        del ASIDE[path]
    if not trace.exists():
        raise LabError(
            f"{relative(path)} wrote nothing in the profile {profile}: its Parameters"
            ' cell must say PROFILE = "full".'
        )
    trace = json.loads(trace.read_text())
    clean(notebook)
    notebook.metadata["lab"] = stamp(notebook, trace["runs"], trace["files"])
    return notebook, ROOT / trace["output"]


def where(notebook, error):
    """Return in which cell a notebook stopped, and why: the sentence of a LabError,
    else the kind of the error and the beginning of what it says, in one line.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    stopped = [
        i
        for i, cell in enumerate(code, 1)
        if any(output.output_type == "error" for output in cell.outputs)
    ]
    said = error.evalue
    if error.ename not in SENTENCES:
        words = re.sub(r"\x1b\[[\d;]*m", "", said).split()
        said = error.ename + (words and ": " or "") + " ".join(words)[:300]
    return f"in code cell {stopped[0]} of {len(code)}: {said}"


def to_html(path, folder):
    """Write a rendered copy of a notebook; a figure's caption is its alternative
    text.
    """
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    book = read(path)
    captions = [
        output.metadata.get("image/png", {}).get("alt", "")
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    exporter = HTMLExporter()
    exporter.log.setLevel("ERROR")  # what it says of missing texts
    page = BeautifulSoup(exporter.from_filename(str(path))[0], "html.parser")
    for image, caption in zip(page.select(".jp-RenderedImage img"), captions):
        image["alt"] = caption
    write(folder / f"{path.stem}.html", str(page))


def run(profile, datasets=None, numbers=()):
    """Run the five notebooks in order, two at a time, and the last one when the others
    have ended; or those whose numbers are given.
    """
    language.chosen()  # must be known
    os.environ.pop("LAB_PROFILE", None)
    if profile == "quick":
        os.environ["LAB_PROFILE"] = "quick"
    chosen = [path for path in paths() if not numbers or path.name[:2] in numbers]
    known = [path.name[:2] for path in paths()]
    if unknown := sorted(set(numbers) - set(known)):
        unknown, known = ", ".join(unknown), ", ".join(known)
        raise LabError(f"There is no notebook {unknown}: take some of {known}.")
    for path in chosen if profile == "quick" and not datasets else ():
        cell = parameters_cell(path, read(path))
        if (asked := assigned(cell.source).get("DATASETS", "nothing")) != '"all"':
            raise LabError(
                f'{relative(path)} has DATASETS = {asked}: set it to "all", or run make'
                " photos FOLDER=… PROFILE=quick."
            )
    *first, last = chosen
    with ThreadPoolExecutor(2) as pool:
        try:
            for line in pool.map(partial(run_one, profile, datasets), first):
                print(line, flush=True)
        except KeyboardInterrupt:  # no kernel hears it: all end with this process
            for changed in list(ASIDE.values()):
                put_back(changed)
            interrupt.leave()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print(run_one(profile, datasets, last), flush=True)


def run_one(profile, datasets, path):
    """Run a notebook, save it and its web page, and return a line that says so. One
    that is fresh in `quick` is left alone.
    """
    built = ROOT / "build" / "quick" / "notebooks" / path.name
    if (
        profile == "quick"
        and not datasets
        and built.exists()
        and texts(built) == texts(path)
        and read(built).metadata.get("lab", {}).get("language", "") == language.chosen()
        and not stale(built, ROOT / "build" / "quick" / "runs")
    ):
        return f"{path.name}: up to date"
    start = time.perf_counter()
    notebook, output = execute(path, profile, datasets)
    target = path if output == ROOT else output / "notebooks" / path.name
    save(target, notebook)
    to_html(target, (ROOT / "build" / "full" if output == ROOT else output) / "html")
    return f"{path.name}: {time.perf_counter() - start:.0f} s"


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "write what they share: Setup cells, links, lab/models.py and lab/taught.py"
    commands.add_parser("sync", help=text, description=text)
    text = (
        "run all five, or some: quick on the digits, into build/quick; full on the real"
        " data, in place"
    )
    running = commands.add_parser("run", help=text, description=text)
    text = "run all five on one data set or folder of photos, into build/"
    on = commands.add_parser("on", help=text, description=text)
    on.add_argument("name", metavar="NAME", help="a data set, or a folder of photos")
    for command in (running, on):
        command.add_argument(
            "profile",
            choices=["quick", "full"],
            help="quick trains for seconds, full as the recipes say",
        )
    text = "only the notebooks of these numbers, such as 03"
    running.add_argument("numbers", metavar="NN", nargs="*", help=text)
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if given.command == "sync":
        sync()
    elif given.command == "on":
        run(given.profile, [seen_from_kernel(given.name)])
    else:
        run(given.profile, numbers=given.numbers)


def seen_from_kernel(name):
    """Return a data set's name as it is; of a folder, the path from where the kernels
    run.

    Raises LabError where there is no name.
    """
    if not name:
        raise LabError("Say which pictures: make photos FOLDER=photos/.")
    where = None if name in lab.datasets.KNOWN else located(name)
    return name if where is None else os.path.relpath(where, FOLDER)


def own_package():
    """Raise LabError where `lab` is another checkout's, whose files it would write."""
    if PACKAGE != ROOT:
        raise LabError(
            f"The package lab is the one of {PACKAGE}, not of this checkout:"
            f" set PYTHONPATH={FOLDER}{os.pathsep}{ROOT} and run again."
        )


def guarded(function, *arguments):
    """Call a tool's function; a mistake that a user can mend ends the tool with one
    sentence.
    """
    interrupt.ready()
    try:
        own_package()
        return function(*arguments)
    except KeyboardInterrupt:
        print(interrupt.STOPPED, file=sys.stderr)
        sys.exit(130)
    except LabError as error:
        sys.exit(f"\n{error}")
    except OSError as error:
        sys.exit(
            f"\nCannot use {relative(error.filename)} ({error.strerror}): it must be"
            " there, readable and writable."
            if error.filename
            else f"\n{error}"
        )


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
