"""How far annotators agree, with intervals, and what that allows a network."""

from itertools import combinations

import numpy as np

from .labels import UNSURE

DRAWS, SEED = 2000, 0


def cohen(matrix):
    """Return Cohen's kappa of confusion matrices, (..., classes, classes): the rows one
    annotator, the columns another; NaN where chance alone would agree.

    Source: J. Cohen (1960).
    """
    total = matrix.sum(axis=(-2, -1))
    same = np.trace(matrix, axis1=-2, axis2=-1) / total
    chance = (matrix.sum(axis=-1) * matrix.sum(axis=-2)).sum(axis=-1) / total**2
    return kappa(same, chance)


def fleiss(sums):
    """Return Fleiss' kappa from sums over pictures, (..., 2 + classes): the number of
    pictures, the share of pairs of votes that agree, the votes for each class.

    Pictures may have different numbers of votes, two at least. Source: J. L. Fleiss
    (1971).
    """
    pictures, same, votes = sums[..., 0], sums[..., 1], sums[..., 2:]
    shares = votes / votes.sum(axis=-1, keepdims=True)
    return kappa(same / pictures, (shares**2).sum(axis=-1))


def kappa(same, chance):
    """Return by how much agreement exceeds chance, 1 for full agreement."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (same - chance) / (1 - chance), np.nan)[()]


def fleiss_parts(counts):
    """Return what `fleiss` sums, (pictures, 2 + classes).

    counts: (pictures, classes), the votes; each picture has two or more.
    """
    n = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1) / (n * (n - 1))
    return np.column_stack([np.ones(len(n)), same, counts])


def with_interval(parts, groups, statistic):
    """Return (value, low, high) of a statistic of sums over pictures: its 95 %
    interval is the bootstrap's. None stands for what is not defined.

    parts: (pictures, ...), what is summed; groups: (pictures,), integers. Whole groups
    are drawn, since pictures of one film or person are alike.
    """
    _, groups = np.unique(groups, return_inverse=True)
    sums = np.zeros((groups.max() + 1, *parts.shape[1:]))
    np.add.at(sums, groups, parts)
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS)
    values = statistic(np.tensordot(drawn, sums, axes=1))
    many = len(sums) > 1 and np.isfinite(values).any()
    ends = np.nanpercentile(values, [2.5, 97.5]) if many else (np.nan, np.nan)
    return tuple(
        None if np.isnan(value) else float(value)
        for value in (statistic(sums.sum(axis=0)), *ends)
    )


def between(votes, classes):
    """Return the confusion matrices of two annotators, (pictures, classes, classes),
    and the pictures that both labelled.

    votes: a DataFrame with two columns.
    """
    both = votes.dropna()
    rows, columns = (both.iloc[:, i].map(classes.index).to_numpy(int) for i in (0, 1))
    parts = np.zeros((len(both), len(classes), len(classes)))
    parts[np.arange(len(both)), rows, columns] = 1
    return parts, list(both.index)


def agreement(labels):
    """Return what can be said of how far the annotators agree, as JSON can hold it.

    labels: a `labels.Labels`. "fleiss", "ceiling" and each pair's "kappa" are (value,
    low, high), None where fewer than two annotators labelled the same pictures.
    """
    collection, votes = labels.collection, labels.votes()
    classes, groups = collection.classes, collection.groups()
    group_of = {name: i for i, name in enumerate(dict.fromkeys(groups.values()))}
    number = {picture: group_of[group] for picture, group in groups.items()}
    counts = labels.counts()
    several = counts.sum(axis=1) >= 2
    summary = {
        "annotators": {
            name: {
                "pictures": sum(annotator.counts().values()),
                "unsure": list(annotator.labels.values()).count(UNSURE),
            }
            for name, annotator in labels.annotators.items()
        },
        "pictures": int(several.sum()),
        "groups": len({number[name] for name in votes.index[several]}),
        "fleiss": None,
        "ceiling": None,
        "pairs": [],
        "disputed": [],
        "tied": 0,
    }
    if several.any():
        here = np.array([number[name] for name in votes.index[several]])
        counts = counts[several]
        summary["fleiss"] = with_interval(fleiss_parts(counts), here, fleiss)
        most = np.column_stack([counts.max(axis=1), counts.sum(axis=1)])
        summary["ceiling"] = with_interval(most, here, lambda s: s[..., 0] / s[..., 1])
        summary["disputed"] = disputed(
            labels, votes[several][(counts > 0).sum(axis=1) > 1]
        )
        final = labels.final()
        summary["tied"] = sum(
            case["picture"] not in final for case in summary["disputed"]
        )
    for annotator, other in combinations(votes, 2):
        parts, pictures = between(votes[[annotator, other]], classes)
        if pictures:
            here = np.array([number[name] for name in pictures])
            summary["pairs"].append(
                {
                    "annotators": [annotator, other],
                    "pictures": len(pictures),
                    "same": float(np.trace(parts.sum(axis=0)) / len(pictures)),
                    "kappa": with_interval(parts, here, cohen),
                    "confusion": parts.sum(axis=0).astype(int).tolist(),
                }
            )
    return summary


def disputed(labels, votes):
    """Return [{picture, votes: {class: annotators}, decided}] of pictures on which
    annotators disagree.
    """
    cases = []
    for picture, row in votes.iterrows():
        said = {}
        for annotator, label in row.dropna().items():
            said.setdefault(label, []).append(annotator)
        decided = labels.decisions.get(picture)
        cases.append({"picture": picture, "votes": said, "decided": decided})
    return cases
