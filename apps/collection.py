"""A data base that grows in one folder: pictures come in as copies, and tables tell of
each where it comes from.
"""

import csv
import io
import json
import os
import re
import secrets
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from lab.plumbing import photos
from lab.plumbing.catalogue import FACTS
from lab.plumbing.files import LabError, relative, sha256, write

INSIDE = "_collected"  # the folder in FOLDER that `photos.listing` passes over
MOST_CLASSES = 9  # one for each of the keys 1 to 9
LARGE = 20_000  # pixels a side: no picture is decoded smaller
FILMS = (
    ".mp4",
    ".avi",
    ".mov",
    ".mkv",
    ".webm",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".3gp",
    ".mts",
)
BURST = 10  # seconds: pictures with a shorter time between them are one burst
NOT_KNOWN = "not known"
CONSENT = (
    "nobody can be recognised in the pictures",
    "everybody shown has agreed, in writing",
    "everybody shown has agreed, by word of mouth",
    "published under a licence that allows this use",
    NOT_KNOWN,
)
MOST = 200_000_000  # bytes of a picture
GROUPINGS = {
    "none": "nothing: each file is by itself",
    "folder": "their folder",
    "name": "their file name, up to the number at its end",
    "time": f"their time: less than {BURST} seconds from one to the next",
}
COLUMNS = (
    *("picture", "file", "frame", "taken", "width", "height"),
    *("grouping", "group", "source", "consent", "collected"),
)
CROPS = ("picture", "left", "top", "side", "time")


def now():
    """Return the time as tables have it, to a second."""
    return datetime.now().isoformat(" ", "seconds")


class Log:
    """A CSV file that only grows. A row is in it whole or not at all.

    rows: a list of dicts, in the order of the file. A last line that was cut off, when
    the machine failed, is dropped.
    Raises LabError where the file has other columns or cannot be written.
    """

    def __init__(self, path, columns):
        self.path, self.columns, self.rows = path, columns, []
        if not path.exists():
            return
        content = path.read_bytes()
        if re.search(rb"\r(?!\n|\Z)", content):
            raise LabError(
                f"{relative(path)} has the line ends of an old Macintosh: save it as"
                " CSV UTF-8."
            )
        whole = content[: content.rfind(b"\n") + 1]
        if self._ended(content[len(whole) :]):  # an editor left the line's end out
            self._write(b"\n")
            whole = content = content + b"\n"
        try:
            text = whole.decode("utf-8-sig")  # a spreadsheet begins with a mark
        except UnicodeDecodeError:
            raise LabError(
                f"{relative(path)} is not written in UTF-8: save it as CSV UTF-8."
            ) from None
        try:
            table = [line for line in csv.reader(io.StringIO(text)) if line]
        except csv.Error:  # such as a quotation mark that is never closed
            table = []
        header, *lines = table or [[]]
        wrong = [line for line in lines if len(line) != len(columns)]
        if whole and header != list(columns) or wrong:
            raise LabError(
                f"{relative(path)} does not have the columns {', '.join(columns)} in"
                " every line, separated by commas: mend the line, or take the file"
                " away."
            )
        self.rows = [dict(zip(columns, line)) for line in lines]
        if whole != content:
            os.truncate(path, len(whole))

    def _ended(self, tail):
        """Return whether a last line without its end is whole: its time is."""
        cells = next(csv.reader([tail.decode(errors="replace").replace("\0", "")]), [])
        time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        return len(cells) == len(self.columns) and re.fullmatch(time, cells[-1])

    def append(self, **row):
        """Add a row, {column: value}; when this returns, it is on the disk."""
        cells = {name: re.sub(r"\s+", " ", str(row[name])) for name in self.columns}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self.rows and not (self.path.exists() and self.path.stat().st_size):
            writer.writerow(self.columns)
        writer.writerow(cells.values())
        self._write(text.getvalue().encode())
        self.rows.append(cells)

    def _write(self, line):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as file:
                before = file.tell()
                if file.write(line) < len(line):
                    file.truncate(before)
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
        except OSError as error:
            raise LabError(
                f"Cannot write {relative(self.path)} ({error.strerror or error}): make"
                " its folder writable, or free some disk space, and try again."
            ) from None


