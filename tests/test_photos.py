"""Folders of pictures, as people have them: any form, any name, any damage."""

import os
import string
import struct
import tempfile
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lab import datasets, lesson
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


def test_a_folder_becomes_a_data_set(tmp_path, capsys):
    dataset = datasets.load(str(fill(tmp_path / "My Photos", count=20)))
    assert (dataset.name, dataset.title, dataset.classes) == (
        "my-photos",
        "My Photos",
        ("cat", "dog"),
    )
    assert dataset.images.shape == (40, 64, 64, 3) and dataset.shape == (64, 64, 3)
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [28, 6, 6]
    assert "splits: drawn, 70% / 15% / 15%" in capsys.readouterr().out
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


def test_a_folder_is_read_anew_when_more_of_it_can_be_read(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos")
    picture(77).save(folder / "cat" / "new.webp")
    with monkeypatch.context() as without:
        few = [name for name in photos.FORMATS if name != "WEBP"]
        without.setattr(photos, "FORMATS", few)
        assert len(datasets.load(str(folder)).images) == 12
    assert len(datasets.load(str(folder)).images) == 13
    picture(78).save(folder / "loose.png")
    assert "loose.png" in set(datasets.load(str(folder)).left_out["file"])


def test_two_folders_of_one_name_are_not_taken_for_one_another(tmp_path, capsys):
    one, other = (
        fill(tmp_path / "a" / "photos"),
        fill(tmp_path / "b" / "photos", seed=1),
    )
    datasets.load(str(one))
    assert "has the same name" not in capsys.readouterr().out
    datasets.load(str(other))
    assert f"{one} has the same name, photos: trainings" in capsys.readouterr().out
    with pytest.raises(LabError, match="Two data sets are called photos: rename one"):
        lesson.start("02_dense_baseline", "full", [str(one), str(other)])


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
    colour = Image.new("RGB", (30, 20), (200, 100, 50))
    source = colour.convert("L" if mode in ("I;16", "F") else mode)
    if mode == "I;16":
        source = Image.fromarray(np.asarray(source).astype(np.uint16) * 257)
    if mode == "F":
        source = Image.fromarray(np.asarray(source) / np.float32(255))
    source.save(tmp_path / name)
    image = photos.read_picture(tmp_path / name, 20, grey)
    assert image.shape == (20, 20, 1 if grey else 3) and image.dtype == np.uint8
    coloured = not grey and mode in ("RGB", "RGBA", "CMYK", "P")
    wanted = [200, 100, 50] if coloured else 124
    assert np.abs(image.mean(axis=(0, 1)) - wanted).max() < 16


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert (photos.read_picture(tmp_path / "a.png", 16, False) == 255).all()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(ending, orientation, tmp_path):
    grey = np.random.default_rng(orientation).integers(0, 256, (4, 4), np.uint8)
    picture = Image.fromarray(grey).resize((200, 200), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.convert("RGB").save(tmp_path / f"a.{ending}", exif=exif, quality=95)
    with Image.open(tmp_path / f"a.{ending}") as stored:
        stored.load()
        wanted = ImageOps.exif_transpose(stored).convert("L").resize((20, 20))
    for size in (20, 200):  # reduced while it is read, and not
        read = photos.open_picture(tmp_path / f"a.{ending}", size, True)
        assert np.abs(np.int16(read.resize((20, 20))) - np.int16(wanted)).max() < 12


def test_odd_metadata_keep_no_picture_out_and_silence_nothing(tmp_path):
    turn = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    odd = struct.pack("<HHLL", 0x010F, 5, 1, 38)  # the maker as a fraction
    head, tail = struct.pack("<LH", 8, 2), struct.pack("<LLL", 0, 1, 2)
    picture = Image.new("RGB", (60, 70), "red")
    exif = b"Exif\0\0II*\0" + head + odd + turn + tail
    for kind, i in product("ab", range(6)):
        (tmp_path / kind).mkdir(exist_ok=True)
        picture.putpixel((i, ord(kind) % 5), (0, 0, 255))
        picture.save(tmp_path / kind / f"{i}.jpg", exif=exif, quality=100)
    assert photos.open_picture(tmp_path / "a" / "0.jpg", 64, False).size == (70, 60)
    (tmp_path / "a" / "loop").symlink_to("loop")
    before = [*warnings.filters]
    dataset = datasets.load(str(tmp_path), image_size=64)
    assert warnings.filters == before and len(dataset.images) == 12
    [reason] = dataset.left_out["reason"]
    assert reason.startswith("cannot be opened: Too many levels")


def test_the_centre_square_is_taken(tmp_path):
    wide = Image.new("L", (300, 100), 0)
    wide.paste(200, (100, 0, 200, 100))
    wide.save(tmp_path / "a.png")
    assert photos.read_picture(tmp_path / "a.png", 20, True)[:, 1:-1].min() > 190


def bomb(path, width=60000, height=60000):
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
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"0" * 10))
        + chunk(b"IEND", b"")
    )


