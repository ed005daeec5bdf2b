"""Recompute what the repository claims, from what it holds.

It needs no images, no network and no training.
"""

import interrupt  # noqa: F401

import argparse
import itertools
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import baselines
import notebooks
import report
from lab import datasets, metrics, runs, statistics
from lab.lesson import EXPECTED
from lab.plan import job_of, plan
from lab.plumbing.files import LabError, relative, sha256
from lab.plumbing.fingerprint import fingerprint
from lab.plumbing.names import DATA_SETS
from lab.plumbing.numbers import Number, numbers_of
from lab.plumbing.output import confusion_csv
from lab.runs import Seeds, headline

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs"
NEXT = ROOT / "data" / "next"
GENERATED = ROOT / "report" / "generated"


def close(one, other):
    """Return whether two numbers are equal but for rounding in the last digits."""
    return isinstance(one, (int, float)) and math.isclose(
        one, other, rel_tol=1e-9, abs_tol=1e-12
    )


def same(one, other):
    """Return whether two Numbers have the same form, and values that are `close`."""
    return one.form == other.form and close(one.value, other.value)


def check_run(folder):
    """Yield a (state, sentence) for each way in which a stored run contradicts itself
    or the code.
    """
    name = relative(folder)
    try:
        run = runs.read(folder)
    except LabError as error:
        yield "differs", str(error)
        return
    record = run.record
    for split, values in runs.all_metrics(run.predictions).items():
        for metric, value in values.items():
            if not close(record["metrics"].get(split, {}).get(metric), value):
                yield (
                    "differs",
                    (
                        f"{name}/run.json: {split} {metric} is {value!r} when computed"
                        " from predictions.npz"
                    ),
                )
    weights = folder / "weights.npz"
    if (sha256(weights) if weights.exists() else None) != record["weights_file_sha256"]:
        yield (
            "differs",
            f"{name}/weights.npz is missing or another file than run.json names",
        )
    if len(run.history) != record["epochs_run"]:
        yield (
            "differs",
            (
                f"{name}: history.csv has {len(run.history)} epochs, run.json says"
                f" {record['epochs_run']}"
            ),
        )
    last = record["recipe"]["keep"] == "last_epoch"
    if (
        len(run.history) if last else run.history["validation_loss"].idxmin() + 1
    ) != record["best_epoch"]:
        yield (
            "differs",
            f"{name}: history.csv and run.json disagree on the epoch that is kept",
        )
    if folder.parts[-4:] != (
        record["dataset"],
        record["model"],
        record["variant"],
        f"seed-{record['seed']}",
    ):
        yield "differs", f"{name}: run.json names another place"
    known = datasets.KNOWN.get(record["dataset"])
    if known and (record["data_sha256"], record["split_sha256"]) != (
        known.sha256,
        known.split_sha256,
    ):
        yield "stale", f"{name}: trained on another content or split of {known.title}"
    if "seconds" in run.history and not close(
        record["seconds"]["train"],
        round(len(run.history) * float(run.history["seconds"].median()), 1),
    ):
        yield (
            "differs",
            f"{name}: history.csv and run.json disagree on the seconds of training",
        )
    if known:
        yield from check_job(folder, record, known)


def check_job(folder, record, known):
    """Yield in what a stored run is not what the plan asks for."""
    name, planned, ours = (
        relative(folder),
        plan().get("/".join(folder.parts[-4:])),
        record["dataset"] in DATA_SETS,
    )
    if not ours:
        planned = job_of(record)
    kept = record["weights_file_sha256"] is not None
    if planned is None:
        yield (
            "stale",
            (
                f"{name}: no job asks for it: list it in a cell tagged `recipe`, make"
                " sync, or delete it"
            ),
        )
    elif fingerprint(planned, known) != record["fingerprint"] and (
        folder.is_relative_to(NEXT) or not waiting(planned, known)
    ):
        yield (
            "stale",
            (
                f"{name}: the network, the recipe or the protocol has changed since it"
                " was trained"
            ),
        )
    elif ours and (planned.test, planned.weights) != (
        "test" in record["metrics"],
        kept,
    ):
        yield (
            "stale",
            (
                f"{name}: its job and its record disagree on whether test images were"
                " predicted, or weights kept"
            ),
        )


def waiting(job, known):
    """Return whether a seed of the job's network with its recipe of now is finished and
    waits in data/next for the others.
    """
    records = [
        json.loads(path.read_text())
        for path in (NEXT / job.name).parent.glob("seed-*/run.json")
    ]
    return any(
        fingerprint(replace(job, seed=record["seed"]), known) == record["fingerprint"]
        for record in records
    )