class Collection:
    """The data base in a folder.

    id: a text that no other data base has; classes: the names of the classes; pictures:
    {name: row of pictures.csv}; crops: {name: (left, top, side) in pixels of the
    upright picture}.
    Raises LabError where the folder holds pictures that were not collected here.
    """

    def __init__(self, folder):
        self.folder = Path(os.path.expanduser(folder))
        self.inside = self.folder / INSIDE
        if self.folder.exists() and not self.folder.is_dir():
            raise LabError(f"{relative(self.folder)} is a file: give another FOLDER=.")
        name = self.folder.resolve().name
        self.name = photos.slug(name)
        if {name, self.name} & {facts["name"] for facts in FACTS}:
            raise LabError(f"{name} is a known data set: give FOLDER= another name.")
        if self.folder.exists() and not self.inside.exists():
            there = [entry for entry in self.folder.iterdir() if entry.name[0] != "."]
            if there:
                raise LabError(
                    f"{photos.legible(str(folder))} holds files already, such as"
                    f" {photos.legible(there[0].name)}, and no data base that was"
                    " collected here: give FOLDER= a new name, and add the pictures on"
                    " the page."
                )
        about = self.inside / "collection.json"
        try:
            known = json.loads(about.read_text()) if about.exists() else {"classes": []}
            self.classes = known["classes"]
            if not isinstance(self.classes, list) or not all(
                isinstance(name, str) for name in self.classes
            ):
                raise TypeError
            self.id = known.get("id") or secrets.token_hex(6)
        except (ValueError, KeyError, TypeError):
            raise LabError(
                f"{relative(about)} cannot be read: take it away, and name the classes"
                " again."
            ) from None
        self._log = Log(self.inside / "pictures.csv", COLUMNS)
        self._crops = Log(self.inside / "crops.csv", CROPS)
        self.pictures = {row["picture"]: row for row in self._log.rows}
        self.crops = {}
        try:
            for row in self._log.rows:
                int(row["width"]), int(row["height"])
            for row in self._crops.rows:
                if row["picture"] in self.pictures:  # not taken out
                    self._cropped(row)
        except ValueError as error:
            raise LabError(
                f"{relative(self.inside)}: a number in pictures.csv or crops.csv cannot"
                f" be read ({error}): mend the line."
            ) from None

    def path(self, picture):
        """Return the path of a picture's copy."""
        return self.inside / "pictures" / picture

    def set_classes(self, names, used=()):
        """Keep the names of the classes.

        used: the classes that pictures are labelled with, which must stay.
        Raises LabError for names that folders cannot have or that are the same.
        """
        names = [" ".join(name.split()) for name in names if name.strip()]
        for name in names:
            if name.startswith((".", "_", "(")) or re.search(
                r'[\\/:*?"<>|,\x00-\x1f]', name
            ):
                raise LabError(
                    f"A class cannot be called {name}: its name is that of a folder, so"
                    " it begins with a letter or a digit, and has none of"
                    ' \\ / : * ? " < > | and no comma.'
                )
            if len(name.encode()) > 100:
                raise LabError(f"The class {name[:30]}… has too long a name.")
        if not 2 <= len({photos.same(name) for name in names}) == len(names):
            raise LabError("Give two or more classes with different names.")
        if len(names) > MOST_CLASSES:
            raise LabError(
                f"Give at most {MOST_CLASSES} classes: each has one of the keys 1 to 9."
            )
        if gone := [name for name in used if name not in names]:
            raise LabError(
                f"Pictures are labelled as {', '.join(gone)}: keep these names."
            )
        self.classes = names
        self.keep()

    def keep(self):
        """Write collection.json: the names of the classes, and what tells this data
        base from another one of its name.
        """
        about = {"classes": self.classes, "id": self.id}
        write(self.inside / "collection.json", json.dumps(about, indent=1) + "\n")

    def add(self, file, content, session, frame="", taken=None):
        """Add the copy of a picture, and return its name, or None where it is here.

        file: its path, as the collector saw it; content: the bytes of the file.
        session: {"source", "consent", "grouping", "group"}; group: what a person or a
            scene is called, where the collector says so; "taken": the time, where the
            picture may not have it.
        frame: the number of the frame, of a film.
        Raises photos.Unreadable where it is no picture.
        """
        content, ending, size, time = copied(content)
        name = f"{sha256(content)[:16]}.{ending}"
        if name in self.pictures:
            return None
        write(self.path(name), content)
        row = {name: str(session.get(name, "")).strip() for name in COLUMNS}
        row |= {"picture": name, "file": file, "frame": frame, "collected": now()}
        row |= dict(zip(("width", "height"), size), taken=taken or time or row["taken"])
        self._log.append(**row)
        self.pictures[name] = self._log.rows[-1]
        return name

    def crop(self, picture, left, top, side):
        """Keep a square of a picture, in pixels; a side of 0 keeps the whole picture.

        The copy stays whole. The data set and the page show the square.
        """
        row = self.pictures[picture]
        width, height = int(row["width"]), int(row["height"])
        side = min(int(side), width, height)
        left, top = (
            max(0, min(int(left), width - side)),
            max(0, min(int(top), height - side)),
        )
        if 0 < side < photos.SIZES[0]:
            raise LabError(
                f"The square has {side} pixels a side: draw one of {photos.SIZES[0]} or"
                " more."
            )
        given = {"left": left, "top": top, "side": side}
        self._crops.append(picture=picture, **given, time=now())
        self._cropped(self._crops.rows[-1])

    def _cropped(self, row):
        left, top, side = (int(row[name]) for name in ("left", "top", "side"))
        self.crops.pop(row["picture"], None)
        if side:
            self.crops[row["picture"]] = left, top, side

    def image(self, picture, size=LARGE, whole=False):
        """Return a picture, upright, RGB, cropped unless `whole`; a larger one is
        decoded with at least `size` pixels a side.

        Raises photos.Unreadable where the copy was damaged.
        """
        row = self.pictures[picture]
        crop = None if whole else self.crops.get(picture)
        width, height = int(row["width"]), int(row["height"])
        least = size if crop is None else size * max(width, height) // crop[2] + 1
        photo = photos.open_picture(self.path(picture), least, grey=False)
        if crop is not None:
            scale = photo.width / width
            left, top, side = (round(pixels * scale) for pixels in crop)
            photo = photo.crop((left, top, left + side, top + side))
        return photo

    def hold(self):
        """Keep other pages from opening this folder, until this program ends.

        Raises LabError where one has it open.
        """
        if not (self.folder / ".gitignore").exists():
            write(self.folder / ".gitignore", "*\n")  # pictures of people stay here
        self._lock = FileLock(self.inside / ".lock", thread_local=False)
        try:
            self.inside.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            for part in (self.inside / "pictures").glob(".*"):
                part.unlink()  # what an interruption left unfinished
        except Timeout:
            raise LabError(
                f"{photos.legible(str(self.folder))} is open on another page: use that"
                " one, or end it."
            ) from None
        except OSError as error:
            raise LabError(
                f"Cannot write {relative(self.inside)} ({error.strerror or error}):"
                " make its folder writable, or give another FOLDER=."
            ) from None

    def groups(self):
        """Return {picture: its group}: pictures of one group must not be divided.

        A group is what the collector named, a film, or what the grouping of its session
        says; else the file.
        """
        group_of, bursts = {}, {}
        for name, row in self.pictures.items():
            file = PurePosixPath(row["file"])
            group = f"file {file}"
            if row["group"]:
                group = f"named {row['group'].casefold()}"
            elif row["frame"]:
                group = f"film {file}"
            elif row["grouping"] == "folder" and file.parent.name:
                group = f"folder {file.parent}"
            elif row["grouping"] == "name":
                stem = re.sub(r"[\W_]*\d+$", "", file.stem)
                group = f"name {file.parent / stem}" if stem else group
            elif row["grouping"] == "time" and row["taken"]:
                try:
                    bursts[name] = datetime.strptime(row["taken"], "%Y-%m-%d %H:%M:%S")
                except ValueError:
                    raise LabError(
                        f"{relative(self.inside / 'pictures.csv')} has the time"
                        f" {row['taken']} for {name}: write it as 2026-05-01 12:00:00."
                    ) from None
            group_of[name] = group
        number, before = 0, None
        for name, time in sorted(bursts.items(), key=lambda item: item[1]):
            number += before is None or (time - before).total_seconds() >= BURST
            group_of[name], before = f"burst {number}", time
        return group_of


