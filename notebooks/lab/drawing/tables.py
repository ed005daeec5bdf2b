"""What notebooks and report print as tables."""

from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy.stats import t

from ..methods.statistics import (
    between,
    class_intervals,
    gain,
    p_text,
    percent,
    pooled,
    signed,
    unleaked,
    with_interval,
    worth,
)
from ..plumbing.building import functional, output_shape
from ..plumbing.fingerprint import architecture
from ..plumbing.names import BASE
from ..plumbing.records import GONE, setting, spoilt
from ..taught import (
    CORRUPTIONS,
    confusion,
    coverage,
    half_interval,
    holm,
    largest_confusions,
    mcnemar,
    precision_recall_f1,
    prediction_interval,
    welch,
    wilson,
)

# Hyper-parameters that are shown where they are set.
SELDOM = ("fit_on", "leave_out", "views")

# The corruptions that the networks of notebook 05 were not trained with.
UNSEEN = ["occlusion", "JPEG"]


def row(seeds):
    """Return a row of a table on the Seeds of a network: test metrics in percent,
    seeds, parameters, minutes.

    All are means; accuracies with the standard deviation where there are several runs;
    the interval is that of the mean accuracy. Where test images have the pixels of a
    training image, the accuracy without them is added; likewise that with test-time
    augmentation.
    """
    low, high = seeds.interval()
    cells = {
        "accuracy": seeds.percent(),
        "interval": f"{100 * low:.1f} to {100 * high:.1f}",
    }
    extra = {"views": "accuracy_tta", "not leaked": "accuracy_without_leaked"}
    for name, metric in extra.items():
        if seeds.has("test", metric):
            cells[name] = seeds.percent("test", metric)
    classes = {"balanced": "balanced_accuracy", "macro-F1": "macro_f1"}
    for name, metric in classes.items():
        cells[name] = f"{100 * seeds.mean('test', metric):.1f}"
    return cells | {
        "seeds": str(len(seeds)),
        "parameters": f"{seeds[0].record['parameters']:,}",
        "PFLOP": f"{seeds[0].record['pflop']:.2g}",
        "minutes": minutes(seeds),
    }


def minutes(seeds):
    """Return the mean minutes of a training as text; "GPU" where a graphics card
    trained it.
    """
    device = seeds[0].record["environment"]["device"]
    card = any(name in device for name in ("NVIDIA", "Tesla", "GPU"))
    return f"{seeds.seconds() / 60:.1f}" + " (GPU)" * card


def scores(named, refits=None):
    """Return the table of `row` for {name: Seeds}, one row a name.

    refits: {name: Seeds} of some of them, trained on the validation images, too; their
        accuracy is that with views, where they have some.
    """
    table = pd.DataFrame({name: row(seeds) for name, seeds in named.items()}).T
    if refits:
        again = {}
        for name, seeds in refits.items():
            views = "accuracy_tta" if seeds.has("test", "accuracy_tta") else "accuracy"
            again[name] = seeds.percent("test", views)
        table["refit"] = pd.Series(again)
    first = ("accuracy", "interval", "views", "refit", "not leaked")
    order = [name for name in first if name in table]
    return table[order + [name for name in table if name not in order]].fillna("")


def by_title(finished, datasets):
    """Return {"data set: network": Seeds} for {data set's name: {model: Seeds}}."""
    return {
        f"{dataset.title}: {seeds.title}": seeds
        for dataset in datasets
        for seeds in finished[dataset.name].values()
    }


