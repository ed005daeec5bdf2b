"""Faces are found and named; bad input gets one sentence."""

import base64
import csv
import io
import os
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from apps import copies, demo, faces
from apps.faces import look
from lab import LabError
from lab.prediction import Predictor

FACE = (175, 64, 99)  # in scikit-image's portrait, which is in the public domain


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()


@pytest.fixture(scope="module")
def predictor():
    return Predictor("fer2013")


class Constant:
    """A predictor that says what it is told."""

    classes, shape = ("a", "b", "c"), (8, 8, 1)

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, images):
        return np.tile(np.array(self.answers.pop(0)), (len(images), 1))


def test_the_detector_frames_the_face_as_in_fer2013(portrait):
    for doubled in (False, True):
        found = faces.detector()(portrait, doubled)
        assert len(found) == 1 and faces.overlap(found[0], FACE) > 0.75


@pytest.mark.parametrize("lean", [-30, -20, 20, 30])
def test_a_head_that_leans_is_found(lean, portrait):
    left, top, side = FACE
    centre = (left + side / 2, top + side / 2)
    how = {"center": centre, "resample": Image.Resampling.BILINEAR}
    leaning = np.asarray(Image.fromarray(portrait).rotate(lean, **how))
    [square] = faces.detector()(leaning)
    assert faces.overlap(square, FACE) > 0.5


