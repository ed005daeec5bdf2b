"""Folders of pictures, as people have them: any form, any name, any damage."""

import os
import string
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lab import datasets
from lab.plumbing import photos, reading
from lab.plumbing.files import LabError


def picture(seed, mode="RGB", size=(30, 20)):
    values = np.random.default_rng(seed).integers(
        0, 256, (size[1], size[0], 4), dtype=np.uint8
    )
    return Image.fromarray(values).convert(mode)


def fill(folder, classes=("cat", "dog"), count=6, seed=0):
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(1000 * seed + 100 * k + i).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")


def test_a_folder_becomes_a_data_set(tmp_path):
    dataset = datasets.load(str(fill(tmp_path / "My Photos", count=20)))
    assert (dataset.name, dataset.title, dataset.classes) == (
        "my-photos",
        "My Photos",
        ("cat", "dog"),
    )
    assert dataset.images.shape == (40, 64, 64, 3) and dataset.shape == (64, 64, 3)
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [28, 6, 6]
    assert dataset.division.startswith("drawn, 70% / 15% / 15%")
    again = datasets.load(str(tmp_path / "My Photos"))
    assert (again.sha256, again.split_sha256) == (dataset.sha256, dataset.split_sha256)
    grey = datasets.load(str(tmp_path / "My Photos"), image_size=32, grey=True)
    assert grey.shape == (32, 32, 1) and grey.sha256 != dataset.sha256


def test_a_changed_folder_is_read_anew(tmp_path):
    folder = fill(tmp_path / "photos")
    assert len(datasets.load(str(folder)).images) == 12
    picture(77).save(folder / "cat" / "new.png")
    assert len(datasets.load(str(folder)).images) == 13
    assert (
        len(list(reading.CACHE.iterdir())) == 1
    )  # what the folder held before is gone
    datasets.load(str(folder), image_size=32)
    assert len(list(reading.CACHE.iterdir())) == 2  # another size does not delete it


FORMS = [
    ("a.jpg", "RGB"),
    ("a.JPEG", "L"),
    ("a.jpg", "CMYK"),
    ("a.png", "RGBA"),
    ("a.png", "P"),
    ("a.png", "1"),
    ("a.png", "LA"),
    ("a.png", "I;16"),
    ("a.webp", "RGBA"),
    ("a.bmp", "RGB"),
    ("a.gif", "P"),
    ("a.tiff", "CMYK"),
    ("a.tif", "F"),
    ("a.tiff", "I;16"),
    ("a.tiff", "LA"),
]


@pytest.mark.parametrize("name, mode", FORMS)
@pytest.mark.parametrize("grey", [False, True])
def test_every_form_and_mode_is_read(tmp_path, name, mode, grey):
    source = picture(0, "L" if mode in ("I;16", "F") else mode)
    if mode == "I;16":
        source = Image.fromarray(np.asarray(source).astype(np.uint16) * 257)
    if mode == "F":
        source = Image.fromarray(np.asarray(source) / np.float32(255))
    source.save(tmp_path / name)
    image = photos.read_picture(tmp_path / name, 20, grey)
    assert image.shape == (20, 20, 1 if grey else 3) and image.dtype == np.uint8
    assert 10 < image.std() < 128 and 60 < image.mean() < 240


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert (photos.read_picture(tmp_path / "a.png", 16, False) == 255).all()


def test_a_turned_photograph_is_set_upright(tmp_path):
    upright = Image.fromarray(
        np.uint8(np.tile(np.linspace(0, 255, 32)[:, None], (1, 32)))
    )
    exif = Image.Exif()
    exif[0x0112] = (
        6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    )
    upright.rotate(90).save(tmp_path / "a.jpg", exif=exif, quality=95)
    for scale in (1, 20):  # small, and so large that it is reduced while it is read
        upright.rotate(90).resize((32 * scale, 32 * scale)).save(
            tmp_path / "a.png", exif=exif
        )
        for name in ("a.jpg", "a.png"):
            image = photos.read_picture(tmp_path / name, 16, True)[..., 0].astype(int)
            assert image[0].mean() < 30 and image[-1].mean() > 225


def test_the_centre_square_is_taken(tmp_path):
    wide = Image.new("L", (300, 100), 0)
    wide.paste(200, (100, 0, 200, 100))
    wide.save(tmp_path / "a.png")
    assert photos.read_picture(tmp_path / "a.png", 20, True)[:, 1:-1].min() > 190


def bomb(path):
    import struct
    import zlib

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"0" * 10))
        + chunk(b"IEND", b"")
    )


def test_what_cannot_be_used_is_listed_with_the_reason(tmp_path):
    folder = fill(tmp_path / "photos")
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    (folder / "cat" / "notes.txt").write_text("not a picture")
    (folder / "dog" / "page.jpg").write_text("<html>")
    picture(5).save(folder / "dog" / "whole.jpg")
    (folder / "dog" / "half.jpg").write_bytes(
        (folder / "dog" / "whole.jpg").read_bytes()[:400]
    )
    bomb(folder / "dog" / "bomb.png")
    (folder / "cat" / ".hidden.png").write_text("x")
    dataset = datasets.load(str(folder))
    left_out = dataset.left_out
    reasons = dict(zip(left_out["file"], left_out["reason"], strict=True))
    assert sorted(reasons) == [
        "cat/empty.jpg",
        "cat/notes.txt",
        "dog/bomb.png",
        "dog/half.jpg",
        "dog/page.jpg",
    ]
    assert reasons["cat/empty.jpg"] == "empty" and reasons["cat/notes.txt"].startswith(
        "not a picture"
    )
    assert reasons["dog/half.jpg"].startswith("damaged: ") and reasons[
        "dog/bomb.png"
    ].startswith("too large")
    assert len(dataset.images) == 13


