"""The networks on your own pictures: faces in photos, folders, videos and live.

What tools/page.py asks the networks is here, too.
"""

import interrupt  # noqa: F401

import argparse
import csv
import functools
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

# A file that is no video is said once, by us.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
from apps import faces
from lab import datasets
from lab.plumbing import photos
from lab.plumbing.files import LabError, relative, writing
from lab.plumbing.names import MODEL_TITLES
from lab.plumbing.screen import Line, clock
from lab.prediction import Predictor
from lab.runs import read
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 2048  # pixels of an annotated photo's longer side
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


# --- files


def photo(path):
    """Return a photo as uint8 (height, width, 3), upright. Raises photos.Unreadable
    with the reason.
    """
    picture = photos.open_picture(path, LONGEST, grey=False)
    picture.thumbnail((LONGEST, LONGEST))
    return np.asarray(picture)


def rows(name, frame, found, classes):
    """Return the lines of faces.csv of the faces in one picture or frame."""
    return [
        [
            name,
            frame,
            face.left,
            face.top,
            face.side,
            face.label,
            *(f"{p:.4f}" for p in face.probabilities),
        ]
        for face in found
    ]


def frames(source):
    """Yield (frames a second, frame as uint8 (height, width, 3)) of a video file, or of
    a camera's number.

    Raises LabError where there is no OpenCV, and photos.Unreadable where nothing can be
    read.
    """
    try:
        import cv2
    except ImportError:
        raise LabError(
            "Videos and cameras need OpenCV: pip install opencv-python-headless"
        ) from None
    camera = isinstance(source, int)
    video = cv2.VideoCapture(source if camera else str(source))
    try:
        rate, read = video.get(cv2.CAP_PROP_FPS), 0
        while True:
            there, frame = video.read()
            if not there:
                break
            read += 1
            yield (
                rate if 1 <= rate <= 240 else 25.0,
                cv2.cvtColor(frame, cv2.COLOR_BGR2RGB),
            )
    finally:
        video.release()
    if not read:
        raise photos.Unreadable(
            "there is no such camera"
            if camera
            else "neither a picture nor a video with frames"
        )


def watch(source, name, target, watcher, line):
    """Write an annotated copy of a video or of what a camera sees, and return the lines
    of faces.csv.
    """
    import cv2

    found, writer, count, start = [], None, 0, time.perf_counter()
    watcher.faces = []
    with writing(target) as unfinished:
        try:
            for rate, frame in frames(source):
                seen = watcher.next(frame)
                if writer is None:
                    writer = cv2.VideoWriter(
                        str(unfinished),
                        cv2.VideoWriter_fourcc(*"mp4v"),
                        rate,
                        frame.shape[1::-1],
                    )
                writer.write(
                    cv2.cvtColor(faces.annotated(frame, seen), cv2.COLOR_RGB2BGR)
                )
                found += rows(name, count, seen, watcher.predict.classes)
                count += 1
                gone = time.perf_counter() - start
                line.show(
                    f"{name}: frame {count}, {clock(gone)}, {count / gone:.0f} frames a"
                    f" second, faces: {len(seen)}"
                )
        except KeyboardInterrupt:
            # A camera ends so; a video's copy would be cut off.
            if not count or not isinstance(source, int):
                raise
        finally:
            if writer is not None:
                writer.release()
    return found


def annotate(path, output, camera=None):
    """Write annotated copies and faces.csv of a photo, a video, a folder of them, or of
    a camera.
    """
    if camera is None and not path.exists():
        raise LabError(
            f"There is no {photos.legible(str(path))}: give a photo, a video or a"
            " folder."
        )
    files = (
        [path]
        if camera is not None or path.is_file()
        else sorted(
            one
            for one in path.rglob("*")
            if one.is_file()
            and not any(part.startswith(".") for part in one.relative_to(path).parts)
        )
    )
    watcher, line, found, left_out = faces.Watcher(Predictor("fer2013")), Line(), [], []
    written, targets = 0, set()
    for number, file in enumerate(files):
        place = (
            Path("camera")
            if camera is not None
            else Path(file.name)
            if path.is_file()
            else file.relative_to(path)
        )
        name = f"camera {camera}" if camera is not None else photos.legible(str(place))
        video = camera is not None or file.suffix.lower() in VIDEOS
        ending = "-faces.mp4" if video else "-faces.png"
        target = output / place.with_name(place.stem + ending)
        target = (
            output / place.with_name(place.name + ending)
            if target in targets
            else target
        )
        targets.add(target)
        try:
            if video:
                found += watch(
                    file if camera is None else camera, name, target, watcher, line
                )
            else:
                image = photo(file)
                seen = watcher.picture(image)
                with writing(target) as unfinished:
                    Image.fromarray(faces.annotated(image, seen)).save(unfinished)
                found += rows(name, 0, seen, watcher.predict.classes)
            written += 1
            line.show(f"{number + 1} of {len(files)}: {name}")
        except photos.Unreadable as reason:
            left_out.append(f"{name} is left out: {reason}")
        except KeyboardInterrupt:
            left_out.append(f"{name} is left out, and what would follow: interrupted")
            break
    line.show(f"{written} of {len(files)} done, faces: {len(found)}", last=True)
    print("\n".join(left_out), end="\n" * bool(left_out))
    if not written:
        raise LabError(
            "Nothing could be read: give a photo, a video or a folder of them."
        )
    with (
        writing(output / "faces.csv") as unfinished,
        open(unfinished, "w", newline="") as file,
    ):
        csv.writer(file).writerows(
            [
                [
                    "file",
                    "frame",
                    "left",
                    "top",
                    "side",
                    "label",
                    *watcher.predict.classes,
                ],
                *found,
            ]
        )
    print(f"{relative(output)}: annotated copies and faces.csv\n{faces.MEANING}")


