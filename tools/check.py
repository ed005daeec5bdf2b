"""Recompute what the repository claims, from what it holds.

It needs no images, no internet and no training.
"""

import interrupt  # noqa: F401

import argparse
import itertools
import json
import math
import re
import sys
import traceback
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

try:
    import numpy as np

    import baselines
    import notebooks
    import own
    import report
    import words
    from lab import datasets, runs
    from lab.drawing.output import confusion_csv
    from lab.lesson import EXPECTED
    from lab.metrics import confusion
    from lab.plan import job_of
    from lab.plan import plan as plan_of
    from lab.plumbing.backend import apart
    from lab.plumbing.building import built
    from lab.plumbing.files import LabError, relative, sha256, text_of
    from lab.plumbing.fingerprint import PROTOCOL, fingerprint, operations, sketched
    from lab.plumbing.names import DATA_SETS
    from lab.plumbing.numbers import Number, numbers_of
    from lab.plumbing.records import all_metrics, hashed, setting, spoilt
    from lab.runs import Seeds, headline
    from lab.taught import CORRUPTIONS, prediction_interval
except Exception as broken:  # a module that somebody changed
    if type(broken).__name__ == "LabError":  # Keras is missing or another one
        sys.exit(str(broken))
    place = traceback.extract_tb(broken.__traceback__)[-1].filename
    sys.exit(
        f"{getattr(broken, 'filename', None) or place} cannot be imported"
        f" ({type(broken).__name__}: {broken}): git diff shows what has changed."
    )

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
RUNS = DATA / "runs"
NEXT = DATA / "next"
FIGURES = ROOT / "figures"
GENERATED = ROOT / "report" / "generated"
PDF = ROOT / "report" / "report.pdf"

# What a folder of data may hold beside runs.
IN_DATA = {
    *("README.md", "MODEL_CARD.md", "baselines.json", "expected.json", "page.json"),
    *("splits", "runs", "next", "raw", "cache"),
}
# Tags of cells, and the modules in which they are gathered.
GATHERED = {"model": "models", "recipe": "models", "taught": "taught"}
FACES = 80  # pictures of FER2013 that may be shown: nobody asked these people
SHOWN = 5  # lines of a generated file that differ
IN_RUN = {"run.json", "history.csv", "predictions.npz", "weights.npz"}
# SHA-256 of the files in data/splits.
SPLITS = {
    "digits": "61932fe24fedd7f32ab70ca61ced1a18756a87f4e74b57f70b2ba9f648ee28a2",
    "fashion_mnist": "8d0ead1664870a0990aa7601901b7972933fa70373624d1ca4ffb32aa5ef8ecc",
    "cifar10": "ac5d2dd45625e6b1d22e0caefa763f54ce0baea3ec58c0657d342ebfb2023af2",
    "fer2013": "334cfc2b3f959f55f93019910da914396ae3446eec09a89ab5eb216fabf1bb63",
    "orders": "0e0c98e7b93a435fd6fde30d15f1c9ecd4ce29493c7802e00cf81383cbc6e7e9",
}
SIZES = {  # images of the training split
    "digits": 1079,
    "fashion_mnist": 50_000,
    "cifar10": 45_000,
    "fer2013": 28_709,
}
# SHA-256, as 64-bit integers, of the labels of the images of a split, and of the marks
# of those that stand in training, too.
STORED = {
    "fashion_mnist": {
        "validation_labels": (
            "7e19c9d355ebbddf449850143168629131dae6e5bea6bc3931417e6e1a2c0e86"
        ),
        "test_labels": (
            "d51d859896c55775b9e9e219b77ff03bcec1b6ac322f313544dc3f9e7bc94fae"
        ),
    },
    "cifar10": {
        "validation_labels": (
            "aba30157995bda52486927048b705427db4a51e03e0bcb4844d462bb15f20846"
        ),
        "test_labels": (
            "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb"
        ),
    },
    "fer2013": {
        "validation_labels": (
            "a410031e6b3c82fd67f8f62cf0caf77d484bf232bc4126e41c581abc085b762e"
        ),
        "test_labels": (
            "ea31048d16964f01db9fd2f0fc7ea227969ca5d7dd1871bb56e973a6012b42e9"
        ),
        "validation_leaked": (
            "c77cce8638c9b87dcd3524712e5b60006e0cefa3b1ce8666fb4b0e0fc0b35a94"
        ),
        "test_leaked": (
            "c9fb9d5c5416624e34bb7a510bc0f14fec8167ffa9afb9dc4de8fe7846941a64"
        ),
    },
}