def test_smaller_faces_are_found_in_a_doubled_copy(portrait):
    scene = np.full((480, 640, 3), 128, np.uint8)
    left, top, side = (round(number * 40 / FACE[2]) for number in FACE)
    size = round(512 * 40 / FACE[2])
    small = Image.fromarray(portrait).resize((size, size), Image.Resampling.BOX)
    scene[100 : 100 + size, 200 : 200 + size] = np.asarray(small)
    found = faces.detector()(scene, doubled=True)
    assert max(faces.overlap(one, (200 + left, 100 + top, side)) for one in found) > 0.5


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (48, 48), (640, 480)])
def test_where_there_is_no_face_none_is_found(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert faces.detector()(noise, doubled=True).shape == (0, 3)


def test_without_opencv_or_with_other_weights_there_is_a_sentence(
    monkeypatch, tmp_path
):
    other = tmp_path / "weights.onnx"
    other.write_bytes(faces.YUNET.read_bytes()[:-1] + b"x")
    with monkeypatch.context() as patched:
        patched.setattr(faces, "YUNET", other)
        with pytest.raises(LabError, match="weights.onnx is missing or altered"):
            faces.detector()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(LabError, match="missing or too old: pip install"):
        faces.detector()


def test_a_small_picture_without_a_found_face_is_classified_whole(predictor, capsys):
    dark = np.zeros((48, 48, 3), np.uint8)
    [face] = faces.Watcher(predictor).picture(dark)
    assert (face.left, face.top, face.side, face.whole) == (0, 0, 48, True)
    assert not faces.Watcher(predictor).picture(np.zeros((48, 90, 3), np.uint8))


def test_a_smiling_face_is_happy(portrait, predictor):
    face, *_ = faces.Watcher(predictor).picture(portrait)
    assert face.label == "happy" and face.probabilities.sum() == pytest.approx(
        1, abs=1e-5
    )
    assert faces.annotated(portrait, [face]).shape == portrait.shape


@given(st.integers(-20, 60), st.integers(-20, 60), st.integers(1, 60))
def test_a_crop_holds_the_pixels_of_the_square_and_repeats_the_edges(left, top, side):
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    cut = faces.crop(image, left, top, side, (side, side, 3))
    for row, column in ((0, 0), (side - 1, side // 2), (side // 2, side - 1)):
        assert (
            cut[row, column]
            == image[np.clip(top + row, 0, 49), np.clip(left + column, 0, 49)]
        ).all()


def test_probabilities_are_smoothed_over_time_and_an_unsure_answer_is_said_to_be(
    monkeypatch,
):
    monkeypatch.setattr(
        faces, "detector", lambda: lambda *_, **__: np.array([[10.0, 10, 20]])
    )
    watcher = faces.Watcher(Constant([1.0, 0, 0], [0, 1.0, 0], [0.4, 0.3, 0.3]))
    image = np.zeros((64, 64, 3), np.uint8)
    assert [
        watcher.next(image)[0].label,
        watcher.next(image)[0].probabilities.tolist(),
    ] == ["a", pytest.approx([0.7, 0.3, 0])]
    assert (
        watcher.picture(image)[0].label == faces.UNSURE
    )  # and a picture by itself forgets what was before


def video(path, pictures):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, pictures[0].shape[1::-1]
    )
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()


def test_a_folder_gives_annotated_copies_a_table_and_a_reason_for_each_file_left_out(
    portrait, tmp_path, capsys
):
    folder, output = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    turned = Image.fromarray(
        np.rot90(portrait)
    )  # as a phone stores it: turned, with a note to turn it back
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "deep" / "phone ö.jpg", exif=exif)
    video(folder / "film.mp4", [portrait] * 3)
    Image.new("RGBA", (300, 200)).save(folder / "nobody.png")
    Image.new("RGB", (30, 20)).save(folder / "nobody.jpg")
    Image.fromarray(portrait).save(folder / os.fsdecode(b"M\xfcller.png"))
    Image.new("I;16", (1, 1)).save(folder / "tiny.png")
    Image.new("CMYK", (64, 64)).save(folder / "print.jpg")
    Image.new("P", (9, 9)).save(
        folder / "moving.gif", save_all=True, append_images=[Image.new("P", (9, 9), 3)]
    )
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    (folder / "broken.mp4").write_bytes(b"no film")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    copies.annotate(folder, output)
    said = capsys.readouterr().out
    for name, reason in (
        ("text.jpg", "not a picture, or damaged"),
        ("empty.png", "empty"),
        ("broken.mp4", "neither a picture nor a video"),
    ):
        assert f"{name} is left out: {reason}" in said
    assert faces.MEANING in said
    assert before == {path: path.read_bytes() for path in before}
    with open(output / "faces.csv", newline="") as file:
        header, *lines = list(csv.reader(file))
    assert (
        header[:6] == ["file", "frame", "left", "top", "side", "label"]
        and len(header) == 13
    )
    found = {
        name: [line for line in lines if line[0] == name]
        for name in ("deep/phone ö.jpg", "film.mp4", "nobody.png")
    }
    assert len(found["deep/phone ö.jpg"]) == 1 and not found["nobody.png"]
    assert {line[1] for line in found["film.mp4"]} == {"0", "1", "2"}
    square = [int(value) for value in found["deep/phone ö.jpg"][0][2:5]]
    assert faces.overlap(square, FACE) > 0.75
    assert len([line for line in lines if line[0] == "M?ller.png"]) == 1
    assert {path.name for path in output.glob("nobody*")} == {
        "nobody-faces.png",
        "nobody.png-faces.png",
    }
    assert Image.open(output / "deep" / "phone ö-faces.png").size == (512, 512)
    assert (
        cv2.VideoCapture(str(output / "film-faces.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
        == 3
    )
    assert not [path for path in output.rglob(".*")]


@pytest.mark.parametrize(
    "given, sentence",
    [
        (
            ["missing.jpg"],
            "There is no missing.jpg: give a photo, a video or a folder.",
        ),
        (["empty"], "Nothing could be read"),
        (["--camera", "97"], "Nothing could be read"),
    ],
)
def test_nothing_to_read_is_one_sentence(given, sentence, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match=sentence):
        demo.main([*given, "--output", "out"])
    assert not (tmp_path / "out" / "faces.csv").exists()


def test_copies_that_lie_in_the_folder_are_not_annotated_again(portrait, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("photo.png", "out/earlier-faces.png"):
        Image.fromarray(portrait).save(tmp_path / name)
    copies.annotate(tmp_path, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"earlier-faces.png", "photo-faces.png", "faces.csv"}
    with pytest.raises(LabError, match="would lie among the originals"):
        copies.annotate(tmp_path, tmp_path)
    with pytest.raises(LabError, match="would lie among the originals"):
        copies.annotate(tmp_path / "photo.png", tmp_path)


def test_a_name_with_a_line_break_is_one_line(tmp_path, capsys):
    (tmp_path / "two\nlines.jpg").write_text("no picture")
    with pytest.raises(LabError):
        copies.annotate(tmp_path, tmp_path / "out")
    assert "two?lines.jpg is left out: not a picture" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--camera", "-1"], ["a.jpg", "--camera", "0"], []])
def test_a_command_line_that_makes_no_sense_is_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(words)
    assert "error: " in capsys.readouterr().err


def test_many_faces_are_all_framed(portrait, predictor):
    head = portrait[30:200, 140:310]
    crowd = np.vstack([np.hstack([head] * 5)] * 4)
    assert len(faces.Watcher(predictor).picture(crowd)) == 20


def pasted(image, place=(200, 140, 160)):
    """A FER2013 picture in a grey frame of 640 x 480 pixels."""
    scene, (left, top, side) = np.full((480, 640, 3), 128, np.uint8), place
    larger = np.asarray(Image.fromarray(image[..., 0]).resize((side, side)))
    scene[top : top + side, left : left + side] = larger[..., None]
    return scene


def there(squares, place=(200, 140, 160)):
    """Those of the squares that lie where the picture was pasted."""
    return [one for one in squares if faces.overlap(one, place) > 0.2]


def real(name):
    from lab import datasets

    dataset = datasets.load(name)
    if not dataset.available:
        pytest.skip(f"{dataset.title} is not here")
    return dataset


@pytest.mark.long
def test_fer2013_pictures_found_in_larger_ones_lose_at_most_four_and_a_half_points(
    predictor,
):
    images, labels = (part[:600] for part in real("fer2013").split("test"))
    watcher, right = faces.Watcher(predictor), []
    for image, label in zip(images, labels, strict=True):
        seen = watcher.picture(pasted(image))
        near = [face for face in seen if there([(face.left, face.top, face.side)])]
        right.append(bool(near) and near[0].probabilities.argmax() == label)
    direct = predictor(images).argmax(axis=1) == labels
    assert np.mean(right) > direct.mean() - 0.045  # a face that is missed is an error


@pytest.mark.long
def test_of_pictures_without_a_face_at_most_two_in_a_hundred_have_one():
    detect, found = faces.detector(), 0
    for image in real("cifar10").split("test")[0][:200]:
        scene = np.full((480, 640, 3), 128, np.uint8)
        scene[:, 80:560] = np.asarray(Image.fromarray(image).resize((480, 480)))
        found += len(detect(scene, doubled=True)) > 0
    assert found <= 4


@pytest.mark.long
def test_found_faces_are_framed_as_fer2013_frames_them():
    images, detect = real("fer2013").split("validation")[0], faces.detector()
    some = np.random.default_rng(0).permutation(len(images))[:200]
    found = [there(detect(pasted(images[i]), doubled=True)) for i in some]
    left, top, side = np.median([near[0] for near in found if near], axis=0)
    assert side == pytest.approx(160, abs=3)
    assert left + side / 2 == pytest.approx(280, abs=3)
    assert top + side / 2 == pytest.approx(220, abs=3)


def test_look_draws_and_tells_about_a_photo(portrait, tmp_path, capsys):
    Image.fromarray(portrait).save(tmp_path / "photo.png")
    table = look(tmp_path / "photo.png")
    assert table.label[1] == "happy" and list(table.columns[1:]) == list(
        Predictor("fer2013").classes
    )
    assert faces.MEANING in capsys.readouterr().out
    Image.new("RGB", (50, 30)).save(tmp_path / "nobody.png")
    assert (
        look(tmp_path / "nobody.png").empty
        and "No face was found" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("upload", "works in Colab only"),
        ("missing.jpg", "no file missing.jpg: give the path of a photo"),
        (300 * "x", "There is no file x"),
        ("README.md", "README.md cannot be read"),
        (np.zeros((9, 9, 3), np.uint8), "ndarray is no path of a photo"),
        (".", "is a folder: give the path of a photo"),
    ],
)
def test_look_says_what_is_wrong(source, sentence):
    with pytest.raises(LabError, match=sentence):
        look(source)


def test_in_colab_a_photo_is_uploaded_or_taken(portrait, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(portrait).save(file, "jpeg")
    scripts = []
    output = SimpleNamespace(
        eval_js=lambda script: (
            scripts.append(script)
            or "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        )
    )
    files = SimpleNamespace(upload=lambda: {"photo.jpg": file.getvalue()})
    for name, module in (
        ("google.colab", SimpleNamespace()),
        ("google.colab.files", files),
        ("google.colab.output", output),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    assert look("upload").label[1] == look("camera").label[1] == "happy"
    assert "getUserMedia" in scripts[0]
    files.upload = dict
    with pytest.raises(LabError, match="No photo was chosen"):
        look("upload")