def steps(points, before):
    """Return a table of networks that were trained alike, one row each, and what each
    step is worth.

    points: {name: Seeds}; before: {name: names of the networks that it is compared
        with}; a second one gets a row without a name. Accuracy in percent: of the kept
        epoch on validation and test images, and of the last epoch on validation images.
        *Worth* is of the kept weights on test images, in points with the interval of
        `worth`; *worth, last* is of the last epoch on validation images, and its 95 %
        interval counts seeds alone, as in `half_interval`. TFLOP are 1e12 operations,
        for one training.
    """
    names, rows = [], []
    for name, seeds in points.items():
        record, last = seeds[0].record, _last(seeds)
        row = {
            "epoch kept": f"{np.mean([run.record['best_epoch'] for run in seeds]):.1f}",
            "last epoch": f"{100 * np.mean(last):.1f}",
            "validation": seeds.percent("validation"),
            "test": seeds.percent(),
            "parameters": f"{record['parameters']:,}",
            "TFLOP": f"{1000 * record['pflop']:.3g}",
            "compared with": "",
            "worth": "",
            "worth, last": "",
        }
        for other in [other for other in before.get(name, ()) if other in points]:
            difference, half = last.mean() - _last(points[other]).mean(), np.nan
            if min(len(seeds), len(points[other])) > 1:
                half = half_interval(0, _last(points[other]), last)
            row["compared with"] = other
            row["worth"] = signed(*worth(points[other], seeds))
            row["worth, last"] = signed(
                difference, difference - half, difference + half
            )
            names, rows = [*names, name], [*rows, row]
            name, row = "", dict.fromkeys(row, "")
        if name:
            names, rows = [*names, name], [*rows, row]
    return pd.DataFrame(rows, index=names)


def _last(seeds):
    """Return the validation accuracy of the last epoch of each seed, (n,)."""
    return np.array([run.history["validation_accuracy"].iloc[-1] for run in seeds])


def three_splits(named):
    """Return the accuracy in percent on training, validation and test images of the
    first seed, one row a network.

    named: {name: Seeds}. The last column is what training accuracy has over test
        accuracy, in points. Networks whose training accuracy was not measured are left
        out.
    """
    metrics = {name: seeds[0].record["metrics"] for name, seeds in named.items()}
    splits = ("training", "validation", "test")
    rows = {
        name: {split: 100 * values[split]["accuracy"] for split in splits}
        for name, values in metrics.items()
        if "training" in values
    }
    table = pd.DataFrame(rows).T
    if not rows:
        return table
    return table.assign(gap=table["training"] - table["test"]).map("{:.1f}".format)


def class_scores(run, classes):
    """Return `class_intervals` of a Run's test images; where copies of training images
    are among them, F1 also without these.
    """
    table, (p, labels) = class_intervals(*run.test(), classes), unleaked(run, "test")
    if len(labels) < len(run.test()[1]):
        scores = precision_recall_f1(confusion(p, labels))[2]
        table["F1, not leaked"] = [f"{100 * score:.1f}" for score in scores]
    return table


def on_copies(named):
    """Return a table of accuracy in percent, a row for each of {name: Seeds}: on the
    leaked test images, on the others, and on the others if their classes were as
    frequent as among the leaked ones; the difference is that of the first two.
    """
    rows = {}
    for name, seeds in named.items():
        leaked, labels = seeds[0].predictions["test_leaked"], seeds[0].test()[1]
        here, there = (
            np.bincount(labels[part], minlength=labels.max() + 1)[labels[~leaked]]
            for part in (leaked, ~leaked)
        )
        right, other = seeds.right()[leaked].mean(), seeds.right()[~leaked]
        rows[name] = {
            "leaked": right,
            "others": other.mean(),
            "difference": right - other.mean(),
            "others, same classes": np.average(other, weights=here / there),
        }
    return (100 * pd.DataFrame(rows).T).map("{:.1f}".format)


def trials(chosen, tried):
    """Return a table of trainings at full length, the chosen recipe of each data set
    before its trials: validation accuracy in percent, with several views, too.

    chosen: {title: Seeds}; tried: {title: {variant: Seeds}}.
    """
    rows = {}
    for title, variants in tried.items():
        for name, seeds in ({"as chosen": chosen[title]} | variants).items():
            record = seeds[0].record
            rows[f"{title}, {name.removeprefix('trial-')}"] = {
                "validation": seeds.percent("validation"),
                "views": seeds.percent("validation", "accuracy_tta")
                if seeds.has("validation", "accuracy_tta")
                else "",
                "seeds": str(len(seeds)),
                "epochs": str(record["epochs_run"]),
                "PFLOP": f"{record['pflop']:.2f}",
            }
    return pd.DataFrame(rows).T


