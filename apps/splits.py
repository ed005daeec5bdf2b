"""Training, validation and test without a leak: what is alike stays together."""

import csv
import io
import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from lab.methods.audit import NEAR
from lab.plumbing import photos
from lab.plumbing.files import LabError, alone, relative, sha256, write, writing
from lab.taught import unit

from .collection import INSIDE

SPLITS = ("training", "validation", "test")
SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")  # a file manager's own files
FOLDERS = dict(zip(SPLITS, ("train", "validation", "test")))
SIDE = 32  # pixels of the copies that are compared
PARTS = 7  # one part is test, one validation: 14 % each
NAMES = np.array(["test", "validation", *["training"] * PARTS])  # of the parts
TRIES, DRAWS = 20, 20  # divisions that are looked at, and drawn at random


def small_images(collection, pictures):
    """Return the pictures as uint8 (n, SIDE, SIDE, 3), their centre squares.

    Raises LabError where a copy was damaged or taken away.
    """

    def read(picture):
        try:
            image = collection.image(picture, SIDE)
        except photos.Unreadable as reason:
            raise LabError(
                f"{relative(collection.path(picture))} cannot be read ({reason}): bring"
                " it back, or delete its line in pictures.csv."
            ) from None
        return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BOX))

    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(read, pictures))
    return np.array(images, np.uint8).reshape(-1, SIDE, SIDE, 3)


def near_pairs(images, groups):
    """Return [(i, j, correlation)] of the images of different groups that are near
    copies, the nearest first. The resemblance is that of `lab.methods.audit`.

    images: uint8 (n, height, width, channels); groups: (n,) integers.
    """
    vectors, pairs = unit(images), []
    for begin in range(0, len(vectors), 500):
        scores = vectors[begin : begin + 500] @ vectors[begin:].T
        i, j = np.nonzero(scores >= NEAR)
        later = (j > i) & (groups[begin + i] != groups[begin + j])
        for row, column in zip(i[later], j[later]):
            score = float(scores[row, column])
            pairs.append((int(begin + row), int(begin + column), score))
    return sorted(pairs, key=lambda pair: -pair[2])


def joined(groups, pairs):
    """Return the groups, (n,) integers, after those of each pair (i, j, ...) have
    become one.
    """
    starts, ends = ([groups[pair[k]] for pair in pairs] for k in (0, 1))
    count = int(groups.max()) + 1
    edges = coo_array((np.ones(len(pairs)), (starts, ends)), (count, count))
    return connected_components(edges, directed=False)[1][groups]


def divided(labels, groups, classes):
    """Return the split of each picture, (n,) texts: no group stands in two, and each
    class stands in all three, in about the same share.

    labels, groups: (n,) integers; classes: their names.
    Raises LabError where a class has pictures of fewer than three groups, or no such
    division was found.
    """
    few = []
    for label, name in enumerate(classes):
        count = len(np.unique(groups[labels == label]))
        if count < 3:
            few.append(f"{name} ({count})")
    if few:
        raise LabError(
            "Each class needs pictures of three different groups at least, one for each"
            f" split; near copies count as one. Too few: {', '.join(few)}. Add pictures"
            " of other persons, scenes or films, or label more."
        )
    best = None
    for parts in (PARTS, 5, 3):  # larger parts, where groups are few
        if parts > min(np.bincount(labels).max(), len(np.unique(groups))):
            continue
        for seed in range(TRIES):
            folds = _folds(StratifiedGroupKFold, labels, groups, parts, seed)
            split = NAMES[folds]
            shares = [
                np.bincount(labels[split == s], minlength=len(classes)) for s in SPLITS
            ]
            if np.min(shares) == 0:
                continue
            rows = np.array(shares) / np.sum(shares, axis=0)
            fault = np.abs(rows - [[1 - 2 / PARTS], [1 / PARTS], [1 / PARTS]]).max()
            if best is None or fault < best[0]:
                best = fault, split
            if fault < 0.05:
                return split
        if best is not None:
            return best[1]
    raise LabError(
        "No division was found in which each class stands in training, validation and"
        " test: the groups are too large. Add pictures of other persons, scenes or"
        " films."
    )


