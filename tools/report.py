"""Turn what the notebooks wrote into LaTeX, and build the PDF."""

import interrupt  # noqa: F401

import argparse
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import own
from lab import models
from lab.datasets import KNOWN
from lab.drawing.output import latex_table
from lab.drawing.tables import hyper_parameters, layer_table, minutes
from lab.lesson import DATASETS, EXPECTED
from lab.metrics import by_class
from lab.plumbing import language
from lab.plumbing.files import LabError, relative, sha256, write
from lab.plumbing.fingerprint import operations
from lab.plumbing.language import translated
from lab.plumbing.names import MODEL_TITLES
from lab.plumbing.numbers import Number
from lab.plumbing.records import setting
from lab.prediction import latest
from lab.runs import headline, read
from notebooks import guarded, project
from tex import escape
from words import in_words

ROOT = Path(__file__).resolve().parents[1]
MODEL_CARD = ROOT / "data" / "MODEL_CARD.md"
PAGE = ROOT / "data" / "page.json"  # the speed of the page, by tools/screenshot.py
PICTURE = ROOT / "docs" / "page.jpg"
# For TeX: the same input gives the same file, and a message stands in one line.
FIXED = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
# Numbers that no stored run gives, with their source.
FACTS = {
    # Goodfellow and others (2013): the challenge's winner on PrivateTest.
    "published.fer2013.winner": Number(0.71162, "percent"),
    # Recipes before the present ones, which opened the test images, too: seed 0 in the
    # commits 7ce22b4, 7ce22b4, 0921c02, 996112c and 9acfa63.
    "earlier.fashion_mnist.dense": Number(0.8826, "percent"),
    "earlier.fashion_mnist.one_conv": Number(0.9008, "percent"),
    "earlier.fashion_mnist.two_conv": Number(0.9163, "percent"),
    "earlier.fashion_mnist.improved": Number(0.9398, "percent"),
    "earlier.cifar10.improved": Number(0.9074, "percent"),
    # The mean of 3 seeds, in the commit a34a897.
    "earlier.fer2013.improved": Number(0.7008, "percent"),
    # A refit of the recipe *earlier*, 3 seeds with 14 views, in the commit 1fad050.
    "refit.fer2013.earlier": Number(0.72146, "percent"),
    # A refit of the recipe *higher-peak*, 3 seeds with 6 views, in the commit 43b0e35.
    "refit.cifar10.higher": Number(0.94723, "percent"),
}
# What tools/baselines.py trains, for people: name, what its network and its training
# are.
BASELINE_RECIPES = {
    "CNN of the TensorFlow tutorial": {
        "network": "convolutions of 32, 64 and 64 filters of 3 × 3 with ReLU, without"
        " padding; max pooling 2 × 2 after the first two; dense layer of 64 units",
        "input": "scaled to 0 to 1",
        "first weights": "Glorot, uniform",
        "optimizer": "Adam",
        "batch size": "32",
        "learning rate": "0.001, constant",
        "regularisation": "none",
        "augmentation": "none",
    },
    "ResNet-20 of the Keras examples": {
        "network": "convolution of 16 filters; 3 groups of 3 residual blocks with 16,"
        " 32 and 64 filters of 3 × 3, batch normalisation and ReLU; stride 2, and a"
        " 1 × 1 convolution of the input, at the start of groups 2 and 3; average"
        " pooling",
        "input": "scaled to 0 to 1, minus the mean training image",
        "first weights": "He, normal",
        "optimizer": "Adam",
        "batch size": "32",
        "learning rate": "0.001; after 40, 60, 80 and 90 % of the time 1e-4, 1e-5,"
        " 1e-6 and 5e-7",
        "regularisation": "L2 of 1e-4 on the kernels",
        "augmentation": "flip, shift of 3 pixels",
    },
    "airbench94 in PyTorch": {
        "network": "the layers of our earlier improved network, without skip"
        " connections, with 64, 256 and 256 filters; the filters of the first layer are"
        " computed from 5,000 images, its offsets are learnt for 3 epochs",
        "input": "minus the mean of each channel, divided by its deviation",
        "first weights": "Dirac, as in our network; the others PyTorch's default",
        "optimizer": "SGD, Nesterov momentum 0.85; Lookahead every 5 steps",
        "batch size": "1024",
        "learning rate": "11.5 / 1024 images, divided by 1 + 1 / (1 − momentum); 64"
        " times that for the offsets of batch normalisation; rises from 0.2 of it"
        " during 23 % of the steps, then falls to 0.07 of it",
        "regularisation": "decoupled weight decay 0.0153 / 1024 images; label smoothing"
        " 0.2",
        "augmentation": "every image mirrored in every second epoch, shift of 2 pixels",
    },
}
OVERFULL = 2  # points: a wider overfull box stops the build of the written report