def against_base(study, macro_f1=False):
    """Return a table of a study, one row a point: validation accuracy, its difference
    to the base, and what it says.

    study: {factor: {variant: Seeds}}; the base is the variant "study-base", or else the
        first. Accuracies in percent (mean ± standard deviation over seeds), differences
        in points. p is of the t-test with the `pooled` standard deviation, corrected by
        `holm`; below 0.05 the point is better or worse. Else the verdict tells below
        how many points the difference lies, either way: the further end of its 95 %
        interval. *Last epoch*: the mean accuracy after it, where another may be kept.
    macro_f1: show the macro-F1, too, which counts rare classes as much as frequent
        ones.
    """
    points = {
        f"{factor} {name.split('-', 1)[1]}": seeds
        for factor, points in study.items()
        for name, seeds in points.items()
    }
    bases = [seeds for seeds in points.values() if seeds[0].record["variant"] == BASE]
    base = bases[0] if bases else next(iter(points.values()))
    others = {name: seeds for name, seeds in points.items() if seeds is not base}
    references = [base] * len(others)
    return _compared({"base": base} | others, references, study, macro_f1)


def step_by_step(points, study):
    """Return the same table for points that follow on one another, each compared with
    the one before.

    points: {name: Seeds}; study: what the standard deviation is pooled over.
    """
    return _compared(points, list(points.values())[:-1], study)


def _compared(points, references, study, macro_f1=False):
    """Return a row for each of `points`; the first has no reference."""
    first, *others = points.items()
    deviation, freedom = pooled(study)
    differences, errors = np.zeros(len(others)), np.zeros(len(others))
    for i, ((_, seeds), reference) in enumerate(zip(others, references)):
        differences[i] = seeds.mean("validation") - reference.mean("validation")
        errors[i] = deviation * np.sqrt(1 / len(seeds) + 1 / len(reference))
    p_values = bounds = np.full(len(others), np.nan)
    if freedom:
        p_values = holm(2 * t.sf(np.abs(differences) / errors, freedom))
        bounds = np.abs(differences) + t.ppf(0.975, freedom) * errors
    rows = {first[0]: _point(first[1], macro_f1)}
    told = zip(others, differences, p_values, bounds)
    for (name, seeds), difference, p, bound in told:
        verdict = "better" if difference > 0 else "worse"
        if not p < 0.05:
            within = f", < {np.ceil(1000 * bound) / 10:.1f}" if freedom else ""
            verdict = f"cannot tell{within}"
        rows[name] = _point(seeds, macro_f1) | {
            "difference": f"{round(100 * difference, 1) + 0.0:+.1f}",
            "p": p_text(p),
            "verdict": verdict,
        }
    table = pd.DataFrame(rows).T.fillna("")
    if "" in set(table.get("last epoch", ())):  # networks whose last epoch is kept
        del table["last epoch"]
    last = [name for name in table if name in ("last epoch", "parameters", "PFLOP")]
    return table[[name for name in table if name not in last] + last]


def _point(seeds, macro_f1):
    wanted = {"accuracy": "accuracy"}
    wanted |= {"macro-F1": "macro_f1"} if macro_f1 else {}
    wanted |= {"views": "accuracy_tta"}
    cells = {
        name: seeds.percent("validation", metric)
        for name, metric in wanted.items()
        if seeds.has("validation", metric)
    }
    if seeds[0].record["recipe"]["keep"] != "last_epoch":
        cells["last epoch"] = f"{100 * _last(seeds).mean():.1f}"
    cells["parameters"] = f"{seeds[0].record['parameters']:,}"
    return cells | {"PFLOP": f"{seeds[0].record['pflop']:.2g}"}


def pairs(finished, datasets):
    """Return the tables of `compare` of several data sets as one.

    finished: {data set's name: {model: Seeds}}.
    """
    tables = [pd.DataFrame()]
    for dataset in datasets:
        table = compare(finished[dataset.name])
        short = table.index.astype(str).str.replace(
            r" (convolutions?|CNN)", "", regex=True
        )
        tables.append(table.set_axis(f"{dataset.title}: " + short))
    return pd.concat(tables)