plan = cache(plan_of)


def measured(probabilities, labels):
    """Return what `lab.metrics.measure` does, counted by other code than there."""
    answers, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    right = np.bincount(labels[answers == labels], minlength=classes)
    count = np.bincount(labels, minlength=classes)
    answered = np.bincount(answers, minlength=classes)
    p = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float(right.sum() / len(labels)),
        "balanced_accuracy": float((right[count > 0] / count[count > 0]).mean()),
        "macro_f1": float((2 * right / np.maximum(count + answered, 1)).mean()),
        "log_loss": float(-np.log(np.clip(p, 1e-4, 1)).mean()),
    }


def close(value, other):
    """Return whether two numbers are equal but for rounding in the last digits."""
    return isinstance(value, (int, float)) and math.isclose(
        value, other, rel_tol=1e-9, abs_tol=1e-12
    )


def same(number, other):
    """Return whether two Numbers have the same form, and values that are `close`."""
    return number.form == other.form and close(number.value, other.value)


def said(error):
    """Return an exception in words."""
    known = isinstance(error, LabError)
    return str(error) if known else f"cannot be read ({type(error).__name__}: {error})"


# --- what is read once, and left out of all else where it is damaged

read_run = runs.read


@cache
def stored(folder):
    """Return (Run, findings) of a folder; None in place of a run that is so damaged
    that others cannot compute with it.
    """
    name = relative(folder)
    try:
        run = read_run(folder)
        faults = [*check_metrics(run), *check_files(run), *check_place(run)]
        seeds = Seeds([run])
        numbers_of(seeds), setting(run.record), run.summary()
        report.environment_rows(seeds)
        [*run.record["recipe"].items(), *run.record["seconds"].items()]
    except Exception as error:
        return None, [("differs", f"{name}: {said(error)}")]
    return run, faults


def undamaged(folder):
    """Return the Run in a folder; None where there is none, or where it is damaged."""
    folder = Path(folder)
    return stored(folder)[0] if (folder / "run.json").exists() else None


def damaged(folder):
    """Return whether a seed of the network in a folder is damaged."""
    return any(not undamaged(path.parent) for path in folder.glob("seed-*/run.json"))


def places(*tops):
    """Return the folders of the runs that are stored below the folders `tops`."""
    return sorted(
        path.parent for top in tops for path in top.glob("*/*/*/seed-*/run.json")
    )


def contents(folder):
    """Return {stem: content} of what each notebook wrote into a folder of generated
    files, without damaged files.
    """
    books = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.json")):
        try:
            content = json.loads(path.read_text())
            numbers_in(content), [*content["datasets"]]
            {**content["figures"], **content["tables"]}
        except Exception:
            continue  # check_numbers names it
        books[path.stem] = content
    return books


def numbers_in(content):
    """Return {key: Number} of what a notebook wrote."""
    numbers = {
        key: Number(value, content["forms"][key])
        for key, value in content["numbers"].items()
    }
    for number in numbers.values():
        number.latex()
    return numbers


@cache
def stamps():
    """Return {path: stamp} of the notebooks; None for one that cannot be read."""
    stamp_of = {}
    for path in notebooks.paths():
        try:
            stamp = notebooks.read(path).metadata["lab"]
            stamp_of[path] = {"runs": {*stamp["runs"]}, "files": {*stamp["files"]}}
        except Exception:
            stamp_of[path] = None  # notebooks.stale names it
    return stamp_of


# --- runs


def check_metrics(run):
    """Yield each metric of a run that does not follow from its stored predictions."""
    computed = all_metrics(run.predictions, measured)
    recorded = run.record["metrics"]
    for split in sorted({*computed, *recorded}):
        due, given = computed.get(split, {}), recorded.get(split, {})
        for metric in sorted({*due, *given}):
            if metric not in due or not close(given.get(metric), due[metric]):
                yield (
                    "differs",
                    (
                        f"{relative(run.path)}/run.json: {split} {metric} is"
                        f" {due.get(metric, 'nothing')!r} when computed from"
                        " predictions.npz"
                    ),
                )


