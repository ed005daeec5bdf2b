import numpy as np
import pytest

from conftest import ROOT
from lab import datasets, taught
from lab.plumbing import downloads, parameters, reading, sources
from lab.plumbing.files import LabError


@pytest.mark.parametrize("name", datasets.KNOWN)
def test_committed_splits_are_disjoint_and_complete(name):
    splits = reading.read_splits(datasets.KNOWN[name])
    together = np.concatenate(list(splits.values()))
    assert sorted(together) == list(range(len(together)))
    assert all((np.diff(chosen) > 0).all() for chosen in splits.values())


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_committed_splits_have_as_many_images_of_each_class(name, split):
    run = ROOT / "data" / "runs" / name / "dense" / "main" / "seed-0"
    with np.load(run / "predictions.npz") as stored:
        counts = np.bincount(stored[f"{split}_labels"])
    assert len(counts) == 10 and np.ptp(counts) == 0


def test_committed_orders_name_every_image_once():
    with np.load(reading.ORDERS) as stored:
        orders = {name: stored[name] for name in stored}
    assert sorted(orders) == ["cifar10", "fashion_mnist"]
    for name, positions in orders.items():
        splits = reading.read_splits(datasets.KNOWN[name])
        assert sorted(positions) == list(range(sum(map(len, splits.values()))))


def test_fashion_mnist_is_divided_as_in_the_source_coursework():
    splits = reading.read_splits(datasets.KNOWN["fashion_mnist"])
    assert [len(splits[name]) for name in reading.SPLITS] == [50_000, 10_000, 10_000]
    assert splits["test"].min() == 60_000


def test_digits_have_the_promised_form(digits):
    assert digits.images.shape == (1797, 16, 16, 1) and digits.images.dtype == np.uint8
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert (digits.images[:, ::2] == digits.images[:, 1::2]).all()
    counts = np.bincount(digits.split("validation")[1])
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["cifar10", "fer2013"])
def test_splits_of_the_other_sets(name):
    splits = reading.read_splits(datasets.KNOWN[name])
    sizes = [len(splits[one]) for one in reading.SPLITS]
    assert sizes == (
        [45_000, 5_000, 10_000] if name == "cifar10" else [28_709, 3_589, 3_589]
    )
    assert splits["test"].min() == sum(sizes[:2])


@pytest.mark.parametrize("name", ["fashion", "", "nothing", "cifar-10"])
def test_an_unknown_name_is_one_sentence_with_the_known_names(name):
    with pytest.raises(LabError, match=f"no data set called '{name}'.*fashion_mnist"):
        datasets.load(name)


def test_missing_files_are_said_with_a_recipe_and_leave_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(reading, "CACHE", tmp_path)
    for name in ("FASHION_MNIST_ADDRESSES", "CIFAR10_ADDRESSES"):
        monkeypatch.setattr(sources, name, ["http://127.0.0.1:9/"])
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setattr(sources, "kaggle", lambda handle: None)
    for name in ("fashion_mnist", "cifar10", "fer2013"):
        dataset = datasets.load(name)
        said = capsys.readouterr().out
        assert not dataset.available and dataset.shape == datasets.KNOWN[name].shape
        assert f"{dataset.title} is skipped" in said and [
            line[:2] for line in said.splitlines()[-3:]
        ] == ["1.", "2.", "3."]
        assert ("cannot be downloaded" in said) == (name != "fer2013")
        with pytest.raises(LabError, match="are not here"):
            dataset.split("test")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "fer2013"])
def test_official_content_where_its_files_are_here(name, offline):
    dataset = datasets.load(name)
    if not dataset.available:
        pytest.skip(f"the files of {name} are not here")
    if name == "fashion_mnist":
        turned = reading.in_order(name, dataset.images[::-1], dataset.labels[::-1])
        assert reading.content_hash(*turned) == dataset.sha256
    found = taught.copies(dataset.images, dataset.labels, dataset.splits)
    expected = (1516, 3369, 57, 280, 288, 12) if name == "fer2013" else (0,) * 6
    assert tuple(found.values()) == expected


def test_a_subset_keeps_the_chosen_classes_in_their_order(digits):
    some = digits.subset(["7", "1", "4"])
    assert (
        some.name == "digits-7-1-4"
        and some.classes == ("7", "1", "4")
        and some.sha256 != digits.sha256
    )
    for split in reading.SPLITS:
        images, labels = digits.split(split)
        chosen = np.isin(labels, [7, 1, 4])
        assert np.array_equal(some.split(split)[0], images[chosen])
        assert [int(some.classes[label]) for label in some.split(split)[1]] == labels[
            chosen
        ].tolist()


def test_classes_may_be_written_as_numbers(digits):
    names = parameters.names([3, 8], None, "CLASSES")
    assert digits.subset(names).classes == ("3", "8")


@pytest.mark.parametrize("classes", [["7"], [], ["7", "7"], ["7", "eleven"]])
def test_a_subset_of_unknown_or_too_few_classes_is_one_sentence(digits, classes):
    with pytest.raises(
        LabError,
        match="CLASSES needs two different classes or more of Digits, which has: 0, 1",
    ):
        digits.subset(classes)


def test_without_a_place_to_keep_them_the_images_are_used_all_the_same(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(reading, "CACHE", tmp_path / "file" / "cache")
    reading._store(
        reading.CACHE / "x", np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, int)
    )
    assert "are not kept: Cannot write" in capsys.readouterr().out


def test_jpeg_files_that_are_not_here_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    with pytest.raises(
        LabError, match=f"unpack msambare/fer2013 of Kaggle into {tmp_path}"
    ):
        datasets.load("fer2013_jpeg")


def test_a_split_in_one_piece_is_not_copied_and_no_split_can_be_written_to(digits):
    from dataclasses import replace

    apart = replace(
        digits, splits={"training": np.arange(100, 900), "test": np.array([1, 5, 9])}
    )
    images, labels = apart.split("training")
    assert (
        np.shares_memory(images, digits.images)
        and len(images) == 800
        and (labels == digits.labels[100:900]).all()
    )
    assert (
        apart.split("test")[0] is apart.split("test")[0]
        and (apart.split("test")[0] == digits.images[[1, 5, 9]]).all()
    )
    for part in (images, labels, *apart.split("test")):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 0
    assert digits.images.flags.writeable or isinstance(digits.images, np.memmap)