def compare(seeds_by_model):
    """Return a table of every network against every later one, on the same test images.

    seeds_by_model: {model: Seeds}. b, c and p come from `mcnemar` on the first seeds; g
        is Cohen's effect size c / (b + c) - 1/2; the difference is that of the mean
        accuracies in points; p seeds is that of `welch` on the accuracies of all seeds.
        Both p are corrected by `holm`. A network is called better where both are below
        0.05, with one seed where the first is.
    """
    rows, names = [], list(seeds_by_model)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            rows.append(_pair(seeds_by_model[name], seeds_by_model[other]))
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).set_index("pair").rename_axis(None)
    for name in ("p", "p seeds"):
        known = table[name].dropna()
        p = pd.Series(holm(known.to_numpy()), known.index)
        table.loc[p.index[p >= 0.05], "verdict"] = "cannot tell"
        table[name] = p.reindex(table.index).map(p_text)
    return table


def _pair(before, after):
    """Return the row of two networks, with p not yet corrected."""
    right = [type(seeds)(seeds[:1]).right().astype(bool) for seeds in (before, after)]
    b, c, p = mcnemar(*right)
    old, new = (seeds.values("test", "accuracy") for seeds in (before, after))
    difference = 100 * gain(before, after)[0]
    verdict = "second better" if difference > 0 else "first better"
    return {
        "pair": f"{before.title}, {after.title}",
        "only first": f"{b:,}",
        "only second": f"{c:,}",
        "g": f"{c / (b + c) - 0.5:+.2f}" if b + c else "",
        "p": p,
        "difference": f"{difference:+.1f}",
        "p seeds": welch(old, new),
        "verdict": "cannot tell" if (c - b) * difference < 0 else verdict,
    }


def confusions(seeds_by_model, classes):
    """Return a table of the 6 largest confusions of the first network: the test images
    under each network, of its first seed.
    """
    counts = {
        seeds.title: confusion(*seeds[0].test()) for seeds in seeds_by_model.values()
    }
    rows = {}
    first = next(iter(counts.values()))
    for true, answer, _ in largest_confusions(first, classes, 6):
        place = list(classes).index(true), list(classes).index(answer)
        rows[f"{true} taken for {answer}"] = {
            title: int(matrix[place]) for title, matrix in counts.items()
        }
    return pd.DataFrame(rows, index=list(counts)).T


def f1(seeds_by_model, classes):
    """Return F1 of each class, one row, under the first seed of each network."""
    scores = {
        seeds.title: precision_recall_f1(confusion(*seeds[0].test()))[2]
        for seeds in seeds_by_model.values()
    }
    return pd.DataFrame(scores, index=list(classes))


def surest(named, split="test"):
    """Return a table of the accuracy of the surest answers in percent with 95 %
    intervals, one row a network, by its first seed.

    named: {name: Seeds}.
    """
    rows = {}
    for name, seeds in named.items():
        stored = seeds[0].test() if split == "test" else seeds[0].validation()
        right = coverage(*stored)[1]
        rows[name] = row = {}
        for share in (0.05, 0.25, 0.5, 1):
            n = max(1, int(share * len(right)))
            kind = f"surest {share:.0%}" if share < 1 else "all"
            row[kind] = between(right[n - 1], *wilson(right[n - 1], n))
    return pd.DataFrame(rows).T


def by_group(right, groups):
    """Return a table of the accuracy in groups of images, one row a group that has any:
    value, low and high of its 95 % interval, images.

    right: (n,) bool; groups: {name: (n,) bool}.
    """
    rows = {}
    for name, mine in groups.items():
        if not mine.any():
            continue
        share, n = right[mine].mean(), int(mine.sum())
        low, high = wilson(share, n)
        rows[name] = {"value": share, "low": low, "high": high, "images": n}
    return pd.DataFrame(rows).T.astype({"images": int})