def check_files(run):
    """Yield where the files of a run contradict its record."""
    name, record, history = relative(run.path), run.record, run.history
    weights, digest = run.path / "weights.npz", record["weights_file_sha256"]
    if (sha256(weights) if weights.exists() else None) != digest:
        yield (
            "differs",
            f"{name}/weights.npz is missing or another file than run.json names",
        )
    elif digest:
        with np.load(weights) as arrays:
            count = sum(arrays[key].size for key in arrays if key.isdigit())
        if count != record["parameters"]:
            yield (
                "differs",
                (
                    f"{name}/run.json says {record['parameters']} parameters,"
                    f" weights.npz holds {count}"
                ),
            )
    if len(history) != record["epochs_run"]:
        yield (
            "differs",
            (
                f"{name}: history.csv has {len(history)} epochs, run.json says"
                f" {record['epochs_run']}"
            ),
        )
    last = record["recipe"]["keep"] == "last_epoch"
    kept = len(history) if last else history["validation_loss"].idxmin() + 1
    if kept != record["best_epoch"]:
        yield (
            "differs",
            f"{name}: history.csv and run.json disagree on the epoch that is kept",
        )
    if "seconds" in history and not close(
        record["seconds"]["train"],
        round(len(history) * float(history["seconds"].median()), 1),
    ):
        yield (
            "differs",
            f"{name}: history.csv and run.json disagree on the seconds of training",
        )


def check_place(run):
    """Yield where the record of a run names another place, data set or labels."""
    name, record = relative(run.path), run.record
    place = *(record[part] for part in ("dataset", "model", "variant")), record["seed"]
    if run.path.parts[-4:] != (*place[:3], f"seed-{place[3]}"):
        yield "differs", f"{name}: run.json names another place"
    known = datasets.KNOWN.get(record["dataset"])
    if known and (record["data_sha256"], record["split_sha256"]) != (
        known.sha256,
        known.split_sha256,
    ):
        yield "stale", f"{name}: trained on another content or split of {known.title}"
    for array, digest in STORED.get(record["dataset"], {}).items():
        split = array.split("_")[0]
        if split in record["metrics"]:
            values = run.predictions.get(array, np.array([]))
            if sha256(values.astype("<i8").tobytes()) != digest:
                yield (
                    "differs",
                    f"{name}/predictions.npz: {array} are not those of {known.title}",
                )


def check_run(folder):
    """Yield a (state, sentence) for each way in which a stored run contradicts itself,
    the plan or the code.
    """
    run, faults = stored(folder)
    yield from faults
    if run and run.record["dataset"] in datasets.KNOWN:
        yield from check_job(run, datasets.KNOWN[run.record["dataset"]])


def check_job(run, known):
    """Yield in what a stored run is not what the plan asks for."""
    name, record = relative(run.path), run.record
    ours = record["dataset"] in DATA_SETS
    planned = plan().get(run.name) if ours else job_of(record)
    if planned is None:
        yield (
            "stale",
            (
                f"{name}: no job asks for it: list it in a cell tagged `recipe`, make"
                " sync, or delete it"
            ),
        )
    elif fingerprint(planned, known) == record["fingerprint"]:
        yield from check_record(run, planned, known)
    elif run.path.is_relative_to(NEXT) or not waiting(planned, known):
        yield (
            "stale",
            (
                f"{name}: the network, the recipe or the protocol has changed since it"
                " was trained"
            ),
        )
    if (
        planned
        and ours
        and (planned.test, planned.weights, planned.corrupted)
        != (
            "test" in record["metrics"],
            record["weights_file_sha256"] is not None,
            "corrupted_right" in run.predictions,
        )
    ):
        yield (
            "stale",
            (
                f"{name}: its job and its files disagree on whether test images or"
                " corrupted ones were predicted, or weights kept: make retrain"
                f" RUNS='{'/'.join(run.path.parts[-4:])}'"
            ),
        )
    asked = run.predictions.get("corruptions")
    if asked is not None and list(asked) != spoilt(CORRUPTIONS):
        yield (
            "stale",
            (
                f"{name}: its corrupted images are other ones than those of notebook"
                f" 05: make retrain RUNS='{'/'.join(run.path.parts[-4:])}'"
            ),
        )


