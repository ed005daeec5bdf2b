"""Make a data base of your own on this machine: bring pictures in, label them, see how
far annotators agree, divide, and describe.
"""

import argparse
import subprocess
import sys
import threading
from pathlib import Path

from apps.program import guarded, load
from apps.serving import files, private_folder, serve

WEB = Path(__file__).resolve().parent / "web"
STEPS = {
    "agree": "how far the annotators agree",
    "split": "write train, validation and test, without a leak",
    "curve": "train a small network on shares of the pictures (minutes)",
    "datasheet": "write data/NAME.md, and mark what is open",
}
SHOWN, THUMB = 1200, 160  # pixels of the longer side
SESSION = ("source", "consent", "grouping", "group")


class Page:
    """What the page asks for. One request changes the data base at a time.

    folder: of the data base; temporary: a private folder. The page opens first; what
    takes seconds to import follows while it is looked at, and answers wait for it.
    """

    def __init__(self, folder, temporary):
        self.folder, self.temporary = folder, temporary
        self.lock, self.there = threading.RLock(), threading.Event()
        self.error = self.collection = self.labels = None
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self):
        try:
            from apps import splits
            from apps.collection import Collection
            from apps.labels import Labels

            self.collection = Collection(self.folder)
            self.collection.hold()
            splits.repair(self.collection)
            self.labels = Labels(self.collection)
        except Exception as error:
            self.error = error
        self.there.set()

    def routes(self):
        """Return {(method, path): function} for `serving.serve`."""
        asked = {
            ("GET", "/state"): self.state,
            ("GET", "/pictures"): self.pictures,
            ("GET", "/picture"): self.picture,
            ("GET", "/next"): self.next,
            ("POST", "/classes"): self.classes,
            ("POST", "/crop"): self.crop,
            ("POST", "/label"): self.label,
            ("POST", "/undo"): self.undo,
            ("POST", "/decide"): self.decide,
            ("GET", "/curve.png"): self.curve,
        }
        long = {("POST", "/add"): self.add, ("POST", "/step"): self.step}
        return (
            files(WEB, "collect.html", "collect.css", "collect.js")
            | {key: self._ready(self._alone(route)) for key, route in asked.items()}
            | {key: self._ready(route) for key, route in long.items()}
        )

    def _ready(self, route):
        def answer(request):
            self.there.wait()
            if self.error:
                raise self._fault()
            return route(request)

        return answer

    def _fault(self):
        from lab import LabError

        if not isinstance(self.error, LabError):
            return self.error
        return LabError(f"{self.error} Then run make collect again.")

    def _alone(self, route):
        def answer(request):
            with self.lock:
                return route(request)

        return answer

    def state(self, request):
        """Return what the page shows of the data base, in numbers."""
        from apps.collection import CONSENT, GROUPINGS

        return {
            "name": self.collection.name,
            "folder": str(self.collection.folder),
            "classes": self.collection.classes,
            "pictures": len(self.collection.pictures),
            "consent": CONSENT,
            "groupings": GROUPINGS,
        }

    def pictures(self, request):
        """Return the names of some pictures, the newest first."""
        names = list(self.collection.pictures)[::-1]
        start = int(request.query.get("start", 0))
        return {"pictures": names[start : start + 60], "all": len(names)}

    def picture(self, request):
        """Return a picture as a file, scaled down; a `size` of "thumb" is small."""
        from lab import LabError
        from lab.plumbing import photos

        name = self._known(request)
        whole, small = "whole" in request.query, request.query.get("size") == "thumb"
        crop = None if whole else self.collection.crops.get(name)
        kind = f"{'whole' if whole else crop}-{'thumb' if small else 'shown'}"
        made = self.temporary / f"{name.split('.')[0]}-{kind}.jpg"
        if not made.exists():
            size = THUMB if small else SHOWN
            try:
                image = self.collection.image(name, size, whole)
            except photos.Unreadable as reason:
                raise LabError(f"{name} cannot be read: {reason}.") from None
            image.thumbnail((size, size))
            image.save(made, "JPEG", quality=90)
        return made

    def _known(self, request):
        from lab import LabError

        name = request.query.get("picture", "")
        if name not in self.collection.pictures:
            raise LabError("There is no such picture: load the page again.")
        return name

    def classes(self, request):
        """Keep the names of the classes, separated by commas."""
        names = request.query.get("names", "").split(",")
        self.collection.set_classes(names, self.labels.used())
        return self.state(request)

    def add(self, request):
        """Add a file, and yield what became of each picture in it."""
        from apps.collection import FILMS, bring, now
        from lab import LabError

        query, session = request.query, {}
        for name in SESSION:
            session[name] = query.get(name, "").strip()
        if not session["source"] or not session["consent"]:
            raise LabError("Say first where the pictures come from, and who agreed.")
        if "camera" in query:
            session["taken"] = now()
        file = query.get("file", "").strip() or "unnamed"
        every = query.get("every", "1") if Path(file).suffix.lower() in FILMS else "1"
        if not every.isdecimal() or int(every) < 1:
            raise LabError(
                "Of a film every n-th frame is taken: give a whole number of 1 or more,"
                " such as 10."
            )
        path = self.temporary / f"in-{threading.get_ident()}{Path(file).suffix}"
        request.save(path)
        return self._brought(bring, file, path, session, int(every), "faces" in query)

    def _brought(self, bring, file, path, session, every, cut):
        added, reasons = 0, {}
        try:
            parts = bring(self.collection, file, path, session, every, cut)
            while True:
                with self.lock:
                    outcome = next(parts, None)
                if outcome is None:
                    break
                name, reason = outcome
                added += name is not None
                if reason:
                    reasons[reason] = reasons.get(reason, 0) + 1
                yield {"file": file, "added": added, "reasons": reasons}
        finally:
            path.unlink(missing_ok=True)

    def crop(self, request):
        """Keep a square of a picture; its numbers are shares of the width."""
        name = self._known(request)
        width = int(self.collection.pictures[name]["width"])
        left, top, side = (float(request.query[key]) for key in ("left", "top", "side"))
        side = side and max(1, round(width * side))  # 0 stands for the whole picture
        self.collection.crop(name, round(width * left), round(width * top), side)
        return {"picture": name}

    def next(self, request):
        """Return the pictures that an annotator sees next, and how far they are."""
        return self._left(self.labels.annotator(request.query.get("annotator", "")))

    def _left(self, annotator, first=None):
        left = annotator.left()
        if first is not None:
            left = [first, *(name for name in left if name != first)]
        return {
            "annotator": annotator.name,
            "next": left[:3],
            "left": len(left),
            "all": len(self.collection.pictures),
            "counts": annotator.counts(),
        }

    def label(self, request):
        """Keep what an annotator says of a picture."""
        annotator = self.labels.annotator(request.query.get("annotator", ""))
        annotator.label(self._known(request), request.query.get("label", ""))
        return self._left(annotator)

    def undo(self, request):
        """Take an annotator's last label back, and show its picture again."""
        annotator = self.labels.annotator(request.query.get("annotator", ""))
        return self._left(annotator, annotator.undo())

    def decide(self, request):
        """Keep what the annotators agreed on after all."""
        self.labels.decide(self._known(request), request.query.get("label", ""))
        return {}

    def step(self, request):
        """Do a step, and yield what it says; the last line is its result."""
        name = request.query.get("step")
        if name == "curve":  # the networks live in a process of their own
            yield from self._trained()
        else:
            from apps.labels import Labels

            with self.lock:
                self.labels = Labels(self.collection)  # files of others, brought here
                result = do(name, self.collection, self.labels)
            yield {"result": result}

    def _trained(self):
        from apps import splits
        from lab import LabError

        command = [sys.executable, "-m", "apps.collect", "curve"]
        with subprocess.Popen(
            [*command, str(self.collection.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            last = ""
            try:
                for line in process.stdout:
                    last = line.strip() or last
                    yield {"line": last}
            except GeneratorExit:  # the page was closed
                process.terminate()
                raise
        result = splits.kept(self.collection, "curve")
        if process.returncode:
            raise LabError(last or "The training ended without a result.")
        if not result:
            raise LabError("The pictures were divided anew meanwhile: train again.")
        yield {"result": result}

    def curve(self, request):
        """Return the drawn learning curve."""
        from apps import curve, splits
        from lab import LabError

        result = splits.kept(self.collection, "curve")
        made = self.temporary / "curve.png"
        if not result:
            raise LabError("There is no learning curve yet.")
        curve.drawn(result).savefig(made)
        return made


def do(step, collection, labels):
    """Do one of the STEPS, and return its result, as JSON can hold it."""
    from apps import agreement, splits

    splits.repair(collection)
    if step == "agree":
        return agreement.agreement(labels)
    if step == "split":
        return splits.divide(collection, labels)
    if step == "curve":
        from apps import curve

        return curve.trained(collection)
    from apps import datasheet

    path = datasheet.written(collection, labels)
    text = path.read_text(encoding="utf-8")
    return {"said": datasheet.said(collection), "text": text}


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m apps.collect", description=__doc__)
    commands = made.add_subparsers(dest="step", metavar="STEP", required=True)
    page = commands.add_parser(
        "page", help="open the page", description="Open the page."
    )
    page.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="serve the page on this port; without it take a free one, open a browser",
    )
    steps = [commands.add_parser(name, help=text) for name, text in STEPS.items()]
    for command in (page, *steps):
        command.add_argument("folder", metavar="FOLDER", help="the data base")
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if given.step == "page":
        with private_folder() as temporary:
            serve(Page(given.folder, temporary).routes(), given.port)
        return
    load("apps.splits")
    from apps import datasheet
    from apps.collection import Collection
    from apps.labels import Labels
    from lab import LabError

    collection = Collection(given.folder)
    labels = Labels(collection)
    if not collection.pictures:
        raise LabError(
            f"{given.folder} holds no pictures yet: make collect"
            f' FOLDER="{given.folder}" opens the page that brings them in.'
        )
    result = do(given.step, collection, labels)
    if given.step != "datasheet":
        section = {"agree": "Labels", "split": "Splits", "curve": "Size"}[given.step]
        print("\n".join(datasheet.known(collection, labels)[section]))
    else:
        print(result["said"])


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
