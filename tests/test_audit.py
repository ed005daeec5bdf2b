import numpy as np
import pytest

from lab import audit, datasets, taught
from lab.plumbing.files import LabError


def made(images, labels, test=()):
    positions = np.arange(len(images))
    splits = {
        "training": np.setdiff1d(positions, test),
        "validation": positions[:0],
        "test": np.array(test, int),
    }
    return datasets.Dataset(
        "made",
        "Made",
        ("a", "b"),
        images.shape[1:],
        "",
        "",
        images=images,
        labels=np.array(labels),
        splits=splits,
    )


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (8, 24, 24, 1), dtype=np.uint8)


def test_copies_conflicts_and_blanks_are_counted(pictures):
    pictures[[3, 7]] = pictures[0]
    pictures[5] = pictures[4]
    pictures[6] = 9
    one = made(pictures, [0, 0, 0, 1, 1, 1, 0, 0], test=[6, 7])
    assert taught.groups(pictures).tolist() == [0, 1, 2, 0, 3, 3, 4, 0]
    assert taught.copies(one.images, one.labels, one.splits) == {
        "groups": 2,
        "images": 5,
        "conflicting": 1,
        "validation": 0,
        "test": 1,
        "blank": 1,
    }
    assert audit.leaked(one).tolist() == [False, True]
    assert taught.blank(pictures).tolist() == [6]
    # Image 0 stands in test, too; 3 is its copy; 4 and 5 are one picture and one label.
    condemned = audit.condemned(one, one.splits["training"])
    assert np.flatnonzero(condemned).tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    "name, count, fraction",
    [("fashion_mnist", 60_000, 1 / 6), ("cifar10", 50_000, 0.1)],
)
def test_the_stored_validation_splits_are_those_of_the_taught_function(
    name, count, fraction, offline
):
    one = datasets.load(name)
    if not one.available:
        pytest.skip(f"the files of {name} are not here")
    drawn = taught.stratified(one.labels[:count], fraction, seed=0)
    assert np.array_equal(drawn, one.splits["validation"])


def test_near_copies_are_found_though_brighter_or_noisy_and_exact_ones_left_out(
    pictures,
):
    noise = np.random.default_rng(1).integers(-3, 4, pictures.shape[1:])
    half = pictures // 2
    images = np.concatenate(
        [
            half,
            half[2:3] + 40,
            np.clip(half[5:6] + noise, 0, 255).astype(np.uint8),
            half[1:2],
        ]
    )
    found = audit.near_copies(made(images, [0] * 11, test=[8, 9, 10]))
    assert found[["test", "training"]].to_numpy().tolist() == [[0, 2], [1, 5]]
    assert (found["correlation"] > 0.99).all()


def test_the_label_agrees_with_the_most_frequent_vote_also_where_two_share_it():
    votes = np.zeros((4, 10), int)
    sadness, anger, no_face = map(audit.FER_PLUS.index, ("sadness", "anger", "NF"))
    votes[0, [sadness, anger]] = 7, 3
    votes[1, [sadness, anger]] = 5, 5
    votes[2, [no_face, sadness]] = 6, 4
    votes[3, anger] = 6
    assert audit.agrees(votes, np.array([1, 0, 1, 1]), ("angry", "sad")).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert audit.majority(votes, ("angry", "sad")).tolist() == [1, -1, -1, 0]


def test_votes_are_read_or_the_way_to_them_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    assert audit.fer_plus() is None and "microsoft/FERPlus" in capsys.readouterr().out
    header = "Usage,Image name," + ",".join(audit.FER_PLUS) + "\n"
    (tmp_path / "fer2013new.csv").write_text(
        header + "Training,x.png,4,0,0,1,3,2,0,0,0,0\n" * 35887
    )
    assert audit.fer_plus().shape == (35887, 10)
    for content in (
        "",
        "a,b\n1,2\n",
        header,
        header + "Training,x.png,4,0,0,1,3,2,0,0,0,9\n" * 35887,
    ):
        (tmp_path / "fer2013new.csv").write_text(content)
        with pytest.raises(LabError, match="fer2013new.csv"):
            audit.fer_plus()
