"""What the page asks the networks."""

import base64
import functools
import io
import secrets
import threading
import time

import numpy as np
from PIL import Image

from apps import copies, faces
from lab import LabError, datasets
from lab.plumbing import photos
from lab.plumbing.files import ROOT
from lab.plumbing.names import MODEL_TITLES
from lab.prediction import Predictor
from lab.runs import read

SESSIONS = 8  # cameras that are watched at the same time, at most
REMEMBERED = 1.0  # seconds after which a face that comes back is a new one
COPIES = 4  # annotated videos that can be saved: those of the last ones
PREVIEW, EVERY = 640, 0.4  # pixels and seconds of the pictures that go with a video

lock = threading.Lock()  # the networks answer one question after the other
sessions = {}  # {name: Session}


@functools.cache
def networks():
    """Return {title: Run} of all networks that are stored with weights, those for faces
    first, the last of `MODEL_TITLES` first. Raises LabError where there is none.
    """
    runs = {}
    for name in ("fer2013", "cifar10", "fashion_mnist"):
        for model in reversed(MODEL_TITLES):
            run = read(ROOT / "data" / "runs" / name / model / "main" / "seed-0")
            if run and run.record["weights_file_sha256"]:
                runs[f"{datasets.KNOWN[name].title}: {MODEL_TITLES[model]}"] = run
    if not runs:
        raise LabError("No network with stored weights: run notebooks 02 to 04 first.")
    return runs


@functools.cache
def predictor(title):
    """Return the Predictor of a network, built and compiled. Raises LabError for an
    unknown title, and for weights that do not fit.
    """
    if title not in networks():
        raise LabError(f"There is no network {title!r}: reload the page.")
    run = networks()[title]
    ask = Predictor(run.record["dataset"], run)
    for n in (1, 2):  # compiles; after two numbers of pictures, for any number
        ask(np.zeros((n, *ask.shape), np.uint8))
    return ask


def offered():
    """Return a dict of each network for the page: title, classes, and whether it is for
    faces; build the first.
    """
    with lock:
        predictor(next(iter(networks())))
    return [
        {
            "title": title,
            "classes": datasets.KNOWN[run.record["dataset"]].classes,
            "faces": run.record["dataset"] == "fer2013",
        }
        for title, run in networks().items()
    ]


class Session:
    """What one network sees in pictures that follow each other.

    A network for faces sees the faces, each with a number that stays; another one the
    centre square.
    """

    def __init__(self, title, confidence=0.5):
        self.title, self.predict, self.confidence = title, predictor(title), confidence
        self.watcher, self.given = None, 0  # the last number
        self.numbers = {}  # {number: (Face, when)}
        if networks()[title].record["dataset"] == "fer2013":
            self.watcher = faces.Watcher(self.predict, confidence)

    def picture(self, image):
        """Return {number: Face} of a picture by itself: uint8 (height, width, 3)."""
        seen = self.watcher.picture(image) if self.watcher else self._centre(image)
        return dict(enumerate(seen, start=1))

    def next(self, image, now):
        """Return {number: Face} of the next picture, `now` in seconds."""
        seen = self.watcher.next(image) if self.watcher else self._centre(image)
        numbers = {
            number: (face, when)
            for number, (face, when) in self.numbers.items()
            if now - when < REMEMBERED
        }
        free, named = dict(numbers), {}
        for face in seen:
            square = (face.left, face.top, face.side)
            shared = {
                number: faces.overlap(square, (earlier.left, earlier.top, earlier.side))
                for number, (earlier, _) in free.items()
            }
            number = max(shared, key=shared.get, default=None)
            if number is None or shared[number] < 0.3:
                number = self.given = self.given + 1
            free.pop(number, None)
            numbers[number], named[number] = (face, now), face
        self.numbers = numbers
        return named

    def _centre(self, image):
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        part = faces.crop(image, left, top, side, self.predict.shape)
        probabilities = self.predict(part[None])[0]
        best = int(probabilities.argmax())
        sure = probabilities[best] >= self.confidence
        label = self.predict.classes[best] if sure else faces.UNSURE
        return [faces.Face(left, top, side, probabilities, label)]


def told(image, named):
    """Return what the page needs to know about a picture, uint8 (height, width, 3), and
    the faces in it, {number: Face}.
    """
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "faces": [
            {
                "number": number,
                "left": face.left,
                "top": face.top,
                "side": face.side,
                "probabilities": [round(float(p), 4) for p in face.probabilities],
                "whole": face.whole,
            }
            for number, face in named.items()
        ],
    }


def opened(source):
    """Return a photo, a path or a file that is open, as uint8 (height, width, 3).
    Raises LabError where there is none.
    """
    try:
        return faces.photo(source)
    except photos.Unreadable as reason:
        raise LabError(f"The file cannot be shown: {reason}.") from None


def shown(image):
    """Return a picture, uint8 (height, width, 3), as the address of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def photo(title, path):
    """Return what a network sees in a photo, with the picture. The file is removed."""
    try:
        image = opened(path)
    finally:
        path.unlink(missing_ok=True)
    with lock:
        named = Session(title).picture(image)
    return told(image, named) | {"picture": shown(image)}


def frame(title, name, picture):
    """Return what a network sees in a camera's next picture, a file in base64.

    name: of the session, the pictures that follow each other.
    """
    image = opened(io.BytesIO(base64.b64decode(picture)))
    with lock:
        session = sessions.pop(name, None)
        if session is None or session.title != title:
            session = Session(title)
        sessions[name] = session
        while len(sessions) > SESSIONS:
            del sessions[next(iter(sessions))]
        return told(image, session.next(image, time.monotonic()))


def film(title, confidence, path, folder):
    """Yield what a network sees in each frame of a video, some with a smaller picture,
    and last the name of the annotated copy in `folder`. The video is removed.

    confidence: below this probability the copy says "not sure".
    """
    try:
        with lock:
            session = Session(title, confidence)
        target, last = folder / f"copy-{secrets.token_hex(16)}.mp4", 0
        with copies.video_copy(target) as add:
            for frame in copies.frames(path):
                with lock:
                    named = session.next(frame.image, frame.seconds)
                add(frame, [*named.values()])
                answer = told(frame.image, named)
                answer |= {"seconds": frame.seconds, "of": frame.of}
                if time.monotonic() - last > EVERY:
                    small = Image.fromarray(frame.image)
                    small.thumbnail((PREVIEW, PREVIEW))
                    answer["picture"] = shown(np.asarray(small))
                    last = time.monotonic()
                yield answer
        with lock:
            finished = folder.glob("copy-*.mp4")
            newest = sorted(finished, key=lambda path: -path.stat().st_mtime_ns)
            for older in newest[COPIES:]:
                older.unlink()
        yield {"copy": target.name}
    except photos.Unreadable as reason:
        raise LabError(f"The file cannot be shown: {reason}.") from None
    finally:
        path.unlink(missing_ok=True)