def _folds(kind, labels, groups, parts, seed):
    """Return the number of the fold of each picture; parts: how many there are."""
    folds = np.empty(len(labels), int)
    drawn = kind(n_splits=parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small classes: what came out is looked at
        for number, (_, inside) in enumerate(drawn.split(labels, labels, groups)):
            folds[inside] = number
    return folds


def leak(images, labels, groups, split):
    """Return what a division at random would have leaked, beside this one, as shares of
    the test pictures.

    "group": of which a picture of the same group is in training; "copy": of which a
    near copy is there; "neighbour": whose most similar picture in training has the same
    label, which is what learning by heart would gain. At random: the mean of DRAWS
    divisions with about the same numbers, None where a class has too few pictures.
    """
    vectors = unit(images)

    def measured(split):
        test, training = split == "test", split == "training"
        scores = vectors[test] @ vectors[training].T
        same = labels[training][scores.argmax(axis=1)] == labels[test]
        return {
            "group": float(np.isin(groups[test], groups[training]).mean()),
            "copy": float((scores.max(axis=1) >= NEAR).mean()),
            "neighbour": float(same.mean()),
        }

    parts = round(len(labels) / (split == "test").sum())
    parts = min(parts, len(NAMES), np.bincount(labels).min())
    random = None
    if parts >= 3:
        drawn = [
            measured(NAMES[_folds(StratifiedKFold, labels, None, parts, seed)])
            for seed in range(DRAWS)
        ]
        random = {
            name: float(np.mean([division[name] for division in drawn]))
            for name in drawn[0]
        }
    return {"random": random, "grouped": measured(split)}


def divide(collection, labels):
    """Write the data set: train, validation and test in the collection's folder, and
    `splits.csv`, which says where each picture stands. Return what can be said of it,
    as JSON can hold it.

    Raises LabError where too little is labelled, or the folders hold other files.
    """
    final, classes = labels.final(), collection.classes
    pictures = [name for name in collection.pictures if name in final]
    if not pictures and labels.counts().any():
        raise LabError(
            "No labelled picture has a class: it has equally many votes for two"
            " classes, or it was agreed that nobody can tell. Agree on others under"
            " 3 Agree, or let one more person label."
        )
    if not pictures:
        raise LabError("No picture has a label yet: label some first.")
    classes = [name for name in classes if name in final.values()]
    if len(classes) < 2:
        raise LabError(f"All labels are {classes[0]}: two classes are needed.")
    names = collection.groups()
    order = {name: i for i, name in enumerate(dict.fromkeys(names.values()))}
    own = np.array([order[names[picture]] for picture in pictures])
    images = small_images(collection, pictures)
    pairs = near_pairs(images, own)
    groups = joined(own, pairs)
    targets = np.array([classes.index(final[picture]) for picture in pictures])
    split = divided(targets, groups, classes)
    votes = labels.votes()
    rows = [
        [
            *(picture, FOLDERS[where], final[picture], int(group)),
            "; ".join(
                f"{who}: {said}" for who, said in votes.loc[picture].dropna().items()
            ),
        ]
        for picture, where, group in zip(pictures, split, groups)
    ]
    counts = {
        name: {
            where: int(((split == where) & (targets == label)).sum())
            for where in SPLITS
        }
        for label, name in enumerate(classes)
    }
    summary = {
        "pictures": len(pictures),
        "left_out": len(collection.pictures) - len(pictures),
        "classes": counts,
        "groups": len(np.unique(groups)),
        "largest": int(np.bincount(groups).max()),
        "near": [
            {"pictures": [pictures[i], pictures[j]], "correlation": score}
            for i, j, score in pairs
        ][:12],
        "pairs": len(pairs),
        "leak": leak(images, targets, groups, split),
    }
    with _alone(collection):
        write_dataset(collection, rows)
        summary["division"] = mark(collection)
        write(collection.inside / "splits.json", json.dumps(summary, indent=1) + "\n")
    return summary


def kept(collection, name):
    """Return what `divide` kept as "splits", or `curve.trained` as "curve"; None where
    it is of another division, damaged or not there.
    """
    path = collection.inside / f"{name}.json"
    try:
        result = json.loads(path.read_text())
        return result if result["division"] == mark(collection) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- the folders


COLUMNS = ("picture", "split", "label", "group", "votes")


def stored(collection):
    """Return the rows of splits.csv, a list of dicts, empty before the first
    division.
    """
    path = collection.inside / "splits.csv"
    rows = []
    if path.exists():
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error):
            rows = [{}]
    if rows and rows[0].keys() != set(COLUMNS):
        raise LabError(
            f"{relative(path)} was changed: delete it and the folders"
            f" {', '.join(FOLDERS.values())}, and do step 4 again."
        )
    return rows


def mark(collection):
    """Return a hash of the present division, None before the first."""
    path = collection.inside / "splits.csv"
    return sha256(path) if path.exists() else None


def _alone(collection):
    """Let one program at a time change the folders: the page, or a terminal."""
    folder = str(collection.folder.resolve())
    return alone(f"dividing {folder}", f"dividing {collection.name}")


def write_dataset(collection, rows):
    """Write the class folders of the three splits, and splits.csv.

    rows: as COLUMNS. All files are made in a hidden folder first, then moved: when this
    is interrupted, `repair` ends it, or the old ones stay. For one program at a time.
    Raises LabError where the folders hold files that were not written here.
    """
    _end(collection)
    folder = collection.folder
    known = {(row["split"], row["label"], row["picture"]) for row in stored(collection)}
    known |= {(*place[:2], place[2].rsplit(".", 1)[0] + ".png") for place in known}
    for where in FOLDERS.values():
        for path in sorted((folder / where).rglob("*")):
            own = path.name in SYSTEM or path.name.startswith("._")
            if not own and path.is_file() and path.parts[-3:] not in known:
                raise LabError(
                    f"{relative(path)} was not written by make collect: move it out of"
                    " this folder, and add it on the page."
                )
    new = folder / ".new"
    shutil.rmtree(new, ignore_errors=True)
    for picture, where, label, *_ in rows:
        target = new / where / label / picture
        target.parent.mkdir(parents=True, exist_ok=True)
        if picture in collection.crops:
            with writing(target.with_suffix(".png")) as part:
                collection.image(picture).save(part, "PNG")
        else:
            shutil.copyfile(collection.path(picture), target)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    write(new / "splits.csv", text.getvalue())
    new.rename(folder / ".ready")
    _end(collection)


def repair(collection):
    """End a division that was interrupted when all its files were made."""
    if (collection.folder / ".ready").exists():
        with _alone(collection):
            _end(collection)


def _end(collection):
    folder, ready = collection.folder, collection.folder / ".ready"
    if not ready.exists():
        return
    for where in FOLDERS.values():
        if (ready / where).exists():
            shutil.rmtree(folder / where, ignore_errors=True)
            (ready / where).rename(folder / where)
    if (ready / "splits.csv").exists():
        (ready / "splits.csv").replace(folder / INSIDE / "splits.csv")
    shutil.rmtree(ready)
