"""Annotated copies of photos, videos and folders of them, and of what a camera sees."""

import contextlib
import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# A file that is no video is said once, by us.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
from apps import faces
from apps.collection import FILMS
from lab.plumbing import photos
from lab.plumbing.files import LabError, relative, writing
from lab.plumbing.screen import Line, clock
from lab.prediction import Predictor


@dataclass
class Frame:
    """A frame of a video: uint8 (height, width, 3), when it is shown, in seconds, the
    video's frames a second, and how many frames the video says to have, or 0.
    """

    image: np.ndarray
    seconds: float
    rate: float
    of: int


def frames(source):
    """Yield the frames of a video file, or of a camera's number.

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
        rate, count = video.get(cv2.CAP_PROP_FPS), 0
        rate = rate if 1 <= rate <= 240 else 25.0
        of = 0 if camera else max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        while True:
            there, image = video.read()
            if not there:
                break
            seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000 or count / rate
            count += 1
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), seconds, rate, of)
    finally:
        video.release()
    if not count:
        raise photos.Unreadable(
            "there is no such camera"
            if camera
            else "neither a picture nor a video with frames"
        )


@contextlib.contextmanager
def video_copy(path):
    """Give a function that adds a frame and the faces in it to an annotated copy of a
    video; the copy becomes `path` when the block ends well.

    Raises LabError where the disk has no room for it.
    """
    import cv2

    writer, size, count = None, None, 0

    def add(frame, seen):
        nonlocal writer, size, count
        if writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            size = frame.image.shape[1::-1]
            writer = cv2.VideoWriter(str(unfinished), code, frame.rate, size)
        annotated = cv2.resize(faces.annotated(frame.image, seen), size)
        writer.write(cv2.cvtColor(annotated, cv2.COLOR_RGB2BGR))
        count += 1

    with writing(path) as unfinished:
        try:
            yield add
        finally:
            if writer is not None:
                writer.release()
        video = cv2.VideoCapture(str(unfinished))  # OpenCV says nothing of a full disk
        whole = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) >= count
        video.release()
        if not whole:
            raise LabError(
                f"The annotated copy {path.name} cannot be written whole: free some"
                " disk space, and try again."
            )


def rows(name, frame, seen):
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
        for face in seen
    ]


def watch(source, name, target, watcher, line):
    """Write an annotated copy of a video or of what a camera sees, and return the lines
    of faces.csv.
    """
    table, count, start = [], 0, time.perf_counter()
    watcher.faces = []
    with video_copy(target) as add:
        try:
            for frame in frames(source):
                seen = watcher.next(frame.image)
                add(frame, seen)
                table += rows(name, count, seen)
                count += 1
                gone = time.perf_counter() - start
                of = f" of {frame.of}" if frame.of >= count else ""
                line.show(
                    f"{name}: frame {count}{of}, {clock(gone)}, {count / gone:.0f}"
                    f" frames a second, faces: {len(seen)}"
                )
        except KeyboardInterrupt:
            # A camera ends so; a video's copy would be cut off.
            if not count or not isinstance(source, int):
                raise
    return table


def legible(name):
    """Return a file's name as one line of text, whatever it holds."""
    text = photos.legible(str(name))
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def contents(path, output):
    """Return the files of a folder, without hidden ones and without the copies that
    were written into it before.
    """
    output = output.resolve()
    inside = output.is_relative_to(path.resolve())
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and not (inside and file.resolve().is_relative_to(output))
    )


def annotate(path, output, camera=None):
    """Write annotated copies and faces.csv of a photo, a video, a folder of them, or of
    a camera.

    Raises LabError where nothing can be read, and where the copies would lie among the
    originals.
    """
    if camera is None and not path.exists():
        raise LabError(
            f"There is no {legible(path)}: give a photo, a video or a folder."
        )
    folder = camera is None and path.is_dir()
    where = path if folder else path and path.parent
    if camera is None and output.resolve() == where.resolve():
        raise LabError(
            f"The copies would lie among the originals in {legible(where)}: give"
            " another folder as --output."
        )
    files = contents(path, output) if folder else [path]
    watcher, line, table, left_out = faces.Watcher(Predictor("fer2013")), Line(), [], []
    written, targets, fault = 0, set(), None
    for number, file in enumerate(files):
        if camera is not None:
            place, name = Path("camera"), f"camera {camera}"
        else:
            place = file.relative_to(path) if folder else Path(file.name)
            name = legible(place)
        video = camera is not None or file.suffix.lower() in FILMS
        ending = "-faces.mp4" if video else "-faces.png"
        target = output / place.with_name(place.stem + ending)
        if target in targets:
            target = output / place.with_name(place.name + ending)
        targets.add(target)
        try:
            if video:
                source = file if camera is None else camera
                table += watch(source, name, target, watcher, line)
            else:
                image = faces.photo(file)
                seen = watcher.picture(image)
                with writing(target) as unfinished:
                    Image.fromarray(faces.annotated(image, seen)).save(unfinished)
                table += rows(name, 0, seen)
            written += 1
            line.show(f"{number + 1} of {len(files)}: {name}")
        except photos.Unreadable as reason:
            left_out.append(f"{name} is left out: {reason}")
        except KeyboardInterrupt:
            if not written:
                raise
            left_out.append(f"{name} is left out, and what would follow: interrupted")
            break
        except LabError as error:
            if not written:
                raise
            fault = error
            break
    line.show(f"{written} of {len(files)} done, faces: {len(table)}", last=True)
    print("\n".join(left_out), end="\n" * bool(left_out))
    if not written:
        raise LabError(
            "Nothing could be read: give a photo, a video or a folder of them."
        )
    header = ["file", "frame", "left", "top", "side", "label", *watcher.predict.classes]
    with (
        writing(output / "faces.csv") as unfinished,
        open(unfinished, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([header, *table])
    if fault:
        raise fault
    print(f"{relative(output)}: annotated copies and faces.csv\n{faces.MEANING}")