def by_corruption(runs, title):
    """Return {row: {column: text}}, one row a network of the data set `title`: the
    accuracy on untouched images, the mean accuracy over the strengths of each
    corruption, the points lost on average, and that less the loss of the first
    network, image by image; see `with_interval`.

    runs: {network: Run}. A row is empty where a run has no answers to the corruptions
        of notebook 05, with their amounts.
    """
    asked = [
        (kind, strength)
        for kind, (_, amounts) in CORRUPTIONS.items()
        for strength in range(len(amounts) + 1)
    ]
    rows, losses = {}, []
    for name, run in runs.items():
        rows[f"{title}: {name}"] = row = {}
        if list(run.predictions.get("corruptions", ())) != spoilt(CORRUPTIONS):
            losses.append(None)
            continue
        columns = pd.MultiIndex.from_tuples(asked)
        table = pd.DataFrame(run.predictions["corrupted_right"], columns=columns)
        untouched = table.xs(0, axis=1, level=1).mean(axis=1)
        kinds = table.drop(columns=0, level=1).T.groupby(level=0).mean().T
        losses.append(untouched - kinds.mean(axis=1))
        means = {"untouched": untouched, **kinds, "lost": losses[-1]}
        row |= {key: f"{100 * values.mean():.1f}" for key, values in means.items()}
        if losses[0] is not None:
            more = losses[-1] - losses[0]
            row["lost more"] = with_interval(more) if len(losses) > 1 else ""
    return rows


def withstood(right, title):
    """Return a table of what networks lose under corruption, one row a network of the
    data set `title`.

    right: {network: a table of `statistics.tried`}. The corruptions of `UNSEEN` have a
        column of their own. The last column is the loss under all, less that of the
        first network, image by image; see `with_interval`.
    """
    rows, first = {}, None
    for name, table in right.items():
        untouched = table.xs(0, axis=1, level=1).mean(axis=1)
        changed = table.drop(columns=0, level=1)
        lost = untouched - changed.mean(axis=1)
        lost_unseen = untouched - changed[UNSEEN].mean(axis=1)
        rows[f"{title}: {name}"] = {
            "untouched": f"{100 * untouched.mean():.1f}",
            "corrupted": f"{100 * changed.mean(axis=1).mean():.1f}",
            "lost": f"{100 * lost.mean():.1f}",
            "lost, unseen": f"{100 * lost_unseen.mean():.1f}",
            "lost more": "" if first is None else with_interval(lost - first),
        }
        first = lost if first is None else first
    return pd.DataFrame(rows).T


def every_seed(seeds, classes, contradicted):
    """Return a table, one row a class and one for all: the test images, the share that
    every seed has wrong, and the shares of contradicted labels among these and among
    the others.

    contradicted: (n,) whether people's votes contradict the label of a test image.
    """
    labels, wrong, rows = seeds[0].test()[1], seeds.right() == 0, {}
    groups = {name: labels == i for i, name in enumerate(classes)}
    for name, mine in (groups | {"all": labels >= 0}).items():
        rows[name] = {
            "images": f"{mine.sum():,}",
            "every seed wrong": percent(wrong[mine]),
            "contradicted": percent(contradicted[mine & wrong]),
            "contradicted, others": percent(contradicted[mine & ~wrong]),
        }
    return pd.DataFrame(rows).T


def yardsticks(seeds_by_model, majority):
    """Return a table of how often networks agree with the label and with the
    annotators' majority of FER2013's test images, in percent; first the label itself.

    majority: (n,) classes, -1 for none, as `audit.majority` returns them; images
        without one are left out, and in the columns "not leaked" also those that are in
        training. "ahead" is by how many points the network agrees with the majority
        more often than the label itself does; see `with_interval`.
    """
    run, rows = next(iter(seeds_by_model.values()))[0], {}
    rows["Label"] = _yardstick(run.test()[1][None], majority, run)
    rows["Label"] |= {"ahead": "", "ahead, not leaked": ""}
    for seeds in seeds_by_model.values():
        kinds = {"": "test_probabilities", ", views": "test_probabilities_tta"}
        for kind, key in kinds.items():
            if key in seeds[0].predictions:
                answers = np.array(
                    [run.predictions[key].argmax(axis=1) for run in seeds]
                )
                rows[seeds.title + kind] = _yardstick(answers, majority, seeds[0])
    return pd.DataFrame(rows).T


