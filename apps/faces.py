"""Faces in pictures and videos, and the expression that a network trained on FER2013
sees in them.
"""

import base64
import importlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from lab import LabError, figures
from lab.plumbing import photos
from lab.plumbing.files import located
from lab.prediction import Predictor

# Pixels of the longer side of the copy in which faces are looked for.
PHOTO, VIDEO = (1280, 640)
SMALLEST = 40  # pixels of the smallest face in that copy
# The side of a FER2013 picture in found squares, the median of 300 validation images.
MARGINS = {"opencv": 1.03, "scikit-image": 1.12}
# The sides of a photo's face, in the same unit: no detector frames it exactly as
# FER2013 does, so the answers are averaged.
SIDES = (0.9, 1.0, 1.1)
UNSURE = "not sure"
MEANING = (
    "What is shown is the label that annotators would probably give to the expression,"
    " not what a person feels. Nothing leaves this machine, and nothing is kept."
)


@dataclass
class Face:
    """A face in a picture: its square (left, top, side in pixels), calibrated
    probabilities, and the label shown.
    """

    left: int
    top: int
    side: int
    probabilities: np.ndarray
    label: str


def detector():
    """Return a function from a grey picture, uint8 (height, width), to an array (n, 3):
    left, top, side of faces, framed as in FER2013.

    It is OpenCV's cascade where OpenCV is installed with one (version 4), else
    scikit-image's. OpenCV's also looks for heads that lean to a side, where no upright
    one is found.
    Sources: P. Viola and M. Jones (2001); T. Ojala and others (2002) for scikit-image's
    patterns.
    Raises LabError where neither is there.
    """
    for found in (_opencv(), _scikit_image()):
        if found:
            return found
    raise LabError(
        "No face detector is installed: pip install 'opencv-python-headless<5', or pip"
        " install scikit-image."
    )


def _opencv():
    try:
        import cv2

        folder = Path(cv2.data.haarcascades)
        cascades = [
            cv2.CascadeClassifier(str(folder / f"haarcascade_frontalface_{name}.xml"))
            for name in ("default", "alt")
        ]
    except (ImportError, AttributeError, SystemError):
        return None
    if any(cascade.empty() for cascade in cascades):
        return None

    def search(grey, cascade, neighbours, lean):
        turn = cv2.getRotationMatrix2D((grey.shape[1] / 2, grey.shape[0] / 2), lean, 1)
        upright = (
            cv2.warpAffine(
                grey, turn, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE
            )
            if lean
            else grey
        )
        found = cascade.detectMultiScale(
            upright,
            scaleFactor=1.1,
            minNeighbors=neighbours,
            minSize=(SMALLEST, SMALLEST),
        )
        found, back = (
            np.array(found, dtype=float).reshape(-1, 4)[:, :3],
            cv2.invertAffineTransform(turn),
        )
        halves = found[:, 2:] / 2
        centres = (found[:, :2] + halves) @ back[:, :2].T + back[:, 2]
        return np.hstack([centres - halves, 2 * halves])

    def detect(grey):
        default, alt = cascades
        for attempt in (
            (default, 4, 0),
            (alt, 2, 0),
            (alt, 3, 20),
            (alt, 3, -20),
        ):  # each where those before find nothing
            found = search(grey, *attempt)
            if len(found):
                break
        return _framed(found, MARGINS["opencv"])

    return detect


def _scikit_image():
    try:
        from skimage import data, feature

        cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
    except (ImportError, AttributeError, OSError):
        return None

    def detect(grey):
        largest = min(grey.shape)
        if largest < SMALLEST:
            return np.empty((0, 3))
        found = cascade.detect_multi_scale(
            grey,
            scale_factor=1.2,
            step_ratio=1,
            min_size=(SMALLEST, SMALLEST),
            max_size=(largest, largest),
        )
        squares = np.array(
            [(one["c"], one["r"], one["width"]) for one in found], dtype=float
        ).reshape(-1, 3)
        return _framed(squares, MARGINS["scikit-image"])

    return detect


def _framed(squares, margin):
    """Return squares (left, top, side) made larger around their centres."""
    grown = squares[:, 2] * (margin - 1) / 2
    return np.stack(
        [squares[:, 0] - grown, squares[:, 1] - grown, squares[:, 2] * margin], axis=1
    )