def check_record(run, job, known):
    """Yield what a record says of its recipe and its cost, and its fingerprint and its
    network do not.
    """
    record = run.record
    images = training_images(run, job.recipe, known)
    arguments = json.dumps(job.recipe.model_arguments, sort_keys=True)
    shape, classes = known.shape, len(known.classes)
    parameters, of_an_image = costs(job.build, shape, classes, arguments)
    total = 3 * of_an_image * images * record["epochs_run"]
    for what, given, due in (
        ("recipe", plain(record["recipe"]), plain(asdict(job.recipe))),
        ("protocol", record["protocol"], PROTOCOL),
        ("parameters", record["parameters"], parameters),
        ("epochs_run", record["epochs_run"], job.recipe.epochs),
        ("pflop", record["pflop"], round(total / 1e15, 6)),
    ):
        if given != due:
            yield (
                "differs",
                (
                    f"{relative(run.path)}/run.json: {what} is not what its fingerprint"
                    f" and its network give ({due})"
                ),
            )


def plain(recipe):
    """Return a recipe as text, without what hashes leave out."""
    return json.dumps(hashed(recipe), sort_keys=True)


def training_images(run, recipe, known):
    """Return on how many images a recipe trains; where copies decide, as many as have
    an answer in the run's predictions.
    """
    if recipe.leave_out or recipe.fit_on:
        return len(run.predictions["training_right"])
    return math.floor(SIZES[known.name] * (recipe.subset or 1))


@cache
def costs(build, shape, classes, arguments):
    """Return (parameters, operations for one image) of the network that a function
    builds.
    """

    def count():
        network = built(build, shape, classes, json.loads(arguments))
        return int(network.count_params()), operations(network)

    return apart(sketched, count)


def waiting(job, known):
    """Return whether a seed of the job's network with its recipe of now is finished and
    waits in data/next for the others.
    """
    seeds = map(undamaged, (NEXT / job.name).parent.glob("seed-*"))
    return any(
        fingerprint(replace(job, seed=run.record["seed"]), known)
        == run.record["fingerprint"]
        for run in filter(None, seeds)
    )


def check_alike():
    """Yield each run that has the weights or the predictions of another one: two
    trainings never give the same.
    """
    seen = {}
    for run in filter(None, map(undamaged, places(RUNS, NEXT))):
        digests = {"weights": run.record["weights_sha256"]}
        if run.record["weights_file_sha256"]:
            digests["weights.npz"] = run.record["weights_file_sha256"]
        for name, array in run.predictions.items():
            if "probabilities" in name or "p_answer" in name:
                digests[name] = sha256(np.ascontiguousarray(array).tobytes())
        for what, digest in digests.items():
            first = seen.setdefault(digest, relative(run.path))
            if first != relative(run.path):
                yield (
                    "differs",
                    f"{relative(run.path)}: its {what} are those of {first}, too",
                )


def check_unread():
    """Yield each file and folder in data/ that belongs to nothing, and each run on our
    data sets that no notebook has read, once all seeds of its network are there.
    """
    homes = places(RUNS, NEXT)
    if not homes:
        yield "differs", f"{relative(RUNS)} holds no run: git checkout it"
    known = {DATA / name for name in IN_DATA} | {*own.datasheets()}
    known |= {DATA / "splits" / f"{name}.npz" for name in SPLITS}
    known |= {home / name for home in homes for name in IN_RUN}
    known |= {folder for home in homes for folder in [home, *home.parents]}
    named = []
    for path in sorted([*DATA.iterdir(), *inside(DATA / "splits", RUNS, NEXT)]):
        hidden = any(part.startswith(".") for part in path.relative_to(DATA).parts)
        if path not in known and not hidden and not {*path.parents} & {*named}:
            named.append(path)
            yield (
                "stale",
                f"{relative(path)} is read by nothing: move it out of data (sets go"
                " into data/raw), or delete it if nobody needs it",
            )
    if None in stamps().values():
        return
    read = {name for stamp in stamps().values() for name in stamp["runs"]}
    unfinished = {(RUNS / name).parent for name in plan() if not (RUNS / name).exists()}
    for home in places(RUNS):
        name = home.relative_to(RUNS).as_posix()
        ours = name.split("/")[0] in DATA_SETS  # build/ holds who reads the others
        if ours and name not in read and home.parent not in unfinished:
            yield (
                "stale",
                f"{relative(home)} is read by no notebook (make reproduce), or by none"
                " any more (delete it)",
            )


def inside(*tops):
    """Return all files and folders below the folders `tops`."""
    return [path for top in tops for path in top.rglob("*")]