# --- copies without what they would tell of places


def copied(content):
    """Return (bytes, ending, (width, height), time taken) of the copy of a picture.

    A JPEG keeps every pixel: its metadata are dropped, but for the orientation and the
    colour profile. Anything else becomes a PNG, without metadata.
    Raises photos.Unreadable where it is no picture.
    """
    jpeg = content.startswith(b"\xff\xd8\xff")
    picture = photos.open_picture(io.BytesIO(content), 32 if jpeg else LARGE, False)
    with Image.open(io.BytesIO(content), formats=photos.FORMATS) as opened:
        size, exif = opened.size, opened.getexif()
    taken, orientation = _taken(exif), exif.get(0x0112)
    orientation = orientation if orientation in range(2, 9) else 1
    if jpeg:
        size = size[::-1] if orientation in range(5, 9) else size
        return _bare(content, orientation), "jpg", size, taken
    return _png(picture), "png", picture.size, taken


def _png(picture):
    """Return a picture as the bytes of a PNG file, without metadata."""
    packed, plain = io.BytesIO(), Image.new("RGB", picture.size)
    plain.paste(picture)
    plain.save(packed, "PNG")
    return packed.getvalue()


def _taken(exif):
    """Return the time at which a picture was taken, as tables have it, or nothing."""
    try:
        said = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132) or ""
        return datetime.strptime(str(said)[:19], "%Y:%m:%d %H:%M:%S").isoformat(" ")
    except Exception:  # odd metadata: Pillow raises many kinds
        return ""