def _yardstick(answers, majority, run):
    labels, row = run.test()[1], {}
    kinds = {"": majority >= 0}
    kinds[", not leaked"] = (majority >= 0) & ~run.predictions["test_leaked"]
    ahead = (answers == majority).mean(axis=0) - (labels == majority)
    for name, kept in kinds.items():
        row["label" + name] = f"{100 * (answers == labels)[:, kept].mean():.1f}"
        row["majority" + name] = f"{100 * (answers == majority)[:, kept].mean():.1f}"
        row["ahead" + name] = with_interval(ahead[kept])
    return row


def normal(networks, expected):
    """Return a table that compares the first run of each of some Seeds with the stored
    seeds of the same setting, in percent.

    expected: {dataset/model: the setting, accuracies and weights of our seeds}, as
        tools/report.py writes it. The interval is that of `prediction_interval`.
    """
    columns = ("here", "our mean", "our seeds", "a further run", "verdict")
    rows = {}
    for record in (seeds[0].record for seeds in networks):
        name = f"{record['dataset']}/{record['model']}"
        accuracy = record["metrics"]["test"]["accuracy"]
        known = expected.get(name, {"setting": None})
        rows[name] = row = dict.fromkeys(columns, "")
        row["here"] = f"{100 * accuracy:.1f}"
        if known["setting"] != setting(record):
            row["verdict"] = "nothing to compare with: another recipe or other data"
            continue
        ours = known["accuracies"]
        row["our mean"] = f"{100 * np.mean(ours):.1f}"
        row["our seeds"] = str(len(ours))
        row["verdict"] = "one seed gives no interval"
        if len(ours) > 1:
            low, high = prediction_interval(ours)
            row["a further run"] = f"{100 * low:.1f} to {100 * high:.1f}"
            row["verdict"] = "not normal: look for what differs"
            if low <= accuracy <= high:
                row["verdict"] = "normal"
        if record["weights_sha256"] in known["weights"]:
            row["verdict"] = "one of ours"
    return pd.DataFrame(rows).T


def hyper_parameters(run):
    """Return the recipe of a run as a table: one row a hyper-parameter, defaults
    included, but for `SELDOM`.
    """
    recipe = asdict(run.recipe) | GONE
    values = {
        name.replace("_", " "): _words(value)
        for name, value in recipe.items()
        if value is not None or name not in SELDOM
    }
    return pd.DataFrame({"value": values}).rename_axis("hyper-parameter")


def layer_table(model):
    """Return a table of a model's layers: what we set, output shape without the batch,
    parameters.
    """
    rows, model = [], functional(model)
    for (kind, settings, _, shapes, *_), layer in zip(
        architecture(model), model.operations
    ):
        settings = {} if "model" in settings else settings
        rows.append(
            {
                "layer": kind,
                "settings": _words(settings),
                "output": " × ".join(f"{n:,}" for n in output_shape(layer)),
                "parameters": f"{sum(map(np.prod, shapes)):,}",
            }
        )
    return pd.DataFrame(rows).set_index("layer")


def _words(value):
    """Return a setting as a reader writes it."""
    if isinstance(value, dict):
        named = {key.replace("_", " "): _words(part) for key, part in value.items()}
        return ", ".join(f"{key}: {part}" for key, part in named.items()) or "none"
    if isinstance(value, (list, tuple)):
        # An initialiser without arguments is its name.
        return " × ".join(str(part) for part in value if part != {})
    if isinstance(value, int) and value < 0:
        return f"−{-value}"
    if isinstance(value, float):
        text, share = f"{value:.4g}", Fraction(value).limit_denominator(255)
        if float(text) != value and np.isclose(float(share), value, rtol=1e-9):
            text = str(share)
        return text.replace("-", "−", value < 0)
    words = {"None": "none", "True": "yes", "False": "no"}
    return words.get(str(value), str(value).replace("_", " "))
