import numpy as np
import pytest

from lab import audit, datasets
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
    found = audit.copies(made(pictures, [0, 0, 0, 1, 1, 1, 0, 0], test=[6, 7]))
    assert found == {
        "groups": 2,
        "images": 5,
        "conflicting": 1,
        "validation": 0,
        "test": 1,
        "blank": 1,
    }
    assert audit.leaked(made(pictures, [0] * 8, test=[6, 7])).tolist() == [False, True]
    assert audit.blank(pictures).tolist() == [6]


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
    votes[0, [3, 4]] = 7, 3  # sadness, anger
    votes[1, [3, 4]] = 5, 5
    votes[2, [9, 3]] = 6, 4  # no face
    votes[3, 4] = 6
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
