"""A data base of one's own: 120 pictures are collected, labelled by two people,
compared, divided and described; what is interrupted loses nothing.
"""

import csv
import io
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from apps import agreement, collect, curve, datasheet, splits
from apps.collection import Collection, Log, bring
from apps.labels import SKIPPED, UNSURE, Annotator, Labels
from apps.serving import Request
from conftest import ROOT, packages
from lab import LabError, datasets
from lab.methods import audit
from lab.plumbing import reading

CLASSES = ["circle", "square", "triangle"]
SESSION = {
    "source": "drawn by the tests",
    "consent": "nobody can be recognised in the pictures",
    "grouping": "folder",
    "group": "",
}
GPS, TAKEN, ORIENTATION = 0x8825, 0x0132, 0x0112


def drawing(kind, scene, number):
    """Return a picture of a shape in a scene: 64 x 64 pixels."""
    ground = np.random.default_rng(scene).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(ground).resize((64, 64), Image.Resampling.NEAREST)
    left, top = (
        2 + 6 * (number % 5),
        np.random.default_rng([scene, number]).integers(28),
    )
    box, draw = (left, top, left + 34, top + 34), ImageDraw.Draw(image)
    if kind == "circle":
        draw.ellipse(box, fill="white")
    elif kind == "square":
        draw.rectangle(box, fill="white")
    else:
        draw.polygon(
            [(left, top + 34), (left + 34, top + 34), (left + 17, top)], "white"
        )
    return image