# --- the page's questions


predictors, one_at_a_time = {}, threading.Lock()


@functools.cache
def networks():
    """Return {title: Run} of all networks that are stored with weights, those for faces
    first, the newest first.
    """
    found = {}
    for name in ("fer2013", "cifar10", "fashion_mnist"):
        for model in reversed(MODEL_TITLES):
            run = read(ROOT / "data" / "runs" / name / model / "main" / "seed-0")
            if run and run.record["weights_file_sha256"]:
                found[f"{datasets.KNOWN[name].title}: {MODEL_TITLES[model]}"] = run
    return found


def predictor(title):
    """Return the Predictor of a network, built when it is first asked. Raises LabError
    for weights that do not fit.
    """
    with one_at_a_time:  # Keras builds one network after the other
        if title not in predictors:
            run = networks()[title]
            ask = Predictor(run.record["dataset"], run)
            for n in (1, 2):  # compiles; after two numbers of pictures, for any number
                ask(np.zeros((n, *ask.shape), np.uint8))
            predictors[title] = ask
        return predictors[title]


def look(image, title, confidence, watcher, live):
    """Return the annotated picture, {class: probability}, a sentence, and what a video
    must remember.

    image: uint8 (height, width, 3), or None; title: a key of `networks`, None while the
        page has none yet; watcher: what was remembered.
    """
    if image is None or title is None:
        return None, None, "", watcher
    start, ask = time.perf_counter(), predictor(title)
    if networks()[title].record["dataset"] != "fer2013":
        square = min(image.shape[:2])
        top, left = (image.shape[0] - square) // 2, (image.shape[1] - square) // 2
        probabilities = ask(faces.crop(image, left, top, square, ask.shape)[None])[0]
        said = (
            ask.classes[int(probabilities.argmax())]
            if probabilities.max() >= confidence
            else faces.UNSURE
        )
        shown = image
    else:
        watcher = watcher if watcher and watcher.predict is ask else faces.Watcher(ask)
        watcher.confidence = confidence
        found = watcher.next(image) if live else watcher.picture(image)
        probabilities = found[0].probabilities if found else None
        shown, said = (faces.annotated(image, found), named(found))
    seconds = time.perf_counter() - start
    bars = (
        None
        if probabilities is None
        else dict(zip(ask.classes, map(float, probabilities), strict=True))
    )
    return (
        shown,
        bars,
        f"{said} ({1000 * seconds:.0f} ms a picture, {1 / seconds:.0f} a second)",
        watcher,
    )


def named(found):
    """Return what was seen in a few words: the labels, of the largest face first."""
    if not found:
        return "no face found"
    if found[0].whole:
        return f"{found[0].label} (no face found, the whole picture was classified)"
    labels = [face.label for face in found]
    more = f" and {len(labels) - 5} more faces" if len(labels) > 5 else ""
    return ", ".join(labels[:5]) + more


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        usage="%(prog)s [-h] (PATH | --camera N) [--output FOLDER]",
        description=(
            "Name the expressions of the faces on your own pictures: write annotated"
            " copies of them, and faces.csv. Originals are only read."
        ),
    )
    made.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="a photo, a video, or a folder of them",
    )
    made.add_argument(
        "--camera", type=int, metavar="N", help="camera number N, until Ctrl-C"
    )
    made.add_argument(
        "--output",
        type=Path,
        default=ROOT / "build" / "demo",
        metavar="FOLDER",
        help="where the copies go; without it to build/demo",
    )
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if not given.path and given.camera is None:
        parser().error("name a photo, a video or a folder, or --camera N")
    annotate(given.path, given.output, given.camera)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