def notebooks_of(folder):
    """Return {stem: content} of what each notebook wrote in a folder of generated
    files.
    """
    paths = sorted(folder.glob("[0-9][0-9]_*.json"))
    return {path.stem: read_json(path) for path in paths}


def read_json(path):
    """Return what a JSON file holds. Raises LabError where it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise LabError(
            f"{relative(path)} cannot be read ({error}): git checkout it, or make it"
            " again."
        ) from None


def runs_in(folder, names=DATASETS["full"]):
    """Return {(dataset, model): headline runs with one recipe} of the data sets
    `names`, in the order of the story.
    """
    groups = {
        (name, model): headline(folder / name / model / "main")[0]
        for name in names
        for model in MODEL_TITLES
    }
    return {key: runs for key, runs in groups.items() if runs}


def take_language(books):
    """Return the language in which the notebooks wrote, {stem: content}, and use it
    from now on. Raises LabError where they wrote in several.
    """
    written = {content.get("language", language.ENGLISH) for content in books.values()}
    if len(written) > 1:
        raise LabError(
            f"The notebooks wrote in several languages ({', '.join(sorted(written))}):"
            " run all of them again in one, such as make reproduce LANGUAGE=french."
        )
    os.environ["LAB_LANGUAGE"] = name = written.pop() if written else language.ENGLISH
    return name


def preamble():
    """Return the LaTeX that sets the report in another language than English."""
    if not (name := language.chosen()):
        return ""
    header = language.catalogue(name).header
    words = {
        "wordto": "to",
        "wordnotebook": "notebook",
        "worddeclaration": "Declaration of help and sources",
    }
    return (
        f"\\usepackage[{header.get('X-Babel', name)}]{{babel}}\n"
        f"\\sisetup{{{header.get('X-Siunitx', '')}}}\n"
        f"{header.get('X-Latex', '')}\n"
    ) + "".join(
        f"\\renewcommand{{\\{macro}}}{{{escape(translated(word))}}}\n"
        for macro, word in words.items()
    )


def generated(folder, runs_folder):
    """Return {file name: text} of all that this tool derives from the notebooks'
    results and the runs, in the notebooks' language.
    """
    numbers, figures, names = FACTS | page_numbers(), {}, []
    books = notebooks_of(folder)
    take_language(books)
    for stem, content in books.items():
        names += [name for name in content["datasets"] if name not in names]
        numbers |= {
            key: Number(value, content["forms"][key])
            for key, value in content["numbers"].items()
        }
        if both := content["figures"].keys() & content["tables"].keys():
            raise LabError(
                f"{stem}.ipynb gives a figure and a table the same name,"
                f" {', '.join(both)}: rename one."
            )
        figures |= {
            name: (stem, caption)
            for name, caption in (content["figures"] | content["tables"]).items()
        }
    language.names.update([*MODEL_TITLES.values(), *map(title, names)])
    groups, others = runs_in(runs_folder, names), runs_folder.parent / "baselines.json"
    runs = [run for seeds in groups.values() for run in seeds]
    table = every_run(runs_folder, names)
    numbers |= totals(table)
    about = {
        name: value if name in ("repository", "files") else escape(value)
        for name, value in project().items()
    }
    return {
        "numbers.tex": (
            preamble()
            + "".join(
                f"\\newcommand{{\\report{name}}}{{{value}}}\n"
                for name, value in about.items()
                if name.isalpha()
            )
            + "".join(
                f"\\defresult{{{key}}}{{{number.latex()}}}\n"
                for key, number in sorted(numbers.items())
            )
        ),
        "captions.tex": "".join(
            f"\\defcaption{{{name}}}{{{stem}.ipynb}}{{{escape(caption)}}}\n"
            for name, (stem, caption) in sorted(figures.items())
        ),
        "results.tex": latex_table(result_table(groups.values())),
        "runs.csv": table.to_csv(index=False, lineterminator="\n"),
        "recipes.tex": recipes_table(groups) if groups else "",
        "layers.tex": layers_table(groups, [*MODEL_TITLES][:-1]),
        "layers_improved.tex": layers_table(groups, [*MODEL_TITLES][-1:]),
        "environment.tex": latex_table(pd.DataFrame(environment_rows(runs))),
    } | (
        {
            "baselines.tex": latex_table(
                pd.DataFrame(
                    baseline_rows(
                        read_json(others),
                        headline(runs_folder / "cifar10" / "improved" / "earlier")[0],
                        groups["cifar10", "improved"],
                    )
                )
            ),
            "baseline_recipes.tex": latex_table(
                pd.DataFrame(
                    {
                        name: BASELINE_RECIPES[name]
                        for name in read_json(others)["networks"]
                    }
                )
                .rename_axis("")
                .reset_index()
            ),
        }
        if others.exists() and ("cifar10", "improved") in groups
        else {}
    )


def page_numbers():
    """Return {key: Number} of the measured speed of the page: seconds, and pictures a
    second. Raises LabError where the record is damaged.
    """
    names = ("opened", "ready", "pictures_a_second")
    try:
        speed = json.loads(PAGE.read_text())
        return {f"page.{name}": Number(float(speed[name]), "mean") for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        raise LabError(f"{relative(PAGE)}: cannot be read: make screenshot") from None


def contents(folder):
    """Return the body of the short report: the tables and figures of each notebook."""
    lines = []
    for stem, content in notebooks_of(folder).items():
        heading = translated(f"Notebook {stem.replace('_', ' ')}")
        lines.append(rf"\section*{{{escape(heading)}}}")
        lines += [rf"\labtable{{{name}}}" for name in content["tables"]]
        lines += [rf"\labfigure{{{name}}}" for name in content["figures"]]
        lines.append(r"\clearpage")
    return "\n".join(lines) + "\n"


def refitted(seeds):
    """Return the Seeds of a headline network that was trained again on training and
    validation images together with the same recipe, None until as many seeds are
    finished.
    """
    again, _ = headline(seeds[0].path.parents[1] / "refit")
    alike = again and replace(again[0].recipe, fit_on=None) == seeds[0].recipe
    return again if alike and len(again) >= len(seeds) else None


def result_table(groups):
    """Return the results table of the Seeds of networks; without a refit it has no
    column for one.
    """
    table = pd.DataFrame(result_row(seeds) for seeds in groups)
    return table.drop(columns=[name for name in table if not any(table[name])])


def result_row(seeds):
    """Return a row of the results table, {column: text}, of a network's Seeds; that of
    a refit has its views, too, where the network has some.
    """
    record, (low, high) = seeds[0].record, seeds.interval()
    views, again = ("test", "accuracy_tta"), refitted(seeds)
    judged = views if seeds.has(*views) else ("test",)
    return {
        "Data set": title(record["dataset"]),
        "Network": seeds.title,
        "Seeds": str(len(seeds)),
        "Accuracy": seeds.percent(),
        "Interval": f"{100 * low:.1f} to {100 * high:.1f}",
        "Views": seeds.percent(*views) if seeds.has(*views) else "",
        "Refit": again.percent(*judged) if again else "",
        "Macro-F1": f"{100 * seeds.mean('test', 'macro_f1'):.1f}",
        "Parameters": f"{record['parameters']:,}",
        "PFLOP": f"{record['pflop']:.2g}",
        "Minutes": minutes(seeds),
    }


def baseline_rows(baselines, earlier, ours):
    """Return the rows of the table of baselines: what tools/baselines.py found, then
    the Seeds of our network, with the earlier recipe (empty: none) and today's, whose
    operations are counted here.
    """
    tta = "test_accuracy_tta"

    def pflop(facts):
        seen = facts["images_per_second"] * facts["seconds"]
        return 3 * facts["operations"] * seen / 1e15

    rows = [
        {
            "Network": name,
            "Seeds": "1",
            "Accuracy": f"{100 * facts['test_accuracy']:.1f}",
            "Views": f"{100 * views:.1f}" if (views := facts.get(tta)) else "",
            "Parameters": f"{facts['parameters']:,}",
            "MFLOP": f"{facts['operations'] / 1e6:,.0f}",
            "PFLOP": f"{pflop(facts):.2g}",
            "Epochs": str(facts["epochs"]),
            "Minutes": f"{facts['seconds'] / 60:.1f}",
        }
        for name, facts in baselines["networks"].items()
    ]
    for suffix, seeds in ((", earlier", earlier), ("", ours)):
        if seeds:
            row = result_row(seeds) | {
                "Network": seeds.title + suffix,
                "MFLOP": f"{operations(network_of(seeds)) / 1e6:,.0f}",
                "Epochs": str(seeds[0].record["epochs_run"]),
            }
            rows.append({name: row[name] for name in rows[0]})
    return rows


def recipes(groups):
    """Return the hyper-parameters of the headline networks, {(dataset, model): Seeds},
    as a table: a column for each recipe, a row for each hyper-parameter that one of
    them uses.
    """
    users, columns = {}, {}
    for (dataset, model), seeds in groups.items():
        values = single(hyper_parameters(seeds[0])["value"])
        if values.pop("test time augmentation") == "yes" and "views" not in values:
            values["views"] = "six"
        users.setdefault(tuple(values.items()), []).append((dataset, model))
    asked = {name for values in users for name, _ in values}
    for values, ours in users.items():
        mine = list(dict.fromkeys(model for _, model in ours))
        titles = [MODEL_TITLES[model] for model in mine]
        sets = [title(dataset) for dataset, _ in ours]
        if len(ours) == sum(model in mine for _, model in groups):
            sets = []  # all data sets of these models share the recipe
        head = [*titles, *sets]
        known = defaults(mine[0]).items()
        values = {name: text for name, text in known if name in asked} | dict(values)
        columns[", ".join(head[:1]), ", ".join(head[1:])] = values
    table = pd.DataFrame(columns).fillna("none")
    table = table[(table != "none").any(axis=1)]
    table = table.replace({"none": "–", "categorical crossentropy": "cross-entropy"})
    table = table.replace(" × ", "-", regex=True)
    units = dict.fromkeys(("shift", "blur"), "pixels")
    units |= dict.fromkeys(("brightness", "noise"), "of 255") | {"turn": "degrees"}
    table = table.rename({name: f"{name} ({unit})" for name, unit in units.items()})
    return table.rename_axis("hyper-parameter").reset_index()


def recipes_table(groups):
    """Return `recipes` in LaTeX, with the network's name above each of its columns."""
    with pd.option_context("styler.sparse.columns", False):
        return latex_table(recipes(groups))