def check_splits(name):
    """Yield whether the stored splits of a data set are missing or altered."""
    path = DATA / "splits" / f"{name}.npz"
    if not path.exists() or sha256(path) != SPLITS[name]:
        yield "differs", f"{relative(path)} is missing or altered: git checkout it"


# --- figures, numbers and pages


def check_confusion(path):
    """Yield what is wrong with a stored confusion matrix."""
    dataset, model = path.stem.split("_confusion_")[1], None
    for name in datasets.KNOWN:
        if dataset.startswith(f"{name}_"):
            dataset, model = name, dataset.removeprefix(f"{name}_")
    if model is None:
        return  # check_leftovers names it
    folder = RUNS / dataset / model / "main"
    if damaged(folder):
        yield (
            "differs",
            f"{relative(path)} cannot be compared: a run of it is damaged",
        )
        return
    run = next(iter(headline(folder)[0]), None)
    if run is None or path.read_text() != confusion_csv(
        confusion(*run.test()), datasets.KNOWN[dataset].classes
    ):
        yield (
            "differs",
            f"{relative(path)} is not the confusion matrix of the stored predictions",
        )


def check_leftovers():
    """Yield each figure, matrix or table that nothing writes any more."""
    written = {
        ROOT / file for stamp in stamps().values() if stamp for file in stamp["files"]
    }
    try:
        written |= {GENERATED / name for name in [*derived(), "stamp.json"]}
    except Exception:  # check_generated says why
        written |= {*GENERATED.glob("[!0-9]*")}
    unknown = tuple(path.stem[:3] for path, stamp in stamps().items() if not stamp)
    for path in sorted(inside(FIGURES, GENERATED)):
        if path not in written and not path.name.startswith((".", *unknown)):
            yield (
                "stale",
                f"{relative(path)} is written by no notebook any more: move it away,"
                " or delete it",
            )


@cache
def derived():
    """Return {file name: text} of what tools/report.py makes of numbers and runs."""
    return report.generated(GENERATED, RUNS)


@cache
def computed_numbers():
    """Return {key: Number} of all networks whose runs are undamaged."""
    expected = {}
    for variant, group in itertools.groupby(places(RUNS), lambda home: home.parent):
        if not damaged(variant):
            seeds = headline(variant)[0] if variant.name == "main" else None
            expected |= numbers_of(seeds or Seeds(map(undamaged, group)))
    return expected


def check_numbers(path):
    """Yield each number of a notebook that does not follow from the runs."""
    for key, number in numbers_in(json.loads(path.read_text())).items():
        due = computed_numbers().get(key)
        if due and not same(number, due):
            yield (
                "differs",
                (
                    f"{relative(path)}: {key} is {due.value!r} ({due.form}) when"
                    " computed from the runs"
                ),
            )


def check_generated():
    """Yield each file in report/generated that does not follow from the notebooks'
    numbers and the runs.
    """
    written = {path.stem for path in GENERATED.glob("[0-9][0-9]_*.json")}
    whole = written == {*contents(GENERATED)}
    for name, text in derived().items():
        path = GENERATED / name
        if not path.exists():
            yield "differs", f"{relative(path)} is missing"
            continue
        given, due = path.read_text().splitlines(), text.splitlines()
        lines = sorted({*due} - {*given} | ({*given} - {*due} if whole else set()))
        if not lines and whole and path.read_text() != text:
            lines = ["the order of its lines"]
        for line in lines[:SHOWN]:
            yield ("differs", f"{relative(path)} is not what the results give: {line}")


def check_report():
    """Yield what is wrong with report.pdf, which names the hash of its sources."""
    inputs = report.inputs()
    stamp = report.read_json(GENERATED / "stamp.json")
    own = re.search(rb"/Sources ?\((\w*)\)", PDF.read_bytes())
    if stamp["inputs"] != inputs:
        yield (
            "stale",
            (
                "report/report.pdf was built from other sources, figures or numbers:"
                " make report"
            ),
        )
    if stamp["pdf"] != sha256(PDF):
        yield (
            "differs",
            (
                "report/report.pdf is another file than the one that was built: make"
                " report"
            ),
        )
    if not own:
        yield "stale", "report/report.pdf does not name its sources: make report"
    elif own[1].decode() != inputs:
        yield (
            "stale",
            "report/report.pdf says that it was built from other sources: make report",
        )


