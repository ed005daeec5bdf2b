"""Faces in pictures and videos, and the expression that a network trained on FER2013
sees in them.
"""

import base64
import importlib
import io
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from lab import LabError, figures
from lab.plumbing import photos
from lab.plumbing.files import located, relative, sha256
from lab.prediction import Predictor

# The face detector YuNet: W. Wu, H. Peng and S. Yu (2023), of OpenCV's model zoo; MIT
# licence, see LICENSE-yunet.txt.
YUNET = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
PHOTO = 2048  # pixels of the longer side of a photo that is shown, at most
LONGEST = 640  # pixels of the longer side of the copy in which faces are looked for
CERTAIN = 0.7  # the detector's score from which on something is a face
# FER2013's frame around a face that YuNet finds, the median of 600 validation images:
# its side in sides of a square of equal area, and by how much of it it lies higher.
SIDE, HIGHER = 1.085, 0.007
WHOLE = 256  # a square picture up to this size without a found face is taken as a face
# The sides of a photo's face, in the same unit: no detector frames it exactly as
# FER2013 does, so the answers are averaged.
SIDES = (0.9, 1.0, 1.1)
SMOOTHING = 0.7  # share of a face's earlier probabilities, in each frame of a video
UNSURE = "not sure"
MEANING = (
    "What is shown is the label that a face would probably have in the network's data"
    " set, not what a person feels. The program sends no picture anywhere."
)


@dataclass
class Face:
    """A face in a picture: its square (left, top, side in pixels), calibrated
    probabilities, and the label shown; whole: no face was found in the small picture,
    and all of it was classified.
    """

    left: int
    top: int
    side: int
    probabilities: np.ndarray
    label: str
    whole: bool = False


def photo(path):
    """Return a photo as uint8 (height, width, 3), upright, its longer side `PHOTO`
    pixels at most.

    path: of a file, or a file that is open. Raises photos.Unreadable with the reason.
    """
    picture = photos.open_picture(path, PHOTO, grey=False)
    picture.thumbnail((PHOTO, PHOTO))
    return np.asarray(picture)


def detector():
    """Return a function from a picture, uint8 (height, width, 3), to an array (n, 3):
    left, top, side of faces, framed as in FER2013.

    doubled: look for smaller faces, too, in a copy of twice the size.
    Raises LabError where OpenCV or the detector's weights are not there.
    """
    try:
        import cv2

        create = cv2.FaceDetectorYN.create
    except (ImportError, AttributeError):
        raise LabError(
            "Faces are found with OpenCV, which is missing or too old: pip install"
            " 'opencv-python-headless>=4.10'"
        ) from None
    if not YUNET.exists() or sha256(YUNET) != YUNET_SHA256:
        raise LabError(
            f"{relative(YUNET)} is missing or altered: git checkout {relative(YUNET)}"
        )
    # OpenCV 5 warns of a target that nobody asked for.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    weights, none = np.fromfile(YUNET, np.uint8), np.empty(0, np.uint8)
    network = create("onnx", weights, none, (LONGEST, LONGEST), CERTAIN, 0.3, 5000)

    def search(image, longest):
        size = np.array(image.shape[1::-1])
        scale = longest / size.max()
        small = np.maximum(1, np.round(size * scale)).astype(int)
        if small.min() < 20:  # too narrow for a face
            return np.empty((0, 4))
        how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
        copy = np.asarray(Image.fromarray(image).resize(small, how))
        network.setInputSize(tuple(map(int, small)))
        detections = network.detect(np.ascontiguousarray(copy[..., ::-1]))[1]
        detections = np.empty((0, 15)) if detections is None else detections
        left, top, width, height = detections[:, :4].T / scale
        side = SIDE * np.sqrt(width * height)
        across, down = left + width / 2, top + height / 2 - HIGHER * side
        return np.stack(
            [across - side / 2, down - side / 2, side, detections[:, -1]], 1
        )

    def detect(image, doubled=False):
        first = min(LONGEST, max(image.shape[:2]))
        squares = [
            search(image, n) for n in ([first, 2 * first] if doubled else [first])
        ]
        kept = []
        for *square, _ in sorted(np.concatenate(squares), key=lambda row: -row[3]):
            if all(overlap(square, other) < 0.3 for other in kept):
                kept.append(square)
        return np.array(kept).reshape(-1, 3)

    return detect