def _bare(content, orientation):
    """Return the bytes of a JPEG without metadata, up to the end of its picture."""
    kept, at = [b"\xff\xd8"], 2
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        block = exif.tobytes()
        kept.append(b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block)
    while at + 4 <= len(content) and content[at : at + 2] != b"\xff\xd9":
        marker = content[at + 1]
        if content[at] != 0xFF or marker == 0xFF:  # a byte between two segments
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        head = content[at + 4 : at + 16]
        if marker == 0xDA:  # its pixels follow
            after = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(content, end)
            end = after.start() if after else len(content)
        told = 0xE1 <= marker <= 0xEF or marker == 0xFE
        if not told or head.startswith((b"ICC_PROFILE\0", b"Adobe")):
            kept.append(content[at:end])
        at = end
    return b"".join(kept) + b"\xff\xd9"


# --- what comes in


def frames(path, every):
    """Yield (number, JPEG as bytes) of every n-th frame of a film.

    Raises photos.Unreadable where it is no film, LabError without OpenCV.
    """
    try:
        import cv2
    except ImportError:
        raise LabError(
            "Films need OpenCV: pip install opencv-python-headless"
        ) from None
    film, number = cv2.VideoCapture(str(path)), 0
    best = [cv2.IMWRITE_JPEG_QUALITY, 95]
    try:
        while film.grab():
            if number % every == 0:
                there, frame = film.retrieve()
                if there:
                    yield number, cv2.imencode(".jpg", frame, best)[1].tobytes()
            number += 1
    finally:
        film.release()
    if not number:
        raise photos.Unreadable("no film, or without frames")


@cache
def _faces():
    """Return the module that finds faces, and its detector, when first needed."""
    from apps import faces  # imports the networks: seconds

    return faces, faces.detector()


def cut_faces(content):
    """Return the faces in a picture, each as the bytes of a PNG file.

    Raises photos.Unreadable where it is no picture, LabError without OpenCV.
    """
    faces, detect = _faces()
    image = faces.photo(io.BytesIO(content))
    squares = np.round(detect(image, doubled=True)).astype(int)
    crops = [
        faces.crop(image, *square, (square[2], square[2], 3)) for square in squares
    ]
    return [_png(Image.fromarray(crop)) for crop in crops]


def bring(collection, file, path, session, every=1, cut=False):
    """Add a file, and yield (name or None, reason or None) of each picture in it.

    file: its path, as the collector saw it; path: of its bytes. Of a film, every n-th
    frame is a picture. cut: the faces in a picture are added in its place.
    """
    film = PurePosixPath(file).suffix.lower() in FILMS
    if not film and path.stat().st_size > MOST:
        yield None, f"larger than {MOST / 1e6:,.0f} MB"
        return
    try:
        if not film and path.suffix.lower() in photos.RAW:
            raise photos.Unreadable("a camera's raw file: save it as JPEG")
        for frame, content in (
            frames(path, every) if film else [("", path.read_bytes())]
        ):
            taken = copied(content)[3] if cut else None
            parts = cut_faces(content) if cut else [content]
            if not parts:
                yield None, "no face was found"
            for part in parts:
                name = collection.add(file, part, session, frame, taken)
                yield name, None if name else "it is here already"
    except photos.Unreadable as reason:
        yield None, str(reason) if film else _why(path, reason)


def _why(path, reason):
    """Return why a file is no picture; its path tells more than its bytes."""
    try:
        photos.open_picture(path, 32, grey=False)
    except photos.Unreadable as better:
        return str(better)
    return str(reason)