def layers_table(groups, names):
    """Return `layers` of several networks in LaTeX, the name of each above its rows."""
    found = {model: layers(groups, model) for model in names}
    found = {model: table for model, table in found.items() if not table.empty}
    if not found:
        return ""
    latex = latex_table(pd.concat(found.values()))
    if len(found) > 1:
        lines, at = latex.splitlines(keepends=True), 5
        for model, table in found.items():
            name = escape(translated(MODEL_TITLES[model]))
            lines.insert(
                at,
                f"\\multicolumn{{{table.shape[1]}}}{{l}}{{\\textbf{{{name}}}}} \\\\\n",
            )
            at += 1 + len(table)
        latex = "".join(lines)
    first, rest = latex.split("\n", 1)
    first = first.replace("0.28", "0.35").replace("rl", r"r@{\hspace{9pt}}l")
    return f"{first}\n{rest}"


def network_of(seeds):
    """Return the network of some Seeds on one of the known data sets, untrained."""
    record, arguments = seeds[0].record, seeds[0].recipe.model_arguments
    known, build = KNOWN[record["dataset"]], getattr(models, f"build_{record['model']}")
    return build(known.shape, len(known.classes), **arguments)


def layers(groups, model):
    """Return the layers of one network on all its known data sets as a table: what we
    set, but for the numbers of filters and units, with which an output ends; and for
    each set outputs and parameters, empty where its network lacks the layer.
    """
    tables = {}
    for (dataset, name), seeds in groups.items():
        if name == model and (known := KNOWN.get(dataset)):
            table = layer_table(network_of(seeds))
            tables[known.title] = _folded(table.reset_index())
    if not tables:
        return pd.DataFrame()
    most = max(tables, key=lambda name: len(tables[name]))
    parts = {name: _parts(list(table["layer"])) for name, table in tables.items()}
    blocks = max(len(part) for part in parts.values())
    for name, (*first, last) in parts.items():  # the others lack a block
        parts[name] = [*first, *[[]] * (blocks - 1 - len(first)), last]
    kinds, rows = [], {name: [] for name in tables}
    for same in zip(*parts.values()):
        longest = max(same, key=len)
        for name, part in zip(tables, same):
            if part != longest[: len(part)]:
                raise LabError(
                    f"{MODEL_TITLES[model]} has other layers on {name} than on {most}:"
                    " one table cannot show both, so give them a variant of their own."
                )
            rows[name] += range(len(kinds), len(kinds) + len(part))
        kinds += longest
    cells = {name: table.set_axis(rows[name]) for name, table in tables.items()}
    columns, before = {("", "layer"): kinds, ("", "settings"): []}, {}
    for row, kind in enumerate(kinds):
        text = _settings({n: t["settings"].get(row) for n, t in cells.items()}, most)
        known, plain = before.get(kind, ""), len("activation: softmax")
        if text == known and len(text) > plain:
            columns["", "settings"].append("as above")
        elif len(text) > plain and known.startswith(f"{text}, activation: "):
            columns["", "settings"].append("as above, without activation")
        else:
            columns["", "settings"].append(text)
            before[kind] = text
    for name, table in cells.items():
        table = table.reindex(range(len(kinds)), fill_value="")
        columns |= {(name, column): table[column] for column in table.columns[2:]}
    return pd.DataFrame(columns)