def test_a_picture_may_have_a_hundred_million_pixels(tmp_path):
    for width, reason in ((10_001, "too large: 10,001 × 10,000"), (10_000, "damaged")):
        bomb(tmp_path / "a.png", width, 10_000)
        with pytest.raises(photos.Unreadable, match=reason):
            photos.read_picture(tmp_path / "a.png", 16, False)


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


def test_split_folders_are_honoured_and_a_missing_one_is_drawn(tmp_path, capsys):
    for k, split in enumerate(("train", "test")):
        fill(tmp_path / "photos" / split, count=10, seed=k)
    dataset = datasets.load(str(tmp_path / "photos"))
    said = "splits: those of the folders, with validation drawn from training;"
    assert said in capsys.readouterr().out
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [16, 4, 20]
    fill(tmp_path / "photos" / "Valid", count=5, seed=2)
    dataset = datasets.load(str(tmp_path / "photos"))
    assert "splits: those of the folders;" in capsys.readouterr().out
    assert [len(dataset.splits[name]) for name in reading.SPLITS] == [20, 10, 20]


def test_a_class_may_be_called_train(tmp_path):
    dataset = datasets.load(str(fill(tmp_path / "photos", ("car", "train"), 5)))
    assert dataset.classes == ("car", "train")


def test_names_in_other_scripts_stay_different():
    names = ("猫", "фото", "photos", "Über Fotos", "Straße")
    names = [photos.slug(name) for name in names]
    assert len(set(names)) == 5 and names[2:4] == ["photos", "uber-fotos"]


def test_long_names_stay_different_and_short_enough():
    names = ["a" * 59, *("bird " * 20 + end for end in "ab"), "ü" * 70, "a" * 61]
    slugs = [photos.slug(name) for name in names]
    assert slugs[0] == names[0] and len(set(slugs)) == 5
    assert all(len(slug) <= 60 and photos.slug(slug) == slug for slug in slugs)


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


TREES = {  # folders of six pictures, the classes, the sizes of the splits
    "a wrapper": ("w/cat w/dog", "cat dog", (8, 2, 2)),
    "macOS": ("w/cat w/dog __MACOSX/w/cat", "cat dog", (8, 2, 2)),
    "words": (
        "training_set/a training_set/b test_set/a test_set/b",
        "a b",
        (10, 2, 12),
    ),
    "Intel": (
        "seg_train/seg_train/a seg_train/seg_train/b seg_test/seg_test/a"
        " seg_test/seg_test/b",
        "a b",
        (10, 2, 12),
    ),  # fmt: skip
    "three": (
        "x/Train/a x/Train/b x/valid/a x/valid/b x/TEST/a x/TEST/b",
        "a b",
        (12, 12, 12),
    ),  # fmt: skip
    "splits in classes": ("a/train a/test b/train b/test", "a b", (10, 2, 12)),
    "capitals": ("train/Cat train/Dog test/cat test/DOG", "Cat Dog", (10, 2, 12)),
    "two spellings": ("Cat cat Dog", "Cat Dog", (12, 3, 3)),
    "numbers": ("0 1 2 10 11", "0 1 2 10 11", (20, 5, 5)),
    "nested": ("animal/cat animal/dog plant/tree/oak", "animal plant", (12, 3, 3)),
    "flat test": ("train/a train/b test", "a b", (8, 2, 2)),
    "a class test": ("test control", "control test", (8, 2, 2)),
    "valid and invalid": (
        "train/valid train/invalid test/valid test/invalid",
        "invalid valid",
        (10, 2, 12),
    ),  # fmt: skip
    "splits in one class": ("a/train a/test b", "a b", (10, 2, 6)),
    "annotations": ("train/a train/b labels/.hidden", "a b", (8, 2, 2)),
}