def _framed(left, top, side, margin):
    """Return a square (left, top, side) made larger around its centre."""
    grown = side * (margin - 1) / 2
    return left - grown, top - grown, side * margin


class Watcher:
    """Finds the faces of one picture after another and says what the network sees in
    them.

    predict: a `lab.prediction.Predictor` of a network trained on FER2013.
    confidence: below this probability the label is "not sure".
    faces: those of the last frame; empty before a video.
    """

    def __init__(self, predict, confidence=0.5):
        self.predict, self.detect = predict, detector()
        self.confidence, self.faces = confidence, []

    def picture(self, image):
        """Return the faces of a picture by itself: uint8 (height, width, 3)."""
        self.faces = []
        faces = self._named(image, self.detect(image, doubled=True), SIDES)
        height, width = image.shape[:2]
        if not faces and max(height, width) <= min(WHOLE, 1.2 * min(height, width)):
            side = min(height, width)
            square = np.array([[(width - side) / 2, (height - side) / 2, side]])
            faces = [
                replace(face, whole=True) for face in self._named(image, square, (1.0,))
            ]
        return faces

    def next(self, image):
        """Return the faces of the next frame of a video: uint8 (height, width, 3)."""
        self.faces = self._named(image, self.detect(image), (1.0,))
        return self.faces

    def _named(self, image, squares, sides):
        """Return the Face of each square, its probabilities mixed with those of the
        face that was there before.

        The network is asked about the square made `sides` times as large, and the
        mirror image of each.
        """
        if not len(squares):
            return []
        squares = np.round(squares).astype(int)
        squares = squares[np.argsort(-squares[:, 2], kind="stable")]
        framed = np.round(
            [_framed(*square, margin) for square in squares for margin in sides]
        ).astype(int)
        crops = np.stack(
            [crop(image, *square, self.predict.shape) for square in framed]
        )
        views = np.stack([crops, crops[:, :, ::-1]], axis=1).reshape(
            -1, *self.predict.shape
        )
        fresh = (
            self.predict(views).reshape(len(squares), 2 * len(sides), -1).mean(axis=1)
        )
        faces = []
        for square, probabilities in zip(squares, fresh):
            before = max(
                self.faces,
                key=lambda face: overlap(square, (face.left, face.top, face.side)),
                default=None,
            )
            if (
                before is not None
                and overlap(square, (before.left, before.top, before.side)) > 0.3
            ):
                probabilities = (
                    SMOOTHING * before.probabilities + (1 - SMOOTHING) * probabilities
                )
            best = int(probabilities.argmax())
            label = (
                self.predict.classes[best]
                if probabilities[best] >= self.confidence
                else UNSURE
            )
            faces.append(Face(*map(int, square), probabilities, label))
        return faces


def overlap(square, other):
    """Return the area two squares (left, top, side) share, as a part of the area they
    cover together.
    """
    width = min(square[0] + square[2], other[0] + other[2]) - max(square[0], other[0])
    height = min(square[1] + square[2], other[1] + other[2]) - max(square[1], other[1])
    shared = max(0, width) * max(0, height)
    return shared / (square[2] ** 2 + other[2] ** 2 - shared)


def crop(image, left, top, side, shape):
    """Return a square of a picture scaled to `shape` (height, width, channels); beyond
    the edges these are repeated.
    """
    height, width, channels = shape
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    part = Image.fromarray(image[rows[:, None], columns]).convert(
        "L" if channels == 1 else "RGB"
    )
    return np.asarray(
        part.resize(
            (width, height),
            Image.Resampling.BOX if len(rows) > height else Image.Resampling.BICUBIC,
        )
    ).reshape(shape)