def _folded(table):
    """Return a table of layers without the rows of activations, which the row before
    tells, too (none for the linear one).
    """
    rows = []
    for row in table.to_dict("records"):
        if row["layer"] != "Activation":
            rows.append(row)
        elif row["settings"] != "activation: linear":
            before = rows[-1]["settings"]
            added = f"{before}, {row['settings']}"
            rows[-1]["settings"] = row["settings"] if before == "none" else added
    return pd.DataFrame(rows)


def _parts(kinds):
    """Return the names of layers in parts: a block begins at a convolution that a
    pooling follows, and the last part at the layer that ends the maps.
    """
    parts = [[]]
    for kind, following in zip(kinds, [*kinds[1:], ""]):
        ends = kind in ("Flatten", "GlobalMaxPooling2D")
        if ends or (kind == "Conv2D" and following == "MaxPooling2D"):
            parts.append([])
        parts[-1].append(kind)
    return parts


def _settings(texts, most):
    """Return what is set for a layer: that of the data set `most`, and in brackets what
    differs; texts: {data set: text}, None where its network lacks the layer. Where
    `most` lacks it, the first set that has it counts.
    """
    values = {
        name: dict(part.split(": ", 1) for part in text.split(", ") if ": " in part)
        for name, text in texts.items()
        if text
    }
    most = most if most in values else next(iter(values))
    parts = []
    for key in dict.fromkeys(key for each in values.values() for key in each):
        said = {name: each.get(key, "none") for name, each in values.items()}
        differ = [f"{n}: {value}" for n, value in said.items() if value != said[most]]
        if key not in ("shape", "filters", "units"):
            parts.append(
                f"{key}: {said[most]}" + f" ({', '.join(differ)})" * bool(differ)
            )
    return ", ".join(parts) or "none"