def jpeg(image, **tags):
    """Return a picture as a JPEG that tells where and when it was taken."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[TAKEN] = tags.get("orientation", 1), "2026:05:01 12:00:00"
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[2] = (48.0, 51.0, 29.0)
    packed = io.BytesIO()
    xmp = b"<x:xmpmeta>48.85,2.29</x:xmpmeta>"
    image.save(packed, "JPEG", quality=92, exif=exif, xmp=xmp, comment=b"Paris")
    return packed.getvalue()


def photo_folder(folder):
    """Write 120 pictures of 24 scenes, and return {path: class}."""
    written = {}
    for scene in range(24):
        kind = CLASSES[scene % 3]
        for number in range(5):
            path = folder / f"scene {scene}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(drawing(kind, scene, number)))
            written[path] = kind
    # The same scene and shape, a little brighter, in the folder of another scene.
    bright = Image.eval(drawing("circle", 0, 0), lambda value: min(255, value + 6))
    (folder / "scene 3" / "0.jpg").write_bytes(jpeg(bright))
    return written


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return photo_folder(tmp_path_factory.mktemp("originals"))


def collected(folder, originals):
    """Return a Collection of the pictures, and {name: class}."""
    collection, truth = Collection(folder), {}
    collection.set_classes(CLASSES)
    for path, kind in originals.items():
        file = f"{path.parent.name}/{path.name}"
        [(name, _)] = bring(collection, file, path, SESSION)
        truth[name] = kind
    return collection, truth


def labelled(collection, truth):
    """Let two people label: Ben takes every eighth square for a circle, and cannot
    tell for one picture.
    """
    labels = Labels(collection)
    squares = [name for name, kind in truth.items() if kind == "square"]
    for who in ("Anna", "Ben"):
        person = labels.annotator(who)
        while left := person.left():
            name = left[0]
            wrong = who == "Ben" and name in squares[::8]
            person.label(name, "circle" if wrong else truth[name])
    labels.annotators["ben"].label(squares[1], UNSURE)
    return labels, squares


@pytest.fixture(scope="module")
def example(tmp_path_factory, originals):
    """The worked example: collected, labelled and divided."""
    folder = tmp_path_factory.mktemp("own") / "shapes"
    collection, truth = collected(folder, originals)
    labels, squares = labelled(collection, truth)
    labels.decide(squares[0], "square")
    told = splits.divide(collection, labels)
    names = ("collection", "truth", "labels", "squares", "told")
    values = (collection, truth, labels, squares, told)
    return SimpleNamespace(**dict(zip(names, values)))


def copy_of(example, folder):
    """Return the Collection and the Labels of a copy that a test may change."""
    collection = Collection(shutil.copytree(example.collection.folder, folder / "own"))
    return collection, Labels(collection)


# --- the worked example


def test_two_people_disagree_and_their_votes_are_kept(example):
    found = agreement.agreement(example.labels)
    [pair] = found["pairs"]
    assert pair["annotators"] == ["anna", "ben"] and pair["pictures"] == 119
    assert pair["same"] == pytest.approx(114 / 119)
    assert pair["confusion"] == [[40, 0, 0], [5, 34, 0], [0, 0, 40]]
    value, low, high = pair["kappa"]
    assert low < value < high < 1 and found["annotators"]["ben"]["unsure"] == 1
    assert {one["picture"] for one in found["disputed"]} == {*example.squares[::8]}
    assert found["disputed"][0]["votes"] == {"square": ["anna"], "circle": ["ben"]}
    # One was decided; four have as many votes for one class as for another.
    assert found["tied"] == 4 and len(example.labels.final()) == 116
    assert found["ceiling"][0] == pytest.approx((2 * 114 + 5) / (2 * 119))


def test_the_data_set_is_one_that_make_photos_reads_as_it_is(
    example, tmp_path, monkeypatch
):
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    found = datasets.load(str(example.collection.folder), image_size=16)
    assert found.classes == tuple(CLASSES) and not len(found.left_out)
    rows, final = splits.stored(example.collection), example.labels.final()
    assert {row["picture"]: row["label"] for row in rows} == final
    for split, folder in splits.FOLDERS.items():
        mine = [row for row in rows if row["split"] == folder]
        assert len(found.splits[split]) == len(mine) and {
            row["label"] for row in mine
        } == {*CLASSES}
    disputed = next(row for row in rows if row["picture"] == example.squares[0])
    assert disputed["votes"] == "anna: square; ben: circle"


def test_no_group_and_no_near_copy_stands_in_two_splits(example):
    where = {row["picture"]: row["split"] for row in splits.stored(example.collection)}
    groups = {}
    for picture, group in example.collection.groups().items():
        if picture in where:
            groups.setdefault(group, set()).add(where[picture])
    assert len(groups) == 24 and all(len(split) == 1 for split in groups.values())
    [near] = example.told["near"]
    assert {example.truth[name] for name in near["pictures"]} == {"circle"}
    assert len({where[name] for name in near["pictures"]}) == 1
    assert example.told["groups"] == 23 and example.told["largest"] == 10


def test_the_leak_of_a_division_at_random_is_measured(example):
    random, here = example.told["leak"]["random"], example.told["leak"]["grouped"]
    assert random["group"] > 0.9 and here["group"] == 0
    assert here["copy"] == 0 < random["copy"]
    assert random["neighbour"] > here["neighbour"] + 0.1


def test_the_datasheet_is_filled_in_and_keeps_what_its_authors_write(
    example, originals, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasheet, "ROOT", tmp_path)
    folder = tmp_path / "first" / "shapes"
    mine = Collection(shutil.copytree(example.collection.folder, folder))
    labels = Labels(mine)
    page = datasheet.written(mine, labels)
    text = page.read_text()
    assert page == tmp_path / "data" / "shapes.md"
    for fact in (
        "Collected: 120 pictures.",
        "Source of 120 pictures: drawn by the tests",
        "anna and ben gave the same label to 95.8 % of 119 pictures",
        "or more): 1 pair, whose groups were joined",
        "| circle | ",
    ):
        assert fact in text
    assert not datasheet.drawing("shapes").exists()
    asked = datasheet.open_places(text)
    assert asked == sum(map(len, datasheet.QUESTIONS.values()))
    question = f"{datasheet.OPEN} {datasheet.QUESTIONS['Motivation'][0]}"
    page.write_text(text.replace(question, "To tell shapes apart."))
    labels.annotator("Cleo").label(example.squares[3], "square")
    log = mine.inside / "pictures.csv"  # a source is corrected, as the docs say
    log.write_text(log.read_text().replace("drawn by the tests", "drawn by us"))
    text = datasheet.written(Collection(folder), labels).read_text()
    assert "To tell shapes apart." in text and "cleo labelled 1 picture," in text
    assert datasheet.open_places(text) == asked - 1
    other = collected(tmp_path / "shapes", dict([*originals.items()][7:12]))[0]
    with pytest.raises(LabError, match="shapes.md describes another data base"):
        datasheet.written(other, Labels(other))
    assert page.read_text() == text
    page.write_text("# Something else\n")
    with pytest.raises(LabError, match="is a page of its own"):
        datasheet.written(example.collection, example.labels)


# --- copies


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_copy_has_every_pixel_and_no_place(tmp_path, orientation):
    path, collection = tmp_path / "photo.jpg", Collection(tmp_path / "own")
    image = drawing("circle", 1, 1).resize((64, 40))
    path.write_bytes(original := jpeg(image, orientation=orientation))
    [(name, _)] = bring(collection, "photo.jpg", path, SESSION)
    copy = collection.path(name).read_bytes()
    assert path.read_bytes() == original
    assert b"Paris" not in copy and b"48.85" not in copy
    with Image.open(io.BytesIO(copy)) as kept, Image.open(path) as given:
        assert np.array_equal(kept, given)
        assert kept.getexif().get(ORIENTATION, 1) == orientation
        assert {*kept.getexif()} <= {ORIENTATION} and "xmp" not in kept.info
    row = collection.pictures[name]
    assert row["taken"] == "2026-05-01 12:00:00"
    upright = ("64", "40") if orientation == 1 else ("40", "64")
    assert (row["width"], row["height"]) == upright
    assert [*bring(collection, "photo.jpg", path, SESSION)] == [
        (None, "it is here already")
    ]


def test_odd_metadata_keep_no_picture_out(tmp_path):
    negative = struct.pack("<LHHHLlL", 8, 1, 0x8769, 9, 1, -5, 0)  # a place in the file
    image, collection = drawing("circle", 1, 2), Collection(tmp_path / "own")
    image.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0" + negative)
    [(name, reason)] = bring(collection, "a.jpg", tmp_path / "a.jpg", SESSION)
    assert reason is None and collection.pictures[name]["taken"] == ""


def test_stray_bytes_between_the_parts_of_a_photo_hide_no_metadata(tmp_path):
    plain = jpeg(drawing("circle", 1, 2))
    first = 4 + int.from_bytes(plain[4:6], "big")  # the end of the first part
    (tmp_path / "a.jpg").write_bytes(plain[:first] + b"\0\0" + plain[first:])
    collection = Collection(tmp_path / "own")
    [(name, _)] = bring(collection, "a.jpg", tmp_path / "a.jpg", SESSION)
    kept = collection.path(name).read_bytes()
    for told in (b"Paris", b"48.85", b"2026:05:01"):
        assert told in plain and told not in kept
    with Image.open(io.BytesIO(kept)) as copy, Image.open(io.BytesIO(plain)) as whole:
        assert np.array_equal(copy, whole)


def test_a_png_with_text_and_transparency_becomes_a_plain_one(tmp_path):
    image = drawing("square", 2, 0).convert("RGBA")
    image.putalpha(128)
    exif = Image.Exif()
    exif.get_ifd(GPS)[1] = "N"
    image.save(tmp_path / "a.png", exif=exif)
    collection = Collection(tmp_path / "own")
    [(name, _)] = bring(collection, "a.png", tmp_path / "a.png", SESSION)
    with Image.open(collection.path(name)) as kept:
        assert kept.mode == "RGB" and not kept.getexif() and not kept.info


def test_what_is_no_picture_is_named_and_nothing_is_kept(tmp_path):
    collection = Collection(tmp_path / "own")
    (tmp_path / "a.jpg").write_text("no picture")
    (tmp_path / "b.mp4").write_text("no film")
    cut_off = jpeg(drawing("circle", 0, 0))[:-400]
    (tmp_path / "c.jpg").write_bytes(cut_off)
    for name, reason in (
        ("a.jpg", "not a picture"),
        ("b.mp4", "no film"),
        ("c.jpg", "damaged"),
    ):
        [(added, said)] = bring(collection, name, tmp_path / name, SESSION)
        assert added is None and reason in said
    assert not collection.pictures and not list(collection.inside.rglob("*.jpg"))


def test_of_a_film_every_nth_frame_is_one_group(tmp_path):
    import cv2

    film = cv2.VideoWriter(
        str(tmp_path / "walk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64)
    )
    for number in range(20):
        film.write(np.asarray(drawing("circle", 5, number)))
    film.release()
    collection = Collection(tmp_path / "own")
    added = [*bring(collection, "walk.avi", tmp_path / "walk.avi", SESSION, every=5)]
    rows = collection.pictures.values()
    assert len(added) == 4 and [row["frame"] for row in rows] == ["0", "5", "10", "15"]
    assert {*collection.groups().values()} == {"film walk.avi"}


def test_faces_are_cut_out(tmp_path):
    from skimage import data

    Image.fromarray(data.astronaut()).save(tmp_path / "a.png")
    Image.fromarray(data.coffee()).save(tmp_path / "b.png")
    collection = Collection(tmp_path / "own")
    [(name, _)] = bring(collection, "a.png", tmp_path / "a.png", SESSION, cut=True)
    with Image.open(collection.path(name)) as face:
        assert face.width == face.height and 80 < face.width < 130
    [(name, reason)] = bring(collection, "b.png", tmp_path / "b.png", SESSION, cut=True)
    assert name is None and reason == "no face was found"


@pytest.mark.parametrize(
    "grouping, files, groups",
    [
        ("none", ["a/1.png", "a/2.png", "b/1.png"], 3),
        ("folder", ["a/1.png", "a/2.png", "b/1.png"], 2),
        ("name", ["anna_01.png", "anna_02.png", "ben_01.png", "7.png"], 3),
        ("time", ["12:00:00", "12:00:09", "12:00:19", "12:00:30"], 3),
    ],
)
def test_groups_follow_from_what_the_collector_says(tmp_path, grouping, files, groups):
    collection = Collection(tmp_path / "own")
    for number, file in enumerate(files):
        packed = io.BytesIO()
        drawing("circle", 9, number).save(packed, "PNG")
        taken = f"2026-05-01 {file}" if grouping == "time" else None
        session = SESSION | {"grouping": grouping}
        collection.add(file, packed.getvalue(), session, taken=taken)
    assert len({*collection.groups().values()}) == groups
    named = collection.add("x.png", packed.getvalue()[:-1] + b"\0" + b"\0", SESSION)
    assert named is None  # the same pixels


def test_pictures_of_the_camera_are_a_burst_and_those_without_a_time_are_not(page):
    given = {"source": "me", "consent": "not known", "grouping": "time"}
    camera, before = [{"camera": "1"}, {"camera": "1"}, {}, {}], page("GET", "/state")
    for number, more in enumerate(camera):
        packed = io.BytesIO()
        drawing("square", 88, number).save(packed, "PNG")
        file = f"{number}.png"
        [*page("POST", "/add", packed.getvalue(), file=file, **given, **more)]
    own = Collection(before["folder"])
    *_, first, second, third, fourth = own.groups().values()
    assert first == second and len({first, third, fourth}) == 3
    said = "\n".join(datasheet.known(own, Labels(own))["Splits"])
    assert "Grouped by their time: 2 pictures." in said
    assert "Not grouped: 2 pictures." in said


def test_spaces_in_the_name_of_a_class_are_those_of_the_tables(tmp_path):
    collection = Collection(tmp_path / "own")
    collection.set_classes(["black  cat ", "dog\xa0big"])
    assert collection.classes == ["black cat", "dog big"]


def test_a_square_drawn_by_hand_is_what_is_shown_and_divided(example, tmp_path):
    collection = Collection(tmp_path / "own")
    collection.set_classes(["a", "b"])
    packed = io.BytesIO()
    image = drawing("circle", 3, 3).resize((128, 64))
    image.save(packed, "PNG")
    name = collection.add("a.png", packed.getvalue(), SESSION)
    collection.crop(name, 100, 10, 40)  # moved back into the picture
    again = Collection(collection.folder)
    assert again.crops[name] == (88, 10, 40)
    assert np.array_equal(again.image(name), image.crop((88, 10, 128, 50)))
    splits.write_dataset(again, [(name, "train", "a", 0, "")])
    [written] = (collection.folder / "train" / "a").iterdir()
    with Image.open(written) as shown:
        assert shown.size == (40, 40)
    with pytest.raises(LabError, match="draw one of 16 or more"):
        collection.crop(name, 0, 0, 5)
    collection.crop(name, 0, 0, 0)
    assert not Collection(collection.folder).crops


# --- labels


def test_each_person_has_another_order_and_skipped_pictures_come_last(
    example, tmp_path
):
    collection, _ = copy_of(example, tmp_path)
    some = [Annotator(collection, who).left() for who in ("Dora", "Emil")]
    assert some[0] != some[1] and {*some[0]} == {*some[1]}
    person = Annotator(collection, "Frida")
    first, second, *_ = person.left()
    person.label(first, SKIPPED)
    person.label(second, "circle")
    assert person.left()[-1] == first and second not in person.left()
    assert person.counts() == {"circle": 1, "square": 0, "triangle": 0}
    assert person.undo() == second and person.undo() == first
    assert person.undo() is None and person.left()[:2] == [first, second]
    again = Annotator(collection, "frida")
    assert again.left() == person.left()


def test_an_unknown_class_or_picture_or_name_is_one_sentence(example):
    person = Annotator(example.collection, "Gil")
    with pytest.raises(LabError, match="no class circel"):
        person.label(person.left()[0], "circel")
    with pytest.raises(LabError, match="no picture x.jpg"):
        person.label("x.jpg", "circle")
    with pytest.raises(LabError, match="Type your name"):
        Annotator(example.collection, " - ")
    for names, said in (
        (["a"], "two or more"),
        (["a", "A "], "different names"),
        (list("abcdefghij"), "at most 9"),
        (["a/b", "c"], "cannot be called a/b"),
        (["circle", "square"], "labelled as triangle"),
    ):
        with pytest.raises(LabError, match=said):
            example.collection.set_classes(names, example.labels.used())


def test_a_label_file_that_was_brought_back_under_another_name_is_named(
    example, tmp_path
):
    collection, _ = copy_of(example, tmp_path)
    path = collection.inside / "labels" / "ben.csv"
    path.rename(path.with_name("ben (1).csv"))
    with pytest.raises(LabError, match=r"ben \(1\).csv .* call it ben-1.csv"):
        Labels(collection)


def test_what_another_machine_adds_to_the_labels_does_no_harm(example, tmp_path):
    collection, labels = copy_of(example, tmp_path)
    known = {*labels.annotators}
    assert labels.annotator(min(known)) is labels.annotators[min(known)]
    (collection.inside / "labels" / "._anna.csv").write_bytes(b"\0Mac")
    with open(collection.inside / "decisions.csv", "a") as file:
        file.write(f"{min(collection.pictures)},zebra,2026-05-01 12:00:00\n")
    again = Labels(collection)
    assert {*again.annotators} == known and "zebra" not in again.decisions.values()
    for damaged in ("[1]", '{"a": 1}', "{"):
        (collection.inside / "curve.json").write_text(damaged)
        assert splits.kept(collection, "curve") is None


def test_a_killed_program_loses_no_label(example, tmp_path):
    collection, _ = copy_of(example, tmp_path)
    heard, told = os.pipe()
    child = os.fork()
    if not child:  # labels until it is killed
        try:
            person = Annotator(collection, "Hugo")
            for picture in itertools.cycle(person.left()):
                person.label(picture, "circle")
                os.write(told, f"{picture}\n".encode())
        finally:
            os._exit(1)
    os.close(told)
    said = b""
    while said.count(b"\n") < 40:
        part = os.read(heard, 100)
        assert part, "it ended by itself"
        said += part
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(heard, 4096):
        said += part
    os.close(heard)
    labels = Annotator(collection, "Hugo").labels
    assert {*said.decode().split()} <= {*labels}


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    log = Log(tmp_path / "a.csv", ("picture", "label"))
    log.append(picture="1", label='one, "two"\nthree')
    log.append(picture="2", label="four")
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-3])
    again = Log(log.path, log.columns)
    assert again.rows == [{"picture": "1", "label": 'one, "two" three'}]
    again.append(picture="2", label="four")
    assert log.path.read_bytes() == content
    with pytest.raises(LabError, match="does not have the columns picture, time"):
        Log(log.path, ("picture", "time"))
    log.path.write_bytes("picture,label\n1,café\n".encode("latin-1"))
    with pytest.raises(LabError, match="a.csv is not written in UTF-8"):
        Log(log.path, log.columns)
    log.path.write_bytes(b"picture,label\r1,cat\r")
    with pytest.raises(LabError, match="a.csv has the line ends of an old Macintosh"):
        Log(log.path, log.columns)
    log.path.write_bytes(content + b"\0\0\0")  # what a power failure leaves
    assert len(Log(log.path, log.columns).rows) == 2
    log.path.write_text('picture,label\n1,"never closed\n' + "2,four\n" * 30_000)
    with pytest.raises(LabError, match="does not have the columns picture, label"):
        Log(log.path, log.columns)


def test_a_number_or_time_that_was_written_wrong_is_one_sentence(example, tmp_path):
    own = Path(shutil.copytree(example.collection.folder, tmp_path / "own"))
    table = own / "_collected" / "pictures.csv"
    header, first, *rest = table.read_text().splitlines()
    columns, cells = header.split(","), next(csv.reader([first]))
    for column, wrong, said in (
        ("width", "wide", "a number in pictures.csv or crops.csv cannot be read"),
        ("taken", "2026-01-01T00:00:00+01:00", "write it as 2026-05-01 12:00:00"),
    ):
        changed = dict(zip(columns, cells)) | {"grouping": "time", column: wrong}
        changed |= {"group": "", "frame": ""}
        line = ",".join(f'"{changed[name]}"' for name in columns)
        table.write_text("\n".join([header, line, *rest]) + "\n")
        with pytest.raises(LabError, match=said):
            Collection(own).groups()


def test_classes_and_divisions_that_were_changed_are_one_sentence(example, tmp_path):
    own = Path(shutil.copytree(example.collection.folder, tmp_path / "own"))
    about, collection = own / "_collected" / "collection.json", Collection(own)
    (collection.inside / "splits.csv").write_bytes("Käse,x\n".encode("latin-1"))
    with pytest.raises(LabError, match="splits.csv was changed: delete it"):
        splits.stored(collection)
    for wrong in ("null", '"cat"', "[1, 2]"):
        about.write_text(f'{{"classes": {wrong}}}')
        with pytest.raises(LabError, match="collection.json cannot be read"):
            Collection(own)


def test_a_step_too_early_is_one_sentence(tmp_path, originals):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="is a file: give another FOLDER="):
        Collection(tmp_path / "file")
    with pytest.raises(LabError, match='no pictures yet: make collect FOLDER=".*new"'):
        collect.main(["agree", str(tmp_path / "new")])
    own, truth = collected(tmp_path / "shapes", dict([*originals.items()][:10]))
    with pytest.raises(LabError, match="run make collect FOLDER=.* STEP=split"):
        datasets.load(str(own.folder))
    labels = Labels(own)
    for who, kind, said in (
        (None, None, "No picture has a label yet"),
        ("Anna", "circle", "All labels are circle"),
        ("Ben", "square", "equally many votes"),
    ):
        for name in truth if who else ():
            labels.annotator(who).label(name, kind)
        with pytest.raises(LabError, match=said):
            splits.divide(own, labels)


def test_a_table_that_an_editor_or_a_spreadsheet_saved_is_read_whole(tmp_path):
    log = Log(tmp_path / "a.csv", ("picture", "time"))
    log.append(picture="1", time="2026-05-01 12:00:00")
    log.append(picture="2", time="2026-05-01 12:00:01")
    content, rows = log.path.read_bytes(), log.rows
    for saved in (content[:-1], b"\xef\xbb\xbf" + content, content + b"\n"):
        log.path.write_bytes(saved)
        assert Log(log.path, log.columns).rows == rows
    log.path.write_bytes(content.replace(b",", b";"))
    with pytest.raises(LabError, match="separated by commas"):
        Log(log.path, log.columns)


def test_a_picture_that_was_taken_out_is_asked_and_counted_no_more(example, tmp_path):
    collection, labels = copy_of(example, tmp_path)
    name = next(iter(collection.pictures))
    labels.annotator("Cem").label(name, SKIPPED)
    labels.decide(name, "circle")
    table = collection.inside / "pictures.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if name not in line))
    collection.path(name).unlink()
    again = Collection(collection.folder)
    labels = Labels(again)
    assert name not in labels.annotator("Cem").left() and len(again.pictures) == 119
    assert name not in labels.final() and name not in labels.decisions


def test_git_leaves_pictures_out_before_a_class_is_named(tmp_path):
    collection = Collection(tmp_path / "own")
    collection.hold()
    assert (tmp_path / "own" / ".gitignore").read_text() == "*\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".gitignore").write_text("train\n")
    Collection(tmp_path / "mine").hold()
    assert (tmp_path / "mine" / ".gitignore").read_text() == "train\n"


@pytest.mark.parametrize("name", ["digits", "CIFAR10", "fashion_mnist"])
def test_a_folder_with_the_name_of_a_known_data_set_is_refused(name, tmp_path):
    with pytest.raises(LabError, match=f"{name} is a known data set: give FOLDER="):
        Collection(tmp_path / name)


# --- agreement


votes = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=2, max_size=40)


@settings(deadline=None, max_examples=50)
@given(votes)
def test_the_kappas_are_those_of_the_libraries(said):
    said = np.array(said)
    matrix = np.zeros((3, 3))
    np.add.at(matrix, (said[:, 0], said[:, 1]), 1)
    counts = np.array([np.bincount(row, minlength=3) for row in said])
    parts = agreement.fleiss_parts(counts).sum(axis=0)
    if len(np.unique(said[:, :2])) > 1:
        ours = agreement.cohen(matrix)
        assert ours == pytest.approx(
            cohen_kappa_score(*said[:, :2].T, labels=[0, 1, 2])
        )
        theirs = inter_rater.cohens_kappa(matrix, return_results=False)
        assert ours == pytest.approx(theirs)
    if len(np.unique(said)) > 1:
        theirs = inter_rater.fleiss_kappa(counts)
        assert agreement.fleiss(parts) == pytest.approx(theirs)


def test_the_interval_is_about_that_of_theory_and_wider_for_groups():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 400)
    second = np.where(rng.random(400) < 0.8, first, rng.integers(0, 3, 400))
    matrices = np.zeros((400, 3, 3))
    matrices[np.arange(400), first, second] = 1
    known = inter_rater.cohens_kappa(matrices.sum(axis=0))
    value, low, high = agreement.with_interval(
        matrices, np.arange(400), agreement.cohen
    )
    assert value == pytest.approx(known.kappa)
    assert (low, high) == pytest.approx((known.kappa_low, known.kappa_upp), abs=0.02)
    # Each picture four times is no more knowledge than once.
    fourfold = np.repeat(matrices, 4, axis=0)
    grouped = agreement.with_interval(
        fourfold, np.repeat(np.arange(400), 4), agreement.cohen
    )
    assert grouped[1:] == pytest.approx((low, high), abs=0.01)
    alone = agreement.with_interval(matrices[:5], np.zeros(5, int), agreement.cohen)
    assert alone[1:] == (None, None)


# --- splits


@pytest.mark.filterwarnings("error")
def test_two_people_with_one_answer_have_a_kappa_that_is_not_defined():
    parts = np.zeros((8, 2, 2))
    parts[:, 0, 0] = 1  # both always gave the first class
    found = agreement.with_interval(parts, np.arange(8), agreement.cohen)
    assert found == (None, None, None)


def test_near_copies_are_those_of_the_audit():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    images[20:25] = np.clip(images[:5] * 0.9 + 12, 0, 255).astype(np.uint8)
    labels = np.zeros(30, int)
    halves = {"training": images[:20], "test": images[20:]}
    dataset = SimpleNamespace(split=lambda name: (halves[name], labels))
    theirs = audit.near_copies(dataset)
    ours = splits.near_pairs(images, np.arange(30))
    assert {(i, j - 20) for i, j, _ in ours} == {
        *zip(theirs["training"], theirs["test"])
    }
    assert len(ours) == 5 and not splits.near_pairs(images, labels)


def test_joined_groups_follow_chains():
    groups = np.array([0, 0, 1, 2, 3])
    found = splits.joined(groups, [(1, 2, 1.0), (2, 3, 1.0)])
    assert len({*found[:4]}) == 1 and found[4] != found[0]


def test_too_few_groups_are_named():
    labels, groups = (
        np.array([0] * 6 + [1] * 6),
        np.array([0, 1, 2, 3, 4, 5] + [6, 7] * 3),
    )
    with pytest.raises(LabError, match=r"Too few: dog \(2\)"):
        splits.divided(labels, groups, ["cat", "dog"])


def test_three_groups_a_class_are_enough():
    labels, groups = np.repeat([0, 1], 60), np.repeat(np.arange(6), 20)
    split = splits.divided(labels, groups, ["cat", "dog"])
    for label in (0, 1):
        assert {*split[labels == label]} == {*splits.SPLITS}


def test_a_division_that_is_interrupted_ends_at_the_next_start(
    example, tmp_path, monkeypatch
):
    collection, labels = copy_of(example, tmp_path)
    before = splits.stored(collection)
    labels.decide(before[0]["picture"], UNSURE)
    moved, rename = [], Path.rename

    def killed(path, target):
        moved.append(path)
        if len(moved) == 3:  # .new, train, and not validation
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            splits.divide(collection, labels)
    splits.repair(collection)
    rows = splits.stored(collection)
    assert {row["picture"]: row["label"] for row in rows} == labels.final()
    assert len(rows) and before[0]["picture"] not in labels.final()
    folders = {
        path.relative_to(collection.folder).parts
        for name in splits.FOLDERS.values()
        for path in (collection.folder / name).rglob("*.*")
    }
    assert folders == {(row["split"], row["label"], row["picture"]) for row in rows}


@pytest.mark.parametrize("owner, name", [(shutil, "copyfile"), (Path, "replace")])
def test_the_page_and_a_terminal_divide_one_after_the_other(
    example, tmp_path, monkeypatch, capsys, owner, name
):
    collection, labels = copy_of(example, tmp_path)
    plain, halfway, further, said = getattr(owner, name), Event(), Event(), ""

    def stopped(*given):
        if not halfway.is_set():
            halfway.set()
            further.wait(60)
        return plain(*given)

    monkeypatch.setattr(owner, name, stopped)
    with ThreadPoolExecutor(2) as pool:
        page = pool.submit(collect.do, "split", collection, labels)
        assert halfway.wait(60)
        again = Collection(collection.folder)
        terminal = pool.submit(collect.do, "split", again, Labels(again))
        while not terminal.done() and "waiting for it" not in said:
            said += capsys.readouterr().out
            time.sleep(0.01)
        further.set()
    assert page.result() == terminal.result() == splits.kept(collection, "splits")
    assert "dividing own: process" in said
    rows = splits.stored(collection)
    for row in rows:
        path = collection.folder / row["split"] / row["label"] / row["picture"]
        assert path.exists()
    assert {row["picture"]: row["label"] for row in rows} == labels.final()


def test_files_of_others_are_never_deleted(example, tmp_path):
    collection, labels = copy_of(example, tmp_path)
    mine = collection.folder / "train" / "circle" / "mine.jpg"
    mine.write_bytes(b"mine")
    with pytest.raises(LabError, match="mine.jpg was not written by make collect"):
        splits.divide(collection, labels)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    table = collection.inside / "splits.csv"
    table.write_text(table.read_text().replace(",", ";"))
    with pytest.raises(LabError, match="delete it and the folders train, valid") as no:
        splits.divide(collection, labels)
    table.unlink()
    for folder in splits.FOLDERS.values():
        assert folder in str(no.value)
        shutil.rmtree(collection.folder / folder)
    splits.divide(collection, labels)
    other = tmp_path / "other"
    (other / "cat").mkdir(parents=True)
    with pytest.raises(LabError, match="holds files already, such as cat"):
        Collection(other)


# --- the curve


def test_a_power_law_is_found_again_and_the_cautious_estimate_is_below_it():
    rng = np.random.default_rng(0)
    points = [
        {"images": n, "seed": seed, "wrong": int(rng.binomial(2000, 2 * n**-0.35))}
        for n in (125, 250, 500, 1000)
        for seed in range(3)
    ]
    found = curve.fitted(points, 2000)
    assert found["power"] == pytest.approx(0.35, abs=0.04)
    likely, low, high = found["twice"]
    assert low < likely < high and likely == pytest.approx(
        1 - 2 * 2000**-0.35, abs=0.02
    )
    assert 0 <= found["gain"][1] < found["gain"][0] == pytest.approx(0.039, abs=0.01)
    flat = [point | {"wrong": 300} for point in points]
    assert curve.fitted(flat, 2000)["gain"] == pytest.approx((0, 0), abs=1e-9)
    perfect = [point | {"wrong": 0} for point in points]
    assert curve.fitted(perfect, 2000)["now"] == 1
    rising = zip(points, [1700, 1720, 1710, *[1800] * 3, *[1890] * 3, *[1990] * 3])
    worse = [point | {"wrong": wrong} for point, wrong in rising]
    assert min(curve.fitted(worse, 2000)["twice"]) == 0


def test_a_curve_before_the_division_is_one_sentence(tmp_path, originals):
    collection, _ = collected(tmp_path / "shapes", originals)
    with pytest.raises(LabError, match="not divided yet: first do .* STEP=split"):
        collect.main(["curve", str(collection.folder)])


@pytest.mark.long
def test_the_small_network_learns_from_shares(example):
    found = curve.trained(example.collection, epochs=1)
    assert [one["images"] for one in found["points"]] == sorted(
        one["images"] for one in found["points"]
    )
    assert len({one["images"] for one in found["points"]}) >= 3
    assert splits.kept(example.collection, "curve") == json.loads(json.dumps(found))
    curve.drawn(found)


# --- the page


@pytest.fixture
def page(example, tmp_path):
    made = collect.Page(
        shutil.copytree(example.collection.folder, tmp_path / "own"), tmp_path
    )
    routes = made.routes()

    def asked(method, path, body=b"", **query):
        return routes[method, path](Request(query, io.BytesIO(body), len(body)))

    return asked


def test_the_page_shows_labels_and_takes_back(page):
    state = page("GET", "/state")
    assert state["pictures"] == 120 and state["classes"] == CLASSES
    found = page("GET", "/next", annotator="Ida")
    first, second = found["next"][:2]
    assert found["left"] == 120 and page("GET", "/picture", picture=first).exists()
    found = page("POST", "/label", annotator="Ida", picture=first, label="circle")
    assert found["next"][0] == second and found["counts"]["circle"] == 1
    found = page("POST", "/undo", annotator="Ida")
    assert found["next"][0] == first and found["left"] == 120
    with Image.open(page("GET", "/picture", picture=first, size="thumb")) as thumb:
        assert max(thumb.size) <= collect.THUMB
    for path in ("/picture", "/label", "/crop", "/decide"):
        method = "GET" if path == "/picture" else "POST"
        with pytest.raises(LabError, match="no such picture"):
            page(method, path, annotator="Ida", picture="../../etc/passwd")


def test_the_page_asks_for_source_and_consent(page, tmp_path):
    body = jpeg(drawing("circle", 77, 0))
    with pytest.raises(LabError, match="Say first where"):
        page("POST", "/add", body, file="a.jpg", source="me")
    given = {"source": "me", "consent": "not known", "grouping": "none"}
    last = [*page("POST", "/add", body, file="a.jpg", **given)][-1]
    assert last == {"file": "a.jpg", "added": 1, "reasons": {}}
    name = page("GET", "/pictures")["pictures"][0]
    own = Collection(tmp_path / "own")
    row = own.pictures[name]
    assert (row["source"], row["consent"]) == ("me", "not known")
    said = "\n".join(datasheet.known(own, Labels(own))["Collection"])
    assert f"{datasheet.OPEN} Consent is not known for 1 picture" in said
    last = [*page("POST", "/add", body, file="b.jpg", **given)][-1]
    assert last["reasons"] == {"it is here already": 1}
    for every in ("2.5", "", "0", "-5"):
        with pytest.raises(LabError, match="give a whole number of 1 or more"):
            page("POST", "/add", body, file="c.mp4", every=every, **given)
    [*_] = page("POST", "/add", body, file="c.jpg", every="", **given)


def test_the_page_does_the_steps(page):
    [last] = page("POST", "/step", step="agree")
    assert last["result"]["pairs"] and json.dumps(last, allow_nan=False)


def test_a_browser_that_does_not_take_a_result_keeps_nobody_waiting(page):
    step, states = page("POST", "/step", step="agree"), []
    next(step)
    other = Thread(target=lambda: states.append(page("GET", "/state")), daemon=True)
    other.start()
    other.join(10)
    assert states


def test_a_folder_of_others_is_one_sentence_on_the_page(tmp_path):
    (tmp_path / "other" / "cat").mkdir(parents=True)
    state = collect.Page(tmp_path / "other", tmp_path).routes()["GET", "/state"]
    with pytest.raises(LabError, match="holds files already, such as cat"):
        state(Request({}, io.BytesIO(), 0))


def test_one_page_at_a_time_has_a_folder_open(example, tmp_path):
    collection, _ = copy_of(example, tmp_path)
    left = collection.path(".host-1-ab.jpg")  # by a program that was interrupted
    left.write_bytes(b"part")
    collection.hold()
    assert not left.exists()
    with pytest.raises(LabError, match="open on another page"):
        Collection(collection.folder).hold()


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9),
    reason="scikit-learn 1.6 divides the groups in another way",
)
def test_the_worked_example_of_the_docs_is_what_the_steps_print(
    originals, tmp_path, capsys
):
    collection, truth = collected(tmp_path / "shapes", originals)
    labels, squares = labelled(collection, truth)
    labels.decide(squares[0], "square")
    page = (ROOT / "docs" / "own-data-base.md").read_text()
    shown = page.split("## A worked example")[1].split("```")[1]
    for step in ("agree", "split"):
        collect.main([step, str(collection.folder)])
        assert f"STEP={step}\n{capsys.readouterr().out}" in shown


@pytest.mark.long
def test_the_command_line_says_what_the_page_shows(example):
    done = subprocess.run(
        [sys.executable, "-m", "apps.collect", "agree", example.collection.folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": packages(ROOT)},
    )
    assert (
        done.returncode == 0 and "Fleiss' kappa of all annotators is 0.9" in done.stdout
    )