def grow(folder, tree):
    for k, path in enumerate(tree.split()):
        fill(folder / path, ".", seed=k)
    return folder


@pytest.mark.parametrize("tree", TREES)
def test_every_tree_of_folders_is_understood(tmp_path, tree):
    paths, classes, sizes = TREES[tree]
    dataset = datasets.load(str(grow(tmp_path / "photos", paths)), image_size=16)
    assert dataset.classes == tuple(classes.split())
    assert tuple(len(dataset.splits[name]) for name in reading.SPLITS) == sizes
    used, listed = len(dataset.images), len(dataset.left_out)
    everything = [*(tmp_path / "photos").rglob("[!.]*.png")]
    seen = [p for p in everything if not {"__MACOSX", ".hidden"} & {*p.parts}]
    assert used + listed == len(seen)


@pytest.mark.parametrize(
    "tree, sentence",
    [
        (".", "6 of its 6 files are left out, such as photos/0.png: in no class"),
        ("train test", "12 of its 12 files .*in no class folder"),
        ("test/a test/b", "pictures for test and none to train on: add a folder train"),
        ("train/cats train/dogs test/cat", "test folder has classes .*: cat; that one"),
        ("train/a", "one class only"),
    ],
)
def test_a_tree_that_is_not_understood_is_one_sentence(tmp_path, tree, sentence):
    with pytest.raises(LabError, match=sentence):
        datasets.load(str(grow(tmp_path / "photos", tree)), image_size=16)


@settings(deadline=None)
@given(
    before=st.sampled_from(["", "seg_", "my ", "2-"]),
    word=st.sampled_from(sorted(photos.SPLIT_WORDS)),
    after=st.sampled_from(["", "_set", "set", "-data", "ing_images", " (1)", "2017"]),
    change=st.sampled_from([str.lower, str.upper, str.title]),
)
def test_a_split_is_recognised_in_any_name(before, word, after, change):
    if after.startswith("ing") and word not in ("train", "test"):
        after = ""
    name = change(before + word + after)
    assert photos.split_of(name) == photos.SPLIT_WORDS[word]
    assert photos.split_of(f"un{word}ed") is None


def test_all_that_is_not_used_is_listed(tmp_path):
    folder = grow(tmp_path / "photos", "train/a train/b test/a test/b seg_pred/x")
    picture(99).save(folder / "loose.png")
    picture(98).save(folder / "train" / "loose.png")
    os.symlink(folder, folder / "train" / "a" / "loop")
    left_out = datasets.load(str(folder), image_size=16).left_out
    reasons = dict(zip(left_out["file"], left_out["reason"], strict=True))
    assert reasons.pop("loose.png") == reasons.pop("train/loose.png")
    assert reasons.pop("train/a/loop") == "a link to a folder"
    assert set(reasons) == {f"seg_pred/x/{i}.png" for i in range(6)}
    assert set(reasons.values()) == {"beside test, train"}


def test_a_folder_that_cannot_be_opened_is_listed(tmp_path, monkeypatch):
    folder = grow(tmp_path / "photos", "a b a/closed")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(photos.os, "scandir", refuse)
    files, left_out = photos.listing(folder)
    assert len(files) == 12
    closed = folder / "a" / "closed"
    assert left_out == {closed: "cannot be opened: Permission denied"}


