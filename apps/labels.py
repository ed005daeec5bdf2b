"""What annotators say of pictures: each has a file, which only grows."""

import numpy as np
import pandas as pd

from lab.plumbing import photos
from lab.plumbing.files import LabError, relative, sha256

from .collection import Log, now

COLUMNS = ("picture", "label", "annotator", "time")
SKIPPED, UNSURE, UNDONE = "(skipped)", "(cannot tell)", "(undone)"


class Annotator:
    """One person who labels, blind to what others say.

    collection: whose pictures are labelled; name: the person's.
    labels: {picture: label}, what the person says now; a label is a class, SKIPPED or
    UNSURE.
    Raises LabError for a name without a letter or digit.
    """

    def __init__(self, collection, name):
        if not any(letter.isalnum() for letter in name):
            raise LabError("Type your name, or another word that stands for you.")
        self.name, self.collection = photos.slug(name), collection
        path = collection.inside / "labels" / f"{self.name}.csv"
        self._log, self._said, self._order = Log(path, COLUMNS), [], []
        for row in self._log.rows:
            self._note(row["picture"], row["label"])
        self._replay()

    def _note(self, picture, label):
        if picture not in self.collection.pictures:
            return  # taken out of the data base
        if label == UNDONE:
            del self._said[-1:]
        else:
            self._said.append((picture, label))

    def _replay(self):
        self.labels = {}
        for picture, label in self._said:
            self.labels.pop(picture, None)  # a skipped picture goes to the end
            self.labels[picture] = label

    def label(self, picture, label):
        """Say what a picture shows: a class, SKIPPED or UNSURE."""
        if picture not in self.collection.pictures:
            raise LabError(f"There is no picture {picture}: load the page again.")
        if label not in (*self.collection.classes, SKIPPED, UNSURE):
            raise LabError(f"There is no class {label}: load the page again.")
        self._write(picture, label)
        self.labels.pop(picture, None)
        self.labels[picture] = label

    def undo(self):
        """Take the last label back, and return its picture, or None."""
        if not self._said:
            return None
        picture = self._said[-1][0]
        self._write(picture, UNDONE)
        self._replay()
        return picture

    def _write(self, picture, label):
        row = {"picture": picture, "label": label, "annotator": self.name}
        self._log.append(**row, time=now())
        self._note(picture, label)

    def left(self):
        """Return the pictures that are still to be labelled, in this person's own
        order; the skipped ones come last.
        """
        if len(self._order) != len(self.collection.pictures):
            self._order = sorted(
                self.collection.pictures, key=lambda name: sha256(self.name, name)
            )
        skipped = [name for name, label in self.labels.items() if label == SKIPPED]
        return [name for name in self._order if name not in self.labels] + skipped

    def counts(self):
        """Return {class: pictures} that this person has labelled so far."""
        said = list(self.labels.values())
        return {name: said.count(name) for name in self.collection.classes}


class Labels:
    """All that was said of a collection's pictures.

    annotators: {name: Annotator}; decisions: what all of them agreed on afterwards.
    """

    def __init__(self, collection):
        self.collection = collection
        files = sorted((collection.inside / "labels").glob("[!.]*.csv"))
        for file in files:
            if photos.slug(file.stem) != file.stem:
                raise LabError(
                    f"{relative(file)} has a name that no annotator's file has: call it"
                    f" {photos.slug(file.stem)}.csv."
                )
        self.annotators = {
            file.stem: Annotator(collection, file.stem) for file in files
        }
        self._log = Log(collection.inside / "decisions.csv", COLUMNS[:2] + COLUMNS[3:])
        self.decisions = {
            row["picture"]: row["label"]
            for row in self._log.rows
            if row["picture"] in collection.pictures
            and row["label"] in (*collection.classes, UNSURE)
        }

    def annotator(self, name):
        """Return the Annotator of a name, a new one where there is none."""
        known = self.annotators.get(photos.slug(name))
        if known and any(letter.isalnum() for letter in name):
            return known
        annotator = Annotator(self.collection, name)
        return self.annotators.setdefault(annotator.name, annotator)

    def decide(self, picture, label):
        """Keep the class that the annotators agreed on after all, or UNSURE."""
        if label not in (*self.collection.classes, UNSURE):
            raise LabError(f"There is no class {label}: load the page again.")
        self._log.append(picture=picture, label=label, time=now())
        self.decisions[picture] = label

    def used(self):
        """Return the classes that somebody has given to a picture, sorted."""
        said = {
            label
            for annotator in self.annotators.values()
            for label in annotator.labels.values()
        }
        return sorted((said | set(self.decisions.values())) - {SKIPPED, UNSURE})

    def votes(self):
        """Return a DataFrame: a row for each picture, a column for each annotator; the
        class that the annotator gave it, or NaN. UNSURE and SKIPPED count as no vote.
        """
        table = pd.DataFrame(
            {
                name: pd.Series(annotator.labels, dtype=object)
                for name, annotator in self.annotators.items()
            },
            index=list(self.collection.pictures),
            dtype=object,
        )
        return table.where(table.isin(self.collection.classes))

    def counts(self):
        """Return the votes, (pictures, classes), in the order of both."""
        votes = self.votes()
        each = [(votes == name).sum(axis=1) for name in self.collection.classes]
        return np.array(each, int).reshape(len(each), len(votes)).T

    def final(self):
        """Return {picture: class}: what was decided, else the class with the most votes
        where it has them alone. A picture with neither is not in it.
        """
        label_of, classes = {}, self.collection.classes
        for picture, row in zip(self.collection.pictures, self.counts().tolist()):
            decided, most = self.decisions.get(picture), max(row, default=0)
            if decided is None and most and row.count(most) == 1:
                decided = classes[row.index(most)]
            if decided not in (None, UNSURE):
                label_of[picture] = decided
        return label_of