def test_names_that_are_no_text_can_be_printed(tmp_path):
    folder = fill(tmp_path / "photos")
    os.rename(folder / "dog", os.fsdecode(os.fsencode(folder) + b"/d\xffg"))
    (folder / "cat" / os.fsdecode(b"\xfe.jpg")).write_text("no picture")
    dataset = datasets.load(str(folder))
    assert dataset.classes == ("cat", "d?g")
    assert dataset.left_out["file"].tolist() == ["cat/?.jpg"]


def test_split_folders_are_honoured_and_a_missing_one_is_drawn(tmp_path):
    for k, split in enumerate(("train", "test")):
        fill(tmp_path / "photos" / split, count=10, seed=k)
    dataset = datasets.load(str(tmp_path / "photos"))
    assert (
        dataset.division == "those of the folders, with validation drawn from training"
    )
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [16, 4, 20]
    fill(tmp_path / "photos" / "Valid", count=5, seed=2)
    dataset = datasets.load(str(tmp_path / "photos"))
    assert dataset.division == "those of the folders"
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [20, 10, 20]


def test_a_class_may_be_called_train(tmp_path):
    dataset = datasets.load(str(fill(tmp_path / "photos", ("car", "train"), 5)))
    assert dataset.classes == ("car", "train")


def test_names_in_other_scripts_stay_different():
    names = ("猫", "фото", "photos", "Über Fotos", "Straße")
    names = [photos.slug(name) for name in names]
    assert len(set(names)) == 5 and names[2:4] == ["photos", "uber-fotos"]


def test_a_copy_in_two_split_folders_stays_in_the_test_split(tmp_path):
    for k, split in enumerate(("train", "val", "test")):
        fill(tmp_path / "photos" / split, count=5, seed=k)
    (tmp_path / "photos/train/cat/copy.png").write_bytes(
        (tmp_path / "photos/test/cat/0.png").read_bytes()
    )
    dataset = datasets.load(str(tmp_path / "photos"))
    assert dataset.left_out.to_numpy().tolist() == [
        ["train/cat/copy.png", "the same pixels as an image of another split"]
    ]
    assert len(dataset.splits["test"]) == 10


@pytest.mark.parametrize(
    "classes, count, sentence",
    [
        (("cat",), 5, "one class only"),
        (("cat", "dog"), 2, r"fewer: cat \(2\), dog \(2\)"),
        ((), 0, "No picture can be read"),
    ],
)
def test_too_little_is_refused_in_one_sentence(tmp_path, classes, count, sentence):
    (tmp_path / "photos").mkdir()
    with pytest.raises(LabError, match=sentence):
        datasets.load(str(fill(tmp_path / "photos", classes, count)))


@pytest.mark.parametrize("size", [8, 1000, "64", 64.5, True])
def test_a_wrong_image_size_is_one_sentence(tmp_path, size):
    with pytest.raises(LabError, match="IMAGE_SIZE is .*from 16 to 256"):
        datasets.load(str(fill(tmp_path / "photos")), image_size=size)


def test_a_folder_that_is_not_there_is_one_sentence():
    with pytest.raises(LabError, match="There is no folder no/such/"):
        datasets.load("no/such/")


NAMES = st.text(
    st.sampled_from(string.ascii_letters + " éß😀%_$&#~'\"()-."),
    min_size=1,
    max_size=12,
).filter(
    lambda name: (
        name.strip(". ")
        and not name.startswith((".", "__MACOSX"))
        and name.lower() not in photos.SPLIT_FOLDERS
    )
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    classes=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    files=st.lists(NAMES, min_size=3, max_size=8, unique=True),
    copies=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), max_size=10),
    ending=st.sampled_from([".png", ".PNG", ".Jpg"]),
)
def test_any_names_links_and_copies_give_sound_splits(classes, files, copies, ending):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) / "😀 photos é"
        for k, name in enumerate(classes):
            (folder / name).mkdir(parents=True)
            for i, file in enumerate(files):
                seed = 1 if (k, i) in copies else 10 + 100 * k + i
                picture(seed).save(
                    folder / name / (file + ending),
                    "JPEG" if ending == ".Jpg" else "PNG",
                )
            os.symlink(folder, folder / name / "loop")
        os.symlink(folder, folder / "loop")
        try:
            dataset = datasets.load(str(folder), image_size=16)
        except LabError as error:
            assert "fewer" in str(error) or "too few" in str(error)
            return
        assert dataset.classes == tuple(sorted(classes)) and dataset.name.isascii()
        places = np.concatenate([dataset.splits[name] for name in reading.SPLITS])
        assert sorted(places) == list(range(len(dataset.images))) and len(
            places
        ) == len(classes) * len(files)
        pixels = [
            {image.tobytes() for image in dataset.split(name)[0]}
            for name in reading.SPLITS
        ]
        assert not (
            pixels[0] & pixels[1] or pixels[0] & pixels[2] or pixels[1] & pixels[2]
        )
        assert all(
            set(dataset.split(name)[1]) == set(range(len(classes)))
            for name in ("training",)
        )


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.binary(max_size=300),
    head=st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"BM",
            b"II*\x00",
            b"RIFF\x00\x00\x00\x00WEBP",
        ]
    ),
)
def test_random_bytes_never_give_a_traceback(tmp_path, content, head):
    (tmp_path / "a.jpg").write_bytes(head + content)
    try:
        assert photos.read_picture(tmp_path / "a.jpg", 16, False).shape == (16, 16, 3)
    except photos.Unreadable as reason:
        assert str(reason)