def test_a_class_that_falls_short_shows_its_commonest_reason(tmp_path):
    folder = grow(tmp_path / "photos", "a b")
    for path in (folder / "b").iterdir():
        path.write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "b" / "0.png").write_bytes(b"")
    with pytest.raises(LabError, match=r"fewer: b \(0; 5 × a HEIC photograph: `pip"):
        datasets.load(str(folder))
    for path in (folder / "a").iterdir():
        (folder / "b" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(LabError, match=r"b \(0; 6 × the same pixels as an image of a"):
        datasets.load(str(folder))


@pytest.mark.parametrize(
    "name, head, reason",
    [
        ("a.CR2", b"II*\0", "a camera's raw file"),
        ("a.cr3", b"\0\0\0\x18ftypcrx ", "a camera's raw file"),
        ("a.heic", b"\0\0\0\x18ftypheix", "a HEIC photograph"),
        ("a.jpg", b"\0\0\0\x18ftypmif1", "a HEIC photograph"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "a film"),
    ],
)
def test_what_no_package_here_reads_is_named(tmp_path, monkeypatch, name, head, reason):
    monkeypatch.setattr(photos, "FORMATS", ["JPEG", "PNG"])  # no pillow-heif
    (tmp_path / name).write_bytes(head + b"\0" * 50)
    with pytest.raises(photos.Unreadable, match=reason):
        photos.read_picture(tmp_path / name, 16, False)


@pytest.mark.parametrize("kind", ["PPM", "JPEG2000", "AVIF", "HEIF"])
def test_other_forms_are_read_where_a_package_can(tmp_path, kind):
    if kind not in photos.FORMATS or kind not in Image.SAVE:
        pytest.skip(f"nothing here writes {kind}")
    Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / "a", kind)
    image = photos.read_picture(tmp_path / "a", 16, False).astype(int)
    assert (abs(image - [200, 100, 50]) < 8).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "F", "RGB", "P"])
def test_a_large_picture_is_made_small_before_anything_else(
    tmp_path, monkeypatch, mode
):
    level = {"I;16": 30000, "F": 0.5, "P": 7}.get(mode, (120,) * len(mode))
    large = Image.new(mode, (1000, 900), level)
    if mode == "P":
        large.putpalette([120] * 768)
    large.save(tmp_path / "a.tiff")
    sizes, plain = [], photos._plain
    monkeypatch.setattr(
        photos, "_plain", lambda p, *ground: [sizes.append(p.size), plain(p)][1]
    )
    image = photos.read_picture(tmp_path / "a.tiff", 20, True)
    assert sizes[0][1] <= 180 and 100 < image.min() and image.max() < 200


def test_pictures_of_any_kind_are_read(tmp_path, monkeypatch):
    fill(tmp_path / "photos", ("cat",), 2)
    one, array = picture(5), np.zeros((9, 9, 3), np.uint8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    shape = (16, 16, 3)
    source = ["photos/cat/0.png", one, array, "~/photos"]
    names, images, _ = photos.pictures(source, shape)
    assert names == [0, 1, 2, 3, 4] and images.shape == (5, *shape)
    assert (images[0] == images[3]).all()
    path = tmp_path / "photos" / "cat" / "0.png"
    assert photos.pictures(path, shape)[0] == ["0.png"]
    (tmp_path / "half.png").write_bytes(path.read_bytes()[:300])
    with pytest.raises(LabError, match="The picture is damaged"):
        photos.pictures(Image.open(tmp_path / "half.png"), shape)
    with Image.open(path) as opened:
        assert (photos.pictures(opened, shape)[1] == images[:1]).all()
        assert opened.size == (30, 20)


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("https://example.org/cat.jpg", "is an address: download the picture"),
        ("no/such.jpg", "there is no such file"),
        ("C:\\me\\cat.jpg", "there is no such file"),
        ([], "list of pictures is empty"),
        (None, "NoneType is no picture"),
        (b"abc", "bytes is no picture"),
        (np.zeros((4, 4, 3)), "is uint8 of shape"),
        ("a\0b", "there is no such file"),
    ],
)
def test_what_is_no_picture_is_one_sentence(source, sentence):
    with pytest.raises(LabError, match=sentence):
        photos.pictures(source, (16, 16, 3))


def test_a_relative_folder_is_seen_from_here_and_then_from_the_repository(
    tmp_path, monkeypatch
):
    fill(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert len(datasets.load("photos/").images) == 12
    assert reading.place("tests").samefile(Path(__file__).parent)
    (tmp_path / "tests").mkdir()
    assert reading.place("tests").samefile(tmp_path / "tests")


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
        and not photos.split_of(name)
    )
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    classes=st.lists(NAMES, min_size=2, max_size=4, unique_by=photos.same),
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
        except LabError:  # too few that differ
            assume(False)
        expected = tuple(sorted(classes, key=photos.natural))
        assert dataset.classes == expected and dataset.name.isascii()
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
