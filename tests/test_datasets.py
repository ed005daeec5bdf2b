import gzip
import urllib.error
import urllib.request

import numpy as np
import pytest
from lab import datasets
from lab.files import LabError


@pytest.mark.parametrize("name", datasets.KNOWN)
def test_committed_splits_are_disjoint_complete_and_stratified(name):
    splits = datasets.read_splits(datasets.KNOWN[name])
    together = np.concatenate(list(splits.values()))
    assert sorted(together) == list(range(len(together)))
    assert all((np.diff(chosen) > 0).all() for chosen in splits.values())


def test_fashion_mnist_is_divided_as_in_the_source_coursework():
    splits = datasets.read_splits(datasets.KNOWN["fashion_mnist"])
    assert [len(splits[name]) for name in datasets.SPLITS] == [50_000, 10_000, 10_000]
    assert splits["test"].min() == 60_000
    assert -(-50_000 // 32) == 1563


def test_digits_have_the_promised_form(digits):
    assert digits.images.shape == (1797, 16, 16, 1) and digits.images.dtype == np.uint8
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert (digits.images[:, ::2] == digits.images[:, 1::2]).all()
    counts = np.bincount(digits.split("validation")[1])
    assert counts.max() - counts.min() <= 1


def test_an_unknown_name_is_one_sentence_with_the_known_names():
    with pytest.raises(LabError, match="no data set called 'fashion'.*fashion_mnist"):
        datasets.load("fashion")


def no_network(*_, **__):
    raise urllib.error.URLError("no network")


def test_missing_files_are_said_with_a_recipe_and_leave_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    dataset = datasets.load("fashion_mnist")
    said = capsys.readouterr().out
    assert not dataset.available and dataset.shape == (28, 28, 1)
    assert "cannot be downloaded" in said and "data/raw/fashion-mnist/" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(LabError, match="are not here"):
        dataset.split("test")


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    for name in datasets.FASHION_MNIST_FILES:
        (tmp_path / name).write_bytes(gzip.compress(b"truncated"))
    with pytest.raises(LabError, match="train-images-idx3-ubyte.gz is damaged.*delete it"):
        datasets.load("fashion_mnist")


def test_wrong_bytes_from_the_network_never_take_the_files_name(tmp_path, monkeypatch, capsys):
    class Answer:
        def __init__(self, *_, **__):
            self.left = [b"<html>error page</html>", b""]

        def read(self, _=None):
            return self.left.pop(0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", Answer)
    assert not datasets.load("fashion_mnist").available
    assert "another content than expected" in capsys.readouterr().out
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_fashion_mnist_where_its_files_are_here():
    folder = datasets.ROOT / "data" / "raw" / "fashion-mnist"
    if not folder.exists():
        pytest.skip("data/raw/fashion-mnist is not here")
    dataset = datasets.load("fashion_mnist")
    assert np.bincount(dataset.labels).tolist() == [7000] * 10
    assert np.bincount(dataset.split("validation")[1]).tolist() == [1000] * 10