def defaults(model):
    """Return {argument: text} of the defaults of the function that builds a model."""
    build = getattr(models, f"build_{model}")
    return {
        name: "-".join(map(str, np.atleast_1d(parameter.default)))
        .replace("False", "no")
        .replace("True", "yes")
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is not parameter.empty
    }


def single(values):
    """Return {hyper-parameter: text} in which a text like "a: 1, b: 2" has become two
    entries.
    """
    entries = {}
    for name, text in values.items():
        parts = [part.split(": ") for part in str(text).split(", ")]
        if all(len(part) == 2 for part in parts):
            entries |= dict(parts)
        else:
            entries[name] = text
    return entries


def title(dataset):
    """Return the name of a data set as tables print it."""
    return KNOWN[dataset].title if dataset in KNOWN else dataset


def every_run(folder, names):
    """Return a table with a row for each run of the data sets `names`: what was trained
    and how, what it cost and reached. Raises LabError for a damaged run.
    """
    rows = []
    for name in names:
        for run in map(read, sorted((folder / name).glob("*/*/seed-*"))):
            if run is None:
                continue
            record, row = run.record, {"run": run.name}
            row |= {f"recipe.{key}": cell(v) for key, v in record["recipe"].items()}
            row |= {
                key: record.get(key)
                for key in (
                    "parameters",
                    "pflop",
                    "epochs_run",
                    "best_epoch",
                    "shared_machine",
                    "finished_at",
                    "git_commit",
                    "fingerprint",
                )
            }
            row |= {f"seconds.{key}": v for key, v in record["seconds"].items()}
            for split, metrics in record["metrics"].items():
                row |= {f"{split}.{key}": v for key, v in metrics.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def totals(table):
    """Return {key: Number} of what all runs of `every_run` cost together."""
    return {
        "runs.count": Number(len(table), "count"),
        "runs.hours": Number(sum(table.get("seconds.train", ())) / 3600, "count"),
        "runs.pflop": Number(sum(table.get("pflop", ())), "count"),
    }


def cell(value):
    """Return a recipe's value as a cell of a CSV: what holds others as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def environment_rows(runs):
    """Return the rows of the table of environments: one for each environment, the one
    with the most runs last.
    """
    groups = {}
    for run in runs:
        facts = run.record["environment"]
        device = f"{facts['device']}, {facts['threads']}".replace("(R)", "")
        language.names.add(device)
        row = {
            "Device, CPU threads": device,
            "Python": facts["python"],
            "Keras": facts["keras"],
            "Back end": f"{facts['backend']} {facts['backend_version']}",
            "Precision": facts["precision"],
        }
        groups.setdefault(tuple(row.items()), []).append(run.name)
    most, *rest = sorted(groups.items(), key=lambda group: -len(group[1]))
    rows = []
    for row, names in rest:
        networks = dict.fromkeys("/".join(name.split("/")[:2]) for name in names)
        rows.append({"Runs": ", ".join(networks), **dict(row)})
    return [*rows, {"Runs": "all others" if rest else "all", **dict(most[0])}]


def has_latex():
    """Return whether LaTeX is there, with what prints numbers and the chosen
    language.
    """
    there = all(map(shutil.which, ("latexmk", "pdflatex", "kpsewhich")))
    needed = ["siunitx.sty"]
    if name := language.chosen():
        needed.append(f"{language.catalogue(name).header.get('X-Babel', name)}.ldf")
    return there and not any(
        subprocess.run(["kpsewhich", file], capture_output=True).returncode
        for file in needed
    )


def need_latex():
    """Make sure that LaTeX is there: as root it is installed with apt, else the build
    ends with status 3.
    """
    if has_latex():
        return
    command = ["make", "install-tex"]
    if language.chosen():
        command.append(f"LANGUAGE={language.chosen()}")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(
            "LaTeX or a part of it is missing; as this is root, it is installed now"
            f" ({' '.join(command)}).",
            flush=True,
        )
        subprocess.run([*command, "--no-print-directory"], cwd=ROOT)
    if not has_latex():
        print(
            "LaTeX or a part of it is missing, so the report is not built; all else is"
            f" done. Run: {' '.join(command)} (Debian and Ubuntu; elsewhere install TeX"
            " Live with latexmk and siunitx)"
        )
        sys.exit(3)


def latex(source, pdf, work, mark=None):
    """Build `pdf` from `source` with latexmk, in the folder `work`. Raises LabError on
    any defect.

    mark: a hash that the PDF carries as /Sources.
    """
    work.mkdir(parents=True, exist_ok=True)
    command = [
        "latexmk",
        "-norc",  # the user's settings change the report
        "-pdf",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-file-line-error",
        f"-outdir={work}",
        source.name,
    ]
    if mark:  # -g: latexmk does not see that it has changed
        command[1:1] = ["-g", f"-usepretex=\\pdfinfo{{/Sources ({mark})}}"]
    done = subprocess.run(
        command,
        cwd=source.parent,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | FIXED,
    )
    log = (
        (work / f"{source.stem}.log").read_text(errors="replace")
        if done.returncode in (0, 12)
        else done.stdout
    )
    faults = re.findall(
        r"^(?:!|\S+\.tex:\d+: |.*[Uu]ndefined (?:reference|citation|control)).*$",
        log,
        flags=re.M,
    )
    wide = [
        line
        for line in re.findall(r"^Overfull .*$", log, flags=re.M)
        if source.name == "report.tex"
        and float(re.search(r"\(([\d.]+)pt", line)[1]) > OVERFULL
    ]
    if done.returncode or faults or wide:
        raise LabError(
            f"{relative(source)} does not build cleanly:\n"
            + "\n".join((faults + wide) or [done.stdout[-2000:]])
        )
    content = (work / f"{source.stem}.pdf").read_bytes()
    if pdf.exists() and pdf.read_bytes() == content:
        print(f"{relative(pdf)}: up to date")
    else:
        write(pdf, content)
        print("built", relative(pdf))


def sources():
    """Return the paths of the texts from which report/report.pdf is built."""
    report = ROOT / "report"
    return [
        report / "report.tex",
        report / "macros.tex",
        report / "references.bib",
        *sorted((report / "sections").glob("*.tex")),
        *sorted((report / "generated").glob("*.tex")),
    ]


def inputs():
    """Return the SHA-256 of all that report/report.pdf is made of."""
    parts = [*sources(), *sorted((ROOT / "figures").glob("*.pdf")), PICTURE]
    return sha256(*(f"{relative(part)} {sha256(part)}\n" for part in parts))


def in_language(source):
    """Return a LaTeX source in which what stands in \\translated{} is translated."""

    def changed(match):
        return escape(translated(" ".join(match[1].split())))

    return re.sub(r"\\translated\{([^{}]*)\}", changed, source)


def tell_untranslated(folder):
    """Print a line with the texts, of the notebooks and of this tool, that have no
    translation.
    """
    texts = language.untranslated.union(
        *(book.get("untranslated", []) for book in notebooks_of(folder).values())
    )
    if texts:
        path = relative(language.FOLDER / f"{language.chosen()}.po")
        verb = "text has" if len(texts) == 1 else "texts have"
        listed = "; ".join(sorted(texts)).replace("\n", "\\n")
        print(f"{len(texts)} {verb} no translation in {path}: {listed}")


def build(profile, base):
    """Write what is derived from the results in the folder `base`, then build their
    report.
    """
    runs = (
        ROOT / "build" / "quick" / "runs"
        if profile == "quick"
        else ROOT / "data" / "runs"
    )
    folder, asked = base / "report" / "generated", os.environ.get("LAB_LANGUAGE")
    language.chosen()  # must be known
    books = notebooks_of(folder)
    names = {name for content in books.values() for name in content["datasets"]}
    if not runs_in(runs, names):
        raise LabError(
            f"{relative(folder)} or {relative(runs)} holds no results for the report:"
            " run the notebooks first, such as with make quick."
        )
    written = take_language(books)
    if asked not in (None, "", written):
        raise LabError(
            f"The figures and tables are in {written}: run the notebooks with"
            f" LANGUAGE={asked}, too, such as make reproduce LANGUAGE={asked}."
        )
    for name, text in generated(folder, runs).items():
        write(folder / name, text)
    if base == ROOT:
        source, pdf = base / "report" / "report.tex", base / "report" / "report.pdf"
    else:
        mine = own.name_of(books)
        template = "own.tex" if mine else "short.tex"
        source, pdf = base / "report" / template, base / "report.pdf"
        text = contents(folder)
        if mine:
            text = own.body(mine, books, runs_in(runs, [mine]), base / "figures")
            for name, words in own.words(mine).items():
                write(base / "report" / "own" / name, words)
        write(folder / "contents.tex", text)
        for name in ("macros.tex", template):
            text = in_language((ROOT / "report" / name).read_text())
            write(base / "report" / name, text)
    tell_untranslated(folder)
    need_latex()
    mark = inputs() if base == ROOT else None
    latex(source, pdf, ROOT / "build" / "latex" / base.name, mark)
    if base == ROOT:
        stamp = {"inputs": inputs(), "pdf": sha256(pdf)}
        write(folder / "stamp.json", json.dumps(stamp, indent=1) + "\n")


def readme(text):
    """Return README.md's text with the results table between its markers, and the speed
    of the page, written anew.
    """
    for key, number in page_numbers().items():
        mark = f"<!-- {key} -->"
        text = re.sub(f"{mark}[^<]*", mark + in_words(number), text)
    groups = runs_in(ROOT / "data" / "runs").values()
    table = result_table(groups)
    rows = ["| " + " | ".join(table) + " |", "|" + "---|" * len(table.columns)]
    rows += ["| " + " | ".join(row) + " |" for row in table.to_numpy()]
    devices = {
        f"{run.record['environment']['device']}, {run.record['environment']['threads']}"
        " threads"
        for runs in groups
        for run in runs
    }
    fast = [seeds for seeds in groups if "GPU" in minutes(seeds)]
    slow = [seeds for seeds in groups if "GPU" not in minutes(seeds)]
    shared = any(run.record["shared_machine"] for seeds in fast for run in seeds)
    hours = sum(seeds[0].record["seconds"]["train"] for seeds in slow) / 3600
    kept, kept_views = "accuracy_without_leaked", "accuracy_tta_without_leaked"
    busy = " and ".join(
        f"{seeds.title} ({title(seeds[0].record['dataset'])})"
        for seeds in slow
        if any(run.record.get("shared_machine") for run in seeds)
    )
    leaked = "".join(
        f" Test images of {title(seeds[0].record['dataset'])} include copies of"
        f" training images; without them {seeds.title} reaches"
        f" {seeds.percent('test', kept)} %, with views"
        f" {seeds.percent('test', kept_views)} %."
        for seeds in groups
        if kept_views in seeds[0].record["metrics"]["test"]
    )
    rows += [
        "",
        (
            "Accuracy and macro-F1 on the test images are in percent, means over the"
            " seeds; ± is the standard deviation between them. *Interval* is"
            " Wilson's 95 % interval. *Views* is the accuracy with a weighted mean over"
            " several views of each image, where the recipe has views. *Refit* is also"
            " an accuracy with views, of networks with the same recipe that were"
            " trained on training and validation images together, where there are"
            f" such networks.{leaked} A PFLOP is 1e15 operations; the column counts one"
            " training. *Minutes* are those of one training on"
            f" {'; '.join(sorted(devices))}."
        ),
        "GPU: the graphics card also did other trainings at the same time. " * shared
        + f"While the processor trained {busy}, it also did other work. " * bool(busy)
        + "To train the first seed of each network"
        f" {'not marked GPU ' * bool(fast)}takes {hours:.1f} hours in total.",
    ]
    return filled(text, rows)


def filled(text, rows):
    """Return a text with the lines `rows` between its markers."""
    start, end = "<!-- results:start -->", "<!-- results:end -->"
    if start not in text or end not in text:
        raise LabError(
            f"README.md and data/MODEL_CARD.md need the lines {start} and {end}: the"
            " table stands between them."
        )
    before, rest = text.split(start)
    return before + start + "\n" + "\n".join(rows) + "\n" + end + rest.split(end)[1]


def model_card(text):
    """Return data/MODEL_CARD.md's text with the table of the emotion network between
    its markers written anew.
    """
    run, faces = latest("fer2013"), KNOWN["fer2013"]
    metrics, votes = (
        run.record["metrics"]["test"],
        notebooks_of(ROOT / "report" / "generated")["01_dataset_exploration"][
            "numbers"
        ],
    )
    rows = [
        "| expression | precision | recall | F1 | test pictures |",
        "|---|---|---|---|---|",
    ]
    for name, row in by_class(*run.test(), faces.classes).iterrows():
        rows.append(
            f"| {name} | {100 * row['precision']:.0f} % | {100 * row['recall']:.0f} % |"
            f" {row['F1']:.2f} | {row['support']:.0f} |"
        )
    rows += [
        "",
        (
            f"{MODEL_TITLES[run.record['model']]}, run `{run.name}`: accuracy"
            f" {100 * metrics['accuracy']:.1f} % on PrivateTest,"
            f" {100 * metrics['accuracy_without_leaked']:.1f} % without the pictures"
            f" that are also in training, macro-F1 {metrics['macro_f1']:.2f}. On"
            f" {100 * votes['fer2013.fer_plus.agreement']:.0f} % of the pictures of"
            " FER2013, no other answer has more of the ten votes of FER+ than the"
            " label."
        ),
    ]
    return filled(text, rows)


def expected():
    """Return the text of data/expected.json: the test accuracies of the stored seeds,
    to compare others with.
    """
    content = {}
    for (dataset, model), runs in runs_in(ROOT / "data" / "runs").items():
        records = [run.record for run in runs]
        content[f"{dataset}/{model}"] = {
            "setting": setting(records[0]),
            "accuracies": [record["metrics"]["test"]["accuracy"] for record in records],
            "weights": [record["weights_sha256"] for record in records],
        }
    return json.dumps(content, indent=1) + "\n"


def elsewhere():
    """Return whether the notebooks wrote last into a folder under build/, such as where
    a data set or the votes of FER+ were missing.
    """
    trace = ROOT / "build" / "trace" / "full" / "05_analysis.json"
    return trace.exists() and ROOT / json.loads(trace.read_text())["output"] != ROOT


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__,
        epilog="The status is 3 where LaTeX is missing and cannot be installed.",
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in {
        "full": "report/report.pdf, from figures/, report/generated/ and data/runs/",
        "quick": "the short report, generated from build/quick",
        "last": "the report of the folder or data sets on which the notebooks ran last",
        "readme": (
            "the tables of README.md and data/MODEL_CARD.md, and data/expected.json"
        ),
    }.items():
        commands.add_parser(name, help=text, description=f"Write {text}.")
    return made


def main(arguments):
    """Do what the command line asks for."""
    command = parser().parse_args(arguments).command
    if command == "readme" and elsewhere():
        print(
            "A data set or the votes of FER+ are missing, or DATASETS in a notebook is"
            ' not "all": the committed report and tables are left as they are.'
        )
    elif command == "readme":
        path = ROOT / "README.md"
        write(path, readme(path.read_text()))
        write(MODEL_CARD, model_card(MODEL_CARD.read_text()))
        write(EXPECTED, expected())
    elif command == "quick":
        build("quick", ROOT / "build" / "quick")
    elif command == "full":
        build("full", ROOT)
    else:
        traces = list((ROOT / "build" / "trace").glob("*/05_analysis.json"))
        if not traces:
            raise LabError(
                "build/trace does not say on what notebook 05 ran last: run the"
                " notebooks first, such as with make quick."
            )
        trace = max(traces, key=lambda path: path.stat().st_mtime)
        build(trace.parent.name, ROOT / json.loads(trace.read_text())["output"])


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