class Watcher:
    """Finds the faces of one picture after another and says what the network sees in
    them.

    predict: a `lab.prediction.Predictor` of a network trained on FER2013.
    confidence: below this probability the label is "not sure".
    every: in a video, faces are looked for in every so many frames; between, they are
        followed.
    smoothing: the share of the earlier probabilities of the same face that is kept in
        each frame of a video.
    """

    def __init__(self, predict, confidence=0.5, every=5, smoothing=0.7):
        self.predict, self.detect = predict, detector()
        self.confidence, self.every, self.smoothing = confidence, every, smoothing
        self.frame, self.faces, self.grey = 0, [], None

    def picture(self, image):
        """Return the faces of a picture by itself: uint8 (height, width, 3)."""
        self.frame, self.faces = 0, []
        found = self.next(image, PHOTO, SIDES)
        self.frame, self.faces = 0, []  # a video that follows has nothing to do with it
        return found

    def next(self, image, longest=VIDEO, sides=(1.0,)):
        """Return the faces of the next frame of a video: uint8 (height, width, 3)."""
        grey, scale = _small(image, longest)
        if self.frame % self.every == 0:
            squares = self.detect(grey)
        else:
            squares = np.array(
                [
                    _follow(
                        self.grey,
                        grey,
                        np.round(np.array([f.left, f.top, f.side]) / scale).astype(int),
                    )
                    for f in self.faces
                ]
            )
        squares = np.round(squares * scale).astype(int).reshape(-1, 3)
        self.frame, self.grey = self.frame + 1, grey
        self.faces = self._named(
            image, squares[np.argsort(-squares[:, 2], kind="stable")], sides
        )
        return self.faces

    def _named(self, image, squares, sides):
        """Return the Face of each square, its probabilities mixed with those of the
        face that was there before.

        The network is asked about the square made `sides` times as large, and the
        mirror image of each.
        """
        if not len(squares):
            return []
        framed = np.round(
            [_framed(square[None], side)[0] for square in squares for side in sides]
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
                    self.smoothing * before.probabilities
                    + (1 - self.smoothing) * probabilities
                )
            best = int(probabilities.argmax())
            label = (
                self.predict.classes[best]
                if probabilities[best] >= self.confidence
                else UNSURE
            )
            faces.append(Face(*map(int, square), probabilities, label))
        return faces


def _small(image, longest):
    """Return a grey copy whose longer side is at most `longest` pixels, and by how much
    it is smaller.
    """
    scale = max(1.0, max(image.shape[:2]) / longest)
    size = [
        max(1, round(length / scale)) for length in (image.shape[1], image.shape[0])
    ]
    return (
        np.asarray(
            Image.fromarray(image)
            .convert("L")
            .resize(size, Image.Resampling.BOX if scale > 1 else None)
        ),
        scale,
    )


def _follow(before, after, square):
    """Return the square moved to where, close by, the new frame looks most like the old
    one within it.
    """
    left, top, side = square
    reach, step = max(1, side // 8), max(1, side // 32)
    height, width = before.shape
    y, bottom, x, end = (
        max(top, 0),
        min(top + side, height),
        max(left, 0),
        min(left + side, width),
    )  # its part in the picture
    inside, best = before[y:bottom:step, x:end:step].astype(int), None
    for down in range(-reach, reach + 1, step):
        for right in range(-reach, reach + 1, step):
            if (
                inside.size
                and 0 <= y + down
                and bottom + down <= height
                and 0 <= x + right
                and end + right <= width
            ):
                there = after[
                    y + down : bottom + down : step, x + right : end + right : step
                ]
                distance = (
                    np.abs(there - inside).mean()
                    + 0.01 * (abs(down) + abs(right)) / side
                )
                if best is None or distance < best[0]:
                    best = distance, right, down
    return square if best is None else np.array([left + best[1], top + best[2], side])


def overlap(one, other):
    """Return the area two squares (left, top, side) share, as a part of the area they
    cover together.
    """
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[2], other[1] + other[2]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    return shared / (one[2] ** 2 + other[2] ** 2 - shared)


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


def look(source, longest=2048):
    """Return a table of the faces in a photo, the largest first, and draw them: label
    and calibrated probabilities.

    source: the path of a photo, or in Colab "upload" or "camera", which ask in the
        browser.
    Raises LabError where there is no photo. Introduced in notebook 05.
    """
    if source in ("upload", "camera"):
        if "google.colab" not in sys.modules:
            raise LabError(
                f'FACES = "{source}" works in Colab only: give the path of a photo.'
            )
        path = io.BytesIO(_uploaded() if source == "upload" else _photographed())
    else:
        path = located(source) or Path(source)
    try:
        picture = photos.open_picture(path, longest, grey=False)
    except photos.Unreadable as reason:
        raise LabError(f"The photo cannot be read ({reason}): give another.") from None
    picture.thumbnail((longest, longest))
    image, watcher = np.asarray(picture), Watcher(Predictor("fer2013"))
    found = watcher.picture(image)
    figures.show(figures.photo(annotated(image, found)))
    print(
        MEANING
        if found
        else "No face was found: it must look into the camera, and be lit."
    )
    answers = [
        [face.label, *(f"{p:.0%}" for p in face.probabilities)] for face in found
    ]
    return pd.DataFrame(
        answers,
        index=range(1, len(found) + 1),
        columns=["label", *watcher.predict.classes],
    )


def _uploaded():
    """Return the bytes of the file that is chosen in Colab's dialogue. Source:
    google.colab.files.
    """
    chosen = importlib.import_module("google.colab.files").upload()
    if not chosen:
        raise LabError("No photo was chosen: run the cell again.")
    return next(iter(chosen.values()))


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
