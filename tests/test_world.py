"""Pictures on another ground than the training images, and pictures unlike them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import train
from lab import datasets, models, predict, prediction
from lab.plumbing import photos, reading, world
from lab.plumbing.files import LabError
from lab.prediction import Predictor


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    recipe = replace(models.dense_recipe, epochs=3)
    return train(digits, recipe, tmp_path_factory.mktemp("runs"), weights=True)


def test_the_ground_follows_from_the_borders_of_the_training_images(digits):
    images = digits.split("training")[0]
    assert world.ground(images) == digits.ground == 0
    assert world.ground(255 - images) == 255
    mixed = np.where(np.arange(len(images))[:, None, None, None] % 2, images, 255)
    assert world.ground(mixed.astype(np.uint8)) is None


@pytest.mark.parametrize("name", [n for n in datasets.KNOWN if n != "digits"])
def test_the_stored_grounds_are_those_of_the_images(name):
    if not (reading.CACHE / name / "images.npy").exists():
        pytest.skip(f"the images of {name} are not decoded here")
    dataset = datasets.load(name)
    assert world.ground(dataset.split("training")[0]) == dataset.ground


def photograph(image, light=235):
    """Return an image of a digit as a photograph: dark, small, on a light wall."""
    rng = np.random.default_rng(0)
    wall = np.full((200, 260), 255.0)
    large = Image.fromarray(image.squeeze()).resize((96, 96), Image.Resampling.NEAREST)
    wall[20:116, 150:246] -= np.asarray(large)
    wall = wall * light / 255 + rng.normal(0, 3, wall.shape)
    return Image.fromarray(np.uint8(np.clip(wall, 0, 255)))


def test_a_photograph_is_inverted_and_cut_to_its_object(digits):
    images = digits.split("test")[0][:20]
    shown = [photograph(image) for image in images]
    _, found, done = photos.pictures(shown, digits.shape, ground=0)
    assert done == [["inverted", "cut to the object"]] * 20
    filled = (found > 80).any(axis=(2, 3)) | (found > 80).any(axis=(1, 3))
    assert filled.mean() > 0.8 and np.median(world.border(found)) < 20
    # On white, the same pictures are inverted the other way round.
    _, other, _ = photos.pictures(shown, digits.shape, ground=255)
    assert np.abs(other.astype(int) - (255 - found)).mean() < 3
    _, plain, done = photos.pictures(shown, digits.shape)
    assert done == [[]] * 20 and np.median(plain) > 200


def test_images_of_the_network_s_size_are_inverted_at_most(digits):
    images = digits.split("test")[0][:20]
    for source in (images, [Image.fromarray(one.squeeze()) for one in images]):
        _, found, done = photos.pictures(source, digits.shape, ground=0)
        assert np.array_equal(found, images) and done == [[]] * 20
    _, found, done = photos.pictures(255 - images, digits.shape, ground=0)
    assert np.array_equal(found, images) and done == [["inverted"]] * 20


@pytest.mark.parametrize("value", [40, 215])
def test_a_transparent_picture_stands_out_from_its_ground(value):
    alpha = np.zeros((80, 80), np.uint8)
    alpha[10:70, 10:70] = 255
    layers = [Image.fromarray(np.full_like(alpha, value)), Image.fromarray(alpha)]
    _, found, _ = photos.pictures(Image.merge("LA", layers), (20, 20, 1), ground=0)
    assert found[0, 0, 0, 0] < 60 and found[0, 10, 10, 0] > 200


def test_predict_answers_alike_on_both_grounds_and_says_so(digits, run):
    images, labels = digits.split("test")
    ask = Predictor(digits, run)
    assert np.array_equal(ask(255 - images), ask(images))
    table = predict(255 - images[:5], digits, run)
    assert table["remarks"].str.startswith("inverted").all()


def test_a_run_without_probabilities_is_refused_with_a_sentence(digits, tmp_path):
    recipe = replace(models.dense_recipe, epochs=1)
    runs = tmp_path / "runs"
    other = train(digits, recipe, runs, variant="study-base", weights=True)
    with pytest.raises(LabError, match="study-base/seed-0 keeps no probabilities"):
        Predictor(digits, other)


def test_what_is_unlike_the_training_images_is_called_so(digits, run, capsys):
    images = digits.split("test")[0]
    ask, strange = Predictor(digits, run), np.zeros((3, *digits.shape), np.uint8)
    assert ask.unlike(images).mean() < 0.15 and ask.unlike(strange).all()
    assert "says so of 18 of 359 validation images, too" in capsys.readouterr().out
    leaked = np.arange(359) < 159
    run.predictions["validation_leaked"] = leaked
    ask.unlike(strange)
    del run.predictions["validation_leaked"]
    assert "says so of 10 of 200 validation images, too" in capsys.readouterr().out


def test_a_network_of_the_quick_profile_is_found(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "FOLDERS", (tmp_path / "no", tmp_path / "runs"))
    recipe = replace(models.dense_recipe, epochs=1)
    train(digits, recipe, tmp_path / "runs", weights=True)
    assert Predictor("digits").run.name == "digits/dense/main/seed-0"


def test_a_folder_is_asked_by_its_path_and_only_at_its_size(
    tmp_path, monkeypatch, recipe
):
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(prediction, "FOLDERS", (tmp_path / "runs",))
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            noise = rng.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.png")
    short, one = replace(recipe, epochs=1), folder / "cat" / "0.png"
    train(datasets.load(str(folder)), short, tmp_path / "runs", weights=True)
    assert predict(one, str(folder)).iloc[0, 0].split()[0] in ("cat", "dog")
    with pytest.raises(LabError, match="another size, or grey"):
        predict(one, datasets.load(str(folder), image_size=32))