def check_page(path, derive):
    """Yield whether a page is not what `derive` makes of its text."""
    text = path.read_text()
    if derive(text) != text:
        yield (
            "differs",
            f"{relative(path)}: its table does not follow from the runs: make"
            " reproduce",
        )


def check_words(path):
    """Yield each number in the sentences of a page or notebook that looks measured and
    does not follow from the runs; see `words.typed`.
    """
    for fault in words.typed(path, written_numbers()):
        yield "differs", f"{relative(path)}: {fault}"


def written_numbers():
    """Return {key: Number} of all notebooks whose numbers are undamaged, and of the
    page's speed.
    """
    return report.page_numbers() | {
        key: number
        for content in contents(GENERATED).values()
        for key, number in numbers_in(content).items()
    }


def check_expected():
    """Yield whether data/expected.json does not follow from the runs."""
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
        for run in map(undamaged, sorted((RUNS / "cifar10").glob("*/main/seed-0")))
        if run
    ).predictions
    for name, network in json.loads(path.read_text())["networks"].items():
        for split in ("validation", "test"):
            for measure, kind in (("accuracy", "answers"), ("accuracy_tta", "views")):
                if f"{split}_{kind}" not in network:
                    continue
                value = baselines.accuracy(
                    network[f"{split}_{kind}"], labels[f"{split}_labels"]
                )
                if not close(network[f"{split}_{measure}"], value):
                    yield (
                        "differs",
                        (
                            f"{relative(path)}: {name}: the {split} {measure} is"
                            f" {value!r} when computed from the answers"
                        ),
                    )


def shown_faces():
    """Return the positions of the pictures of FER2013 that the notebooks show."""
    return {face for book in contents(GENERATED).values() for face in book["faces"]}


def check_faces():
    """Yield whether more pictures of FER2013 are shown than may be."""
    if (count := len(shown_faces())) > FACES:
        yield (
            "differs",
            f"{count} pictures of FER2013 are shown, at most {FACES} may be: draw fewer"
            " in the notebooks",
        )


def items():
    """Yield (title, function, arguments) of everything that is checked."""
    yield "what the notebooks share", check_shared, ()
    for name in SPLITS:
        yield f"data/splits/{name}.npz", check_splits, (name,)
    for folder in places(RUNS, NEXT):
        yield f"run {relative(folder)}", check_run, (folder,)
    yield "runs that are alike", check_alike, ()
    yield "what nothing reads in data", check_unread, ()
    written = sorted(GENERATED.glob("[0-9][0-9]_*.json"))
    books = {notebooks.FOLDER / f"{path.stem}.ipynb" for path in written}
    for path in sorted({*notebooks.paths(), *books}):
        yield f"outputs of {relative(path)}", check_outputs, (path,)
    for path in sorted(FIGURES.glob("*_confusion_*.csv")):
        yield f"matrix {relative(path)}", check_confusion, (path,)
    yield "what is left in figures and report/generated", check_leftovers, ()
    if (path := DATA / "baselines.json").exists():
        yield relative(path), check_baselines, (path,)
    for path in written:
        yield f"numbers in {relative(path)}", check_numbers, (path,)
    yield "numbers and tables in report/generated", check_generated, ()
    yield "pictures of FER2013 that are shown", check_faces, ()
    yield relative(PDF), check_report, ()
    yield "README.md", check_page, (ROOT / "README.md", report.readme)
    card = report.MODEL_CARD
    yield relative(card), check_page, (card, report.model_card)
    yield relative(EXPECTED), check_expected, ()
    for path in pages():
        yield f"numbers in the sentences of {relative(path)}", check_words, (path,)


def pages():
    """Return the files whose sentences are checked."""
    documents = [ROOT / "README.md", DATA / "README.md", report.MODEL_CARD]
    return [*documents, *sorted(ROOT.glob("docs/*.md")), *notebooks.paths()]


def check_shared():
    """Yield each file that `make sync` would change; where a notebook is damaged, each
    cell of the others that is not in the module that gathers it.
    """
    try:
        for fault in notebooks.out_of_sync():
            yield "stale", fault
    except LabError as error:
        yield "differs", f"not all can be compared: {error}"
        for path in filter(stamps().get, notebooks.paths()):
            book = notebooks.read(path)
            for tag, module in GATHERED.items():
                text = (notebooks.FOLDER / "lab" / f"{module}.py").read_text()
                for cell in notebooks.tagged(book, tag):
                    if cell.source not in text:
                        yield (
                            "stale",
                            f"notebooks/lab/{module}.py lacks a cell of {path.name}",
                        )