def check_confusion(path):
    """Yield what is wrong with a stored confusion matrix."""
    dataset, model = next(
        (name, path.stem.split(f"_confusion_{name}_")[1])
        for name in datasets.KNOWN
        if f"_confusion_{name}_" in path.stem
    )
    run = next(iter(headline(RUNS / dataset / model / "main")[0]), None)
    if run is None or path.read_text() != confusion_csv(
        metrics.confusion(*run.test()), datasets.KNOWN[dataset].classes
    ):
        yield (
            "differs",
            f"{relative(path)} is not the confusion matrix of the stored predictions",
        )


def check_leftovers():
    """Yield each figure, matrix or table that no notebook writes any more."""
    written = {
        ROOT / file
        for path in notebooks.paths()
        for file in notebooks.read(path).metadata.get("lab", {}).get("files", {})
    }
    tables = {
        GENERATED / f"{name}.tex"
        for content in report.notebooks_of(GENERATED).values()
        for name in content["tables"]
    }
    for path in sorted(
        {*(ROOT / "figures").glob("0*"), *GENERATED.glob("0*.tex")} - written - tables
    ):
        yield "stale", f"{relative(path)} is written by no notebook any more: delete it"


def check_numbers():
    """Yield each generated number, table or caption that does not follow from the
    runs.
    """
    expected = {}
    folders = sorted(path.parent for path in RUNS.glob("*/*/*/seed-*/run.json"))
    for variant, group in itertools.groupby(folders, key=lambda folder: folder.parent):
        seeds = headline(variant)[0] if variant.name == "main" else None
        expected |= numbers_of(seeds or Seeds(map(runs.read, group)))
    for stem, content in report.notebooks_of(GENERATED).items():
        for key, value in content["numbers"].items():
            number = Number(value, content["forms"][key])
            if key in expected and not same(number, expected[key]):
                yield (
                    "differs",
                    (
                        f"{relative(GENERATED / stem)}.json: {key} is"
                        f" {expected[key].value!r} ({expected[key].form}) when computed"
                        " from the runs"
                    ),
                )
    for name, text in report.generated(GENERATED, RUNS).items():
        path = GENERATED / name
        if not path.exists():
            yield "differs", f"{relative(path)} is missing"
        elif path.read_text() != text:
            lines = set(path.read_text().splitlines()) ^ set(text.splitlines())
            yield (
                "differs",
                f"{relative(path)} is not what the results give: {sorted(lines)[0]}",
            )


def check_report():
    """Yield what is wrong with report.pdf and with the table in README.md."""
    stamp = json.loads((GENERATED / "stamp.json").read_text())
    if stamp["inputs"] != report.inputs():
        yield (
            "stale",
            (
                "report/report.pdf was built from other sources, figures or numbers:"
                " make report"
            ),
        )
    if stamp["pdf"] != sha256(ROOT / "report" / "report.pdf"):
        yield (
            "differs",
            (
                "report/report.pdf is another file than the one that was built: make"
                " report"
            ),
        )


def check_readme():
    """Yield what is wrong with the tables in README.md and data/MODEL_CARD.md, and with
    data/expected.json.
    """
    text = (ROOT / "README.md").read_text()
    if report.readme(text) != text:
        yield (
            "differs",
            (
                "README.md: the results table does not follow from the runs: make"
                " reproduce"
            ),
        )
    text = report.MODEL_CARD.read_text()
    if report.model_card(text) != text:
        yield (
            "differs",
            (
                f"{relative(report.MODEL_CARD)}: its table does not follow from the"
                " run: make reproduce"
            ),
        )
    if EXPECTED.read_text() != report.expected():
        yield (
            "differs",
            (
                f"{relative(EXPECTED)} does not hold the accuracies of the stored runs:"
                " make reproduce"
            ),
        )


def check_baselines(path):
    """Yield each accuracy of `make baselines` that does not follow from the answers
    stored beside it.
    """
    labels = next(
        run
        for run in map(runs.read, sorted((RUNS / "cifar10").glob("*/main/seed-0")))
        if run
    ).predictions
    for name, one in json.loads(path.read_text())["networks"].items():
        for split in ("validation", "test"):
            value = baselines.accuracy(
                one[f"{split}_answers"], labels[f"{split}_labels"]
            )
            if not close(one[f"{split}_accuracy"], value):
                yield (
                    "differs",
                    (
                        f"{relative(path)}: {name}: the {split} accuracy is {value!r}"
                        " when computed from the answers"
                    ),
                )