def annotated(image, faces):
    """Return a copy of a picture with each face framed and its label and probability
    above.
    """
    picture = Image.fromarray(image)
    draw, thickness = ImageDraw.Draw(picture), max(2, max(image.shape[:2]) // 300)
    font = ImageFont.load_default(size=max(12, max(image.shape[:2]) // 40))
    for face in faces:
        text = (
            f"{face.label} {face.probabilities.max():.0%}"
            if face.label != UNSURE
            else UNSURE
        )
        draw.rectangle(
            [face.left, face.top, face.left + face.side, face.top + face.side],
            outline="#ffb000",
            width=thickness,
        )
        box = draw.textbbox(
            (face.left, face.top - thickness), text, font=font, anchor="lb"
        )
        down = max(0, -box[1])  # a face at the upper border has its label inside
        box = (box[0], box[1] + down, box[2], box[3] + down)
        draw.rectangle(box, fill="#ffb000")
        draw.text(
            (face.left, face.top - thickness + down),
            text,
            font=font,
            anchor="lb",
            fill="black",
        )
    return np.asarray(picture)


def look(source):
    """Return a table of the faces in a photo, the largest first, and draw them: label
    and calibrated probabilities.

    source: the path of a photo, or in Colab "upload" or "camera", which ask in the
        browser.
    Raises LabError where there is no photo. Introduced in notebook 05.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise LabError(
            f"{type(source).__name__} is no path of a photo: give the path of a file."
        )
    if source in ("upload", "camera"):
        if "google.colab" not in sys.modules:
            raise LabError(
                f'FACES = "{source}" works in Colab only: give the path of a photo.'
            )
        path = io.BytesIO(_uploaded() if source == "upload" else _photographed())
    else:
        path = located(source)
        if path is None:
            raise LabError(f"There is no file {source}: give the path of a photo.")
        if path.is_dir():
            raise LabError(f"{relative(path)} is a folder: give the path of a photo.")
    try:
        image = photo(path)
    except photos.Unreadable as reason:
        name = "The photo" if isinstance(path, io.BytesIO) else relative(path)
        raise LabError(f"{name} cannot be read ({reason}): give another.") from None
    watcher = Watcher(Predictor("fer2013"))
    faces = watcher.picture(image)
    caption = "The photo, with a frame and a label at each face."
    figures.show(figures.photo(annotated(image, faces)), caption)
    if not faces:
        print("No face was found: it must look into the camera, and be lit.")
    elif faces[0].whole:
        print(f"No face was found: the whole small picture was classified. {MEANING}")
    else:
        print(MEANING)
    answers = [
        [face.label, *(f"{p:.0%}" for p in face.probabilities)] for face in faces
    ]
    return pd.DataFrame(
        answers,
        index=range(1, len(faces) + 1),
        columns=["label", *watcher.predict.classes],
    )


def _uploaded():
    """Return the bytes of the file that is chosen in Colab's dialogue. Source:
    google.colab.files.
    """
    files = importlib.import_module("google.colab.files").upload()
    if not files:
        raise LabError("No photo was chosen: run the cell again.")
    return next(iter(files.values()))


def _photographed():
    """Return the bytes of a photo taken with the camera of the browser, after a click.
    Source: Colab's camera snippet.
    """
    address = importlib.import_module("google.colab.output").eval_js("""(async () => {
        const video = document.createElement("video");
        const button = document.createElement("button");
        button.textContent = "Take the photo";
        const stream = await navigator.mediaDevices.getUserMedia({video: true});
        document.body.append(video, button);
        video.srcObject = stream;
        await video.play();
        const height = document.documentElement.scrollHeight;
        google.colab.output.setIframeHeight(height, true);
        await new Promise((click) => button.onclick = click);
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        canvas.getContext("2d").drawImage(video, 0, 0);
        stream.getTracks().forEach((track) => track.stop());
        video.remove(); button.remove();
        return canvas.toDataURL("image/jpeg", 0.9);
    })()""")
    return base64.b64decode(address.split(",", 1)[1])