def check_outputs(path):
    """Yield in what the outputs of a notebook are not those of its run."""
    return (("stale", fault) for fault in notebooks.stale(path, RUNS))


def findings(title, check, arguments):
    """Return the findings of an item; an error while it is checked is one of them."""
    faults = []
    try:
        faults.extend(check(*arguments))
    except Exception as error:
        faults.append(("differs", f"{title}: {said(error)}"))
    return faults


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
        probabilities, _ = group[0].test()
        highest = np.sort(probabilities.astype(np.float64), axis=1)
        turning = 100 * np.mean(highest[:, -1] - highest[:, -2] < CLOSE)
        accuracies = [run.record["metrics"]["test"]["accuracy"] for run in group]
        retrained = "one seed"
        if len(accuracies) > 1:
            low, high = prediction_interval(accuracies)
            retrained = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{f'{dataset}/{model}':54} {100 * accuracies[0]:6.2f}"
            f" {f'± {turning:.2f}':>13} {retrained:>14}"
        )
    return lines


EXAMPLE = {  # entries of pyproject.toml to be replaced
    "repository": "OWNER/",
    "author": "Dense to Conv",
    "course": "Image classification coursework",
}


def unfilled():
    """Return the entries of pyproject.toml that are empty or still have the example's
    value.
    """
    about = notebooks.project()
    return [
        name
        for name, value in about.items()
        if not value.strip() or name in EXAMPLE and EXAMPLE[name] in value
    ]


def reminders():
    """Yield a sentence for each entry of pyproject.toml that is not filled in, and one
    each on pages with open places, on faces, on jobs without a run, and on unused
    figures.
    """
    for page, count in own.open_places().items():
        yield f"{page}: {count} place{'s' * (count != 1)} still open"
    about = notebooks.project()
    for name in unfilled():
        fault = f"still has the example's {name}, {about[name]}"
        yield (
            f"pyproject.toml {fault if about[name] else f'has no {name}'}: see"
            " README.md, Adapt it to your coursework"
        )
    if shown := shown_faces():
        yield (
            f"{len(shown)} pictures of FER2013 are shown, of at most {FACES}; their"
            ' positions are listed under "faces" in report/generated'
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
        text_of(path) for path in sorted((ROOT / "report" / "sections").glob("*.tex"))
    )
    written = [
        name
        for content in report.notebooks_of(GENERATED).values()
        for name in content["figures"] | content["tables"]
    ]
    if unused := [name for name in written if f"{{{name}}}" not in sections]:
        yield f"figures and tables that the report does not show: {', '.join(unused)}"


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=(
            f"{__doc__} A line is printed for each item: fresh, stale (out of date) or"
            " differs (not what was computed)."
        ),
        epilog="The status is 1 where anything is stale or differs.",
    )
    made.add_argument(
        "--claims",
        action="store_true",
        help="list the sentences that compare or give a reason, for a last reading",
    )
    return made


def list_claims():
    """Print the sentences that compare, by file."""
    for path in [*pages(), *sorted((ROOT / "report" / "sections").glob("*.tex"))]:
        print(relative(path))
        for sentence in words.claims(path):
            print(f"    {sentence}")


def main():
    """Print the table and return the exit status."""
    runs.read = report.read = undamaged
    report.notebooks_of = contents
    bad = 0
    for title, check, arguments in items():
        faults = findings(title, check, arguments)
        bad += len(faults)
        print(f"{faults[0][0] if faults else 'fresh':8} {title}")
        for state, sentence in faults:
            print(f"         {state}: {sentence}")
    for kind, shown in (("", levels), ("reminder ", reminders)):
        try:
            lines = [f"{kind}{line}" for line in shown()]
        except LabError as error:
            lines, bad = [f"differs: {error}"], bad + 1
        except Exception:
            continue  # what cannot be read is named above
        print("\n".join(["", *lines]))
    print(
        f"\n{bad} findings"
        if bad
        else "\nAll fresh: every number follows from a stored run."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    listed = parser().parse_args().claims
    sys.exit(notebooks.guarded(list_claims if listed else main))