def items():
    """Yield (title, findings) of everything that is checked."""
    yield (
        "what the notebooks share",
        (("stale", fault) for fault in notebooks.out_of_sync()),
    )
    for folder in sorted(
        path.parent
        for top in (RUNS, NEXT)
        for path in top.glob("*/*/*/seed-*/run.json")
    ):
        yield f"run {relative(folder)}", check_run(folder)
    for path in notebooks.paths():
        yield (
            f"outputs of {relative(path)}",
            (("stale", fault) for fault in notebooks.stale(path, RUNS)),
        )
    for path in sorted((ROOT / "figures").glob("*_confusion_*.csv")):
        yield f"matrix {relative(path)}", check_confusion(path)
    yield "what is left in figures and report/generated", check_leftovers()
    if (path := ROOT / "data" / "baselines.json").exists():
        yield relative(path), check_baselines(path)
    yield "numbers and tables in report/generated", check_numbers()
    yield "report/report.pdf", check_report()
    yield "README.md, data/MODEL_CARD.md, data/expected.json", check_readme()


CLOSE = 0.001  # probability: two steps of the float16 numbers in which they are stored


def levels():
    """Return the lines of a table: for each headline network, how closely a result must
    agree with ours.

    exact: metrics recomputed from the stored predictions (this tool does that, to the
        last digits). Same weights elsewhere: an answer may turn where its two highest
        probabilities are CLOSE. Retrained: the 95 % prediction interval of a further
        seed, from our own seeds.
    """
    lines = [
        f"{'test accuracy in percent, and how far another may lie':54} {'exact':>6}"
        f" {'same weights':>13} {'retrained':>14}"
    ]
    for (dataset, model), group in report.runs_in(RUNS).items():
        probabilities, labels = group[0].test()
        highest = np.sort(probabilities.astype(np.float64), axis=1)
        turning = 100 * np.mean(highest[:, -1] - highest[:, -2] < CLOSE)
        accuracies = [run.record["metrics"]["test"]["accuracy"] for run in group]
        retrained = "one seed"
        if len(accuracies) > 1:
            low, high = statistics.prediction_interval(accuracies)
            retrained = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{f'{dataset}/{model}':54} {100 * accuracies[0]:6.2f}"
            f" {f'± {turning:.2f}':>13} {retrained:>14}"
        )
    return lines


def reminders():
    """Yield a sentence for each entry of pyproject.toml that still has the example's
    value, one on jobs without a run, and one on unused figures.
    """
    about = notebooks.project()
    for name, example in (
        ("repository", "OWNER/"),
        ("author", "Dense to Conv"),
        ("course", "Image classification coursework"),
    ):
        if example in about[name]:
            yield (
                f"pyproject.toml still has the example's {name}, {about[name]}: see"
                " README.md, Adapt it to your coursework"
            )
    missing = [
        name
        for name in plan()
        if not any((top / name / "run.json").exists() for top in (RUNS, NEXT))
    ]
    if missing:
        networks = [
            f"{network} {len(list(names))}"
            for network, names in itertools.groupby(
                missing, key=lambda name: name.rsplit("/", 1)[0]
            )
        ]
        yield (
            f"{len(missing)} jobs have no run (make retrain RUNS=missing):"
            f" {', '.join(networks)}"
        )
    sections = "".join(
        path.read_text()
        for path in sorted((ROOT / "report" / "sections").glob("*.tex"))
    )
    shown = set(re.findall(r"\\lab(?:figure|table)\{(\w+)\}", sections))
    written = [
        name
        for content in report.notebooks_of(GENERATED).values()
        for name in content["figures"] | content["tables"]
    ]
    if unused := [name for name in written if name not in shown]:
        yield f"figures and tables that the report does not show: {', '.join(unused)}"


def parser():
    """Return the parser of the command line."""
    return argparse.ArgumentParser(
        description=(
            f"{__doc__} A line is printed for each item: fresh, stale (out of date) or"
            " differs (not what was computed)."
        ),
        epilog="The status is 1 where anything is stale or differs.",
    )


def main():
    """Print the table and return the exit status."""
    bad = 0
    for title, findings in items():
        try:
            found = list(findings)
        except (LabError, OSError, KeyError, ValueError) as error:
            found = [("differs", f"cannot be read: {error}")]
        bad += len(found)
        print(f"{found[0][0] if found else 'fresh':8} {title}")
        for state, sentence in found:
            print(f"         {state}: {sentence}")
    try:
        print("\n".join(["", *levels(), ""]))
    except LabError:
        pass  # a run that cannot be read is named above
    for sentence in reminders():
        print(f"reminder {sentence}")
    print(
        f"{bad} findings"
        if bad
        else "All fresh: every number follows from a stored run."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    parser().parse_args()
    sys.exit(notebooks.guarded(main))
