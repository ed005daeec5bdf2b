"""A page on this machine that names the expressions of faces: in a photo, in a video,
and before the camera.

The page opens first and asks for the networks afterwards, because their import takes
seconds.
"""

import argparse
import importlib
import re
import secrets
import sys
from pathlib import Path

from apps import program, serving

FOLDER = Path(__file__).resolve().parent / "web"
PICTURE = 10_000_000  # bytes of a camera's picture, at most


def answers():
    """Return the module apps.answers, whose import takes seconds."""
    return importlib.import_module("apps.answers")


def routes(folder):
    """Return the routes of the page; what is uploaded lies in `folder` for as long as
    it is looked at.
    """

    def uploaded(request):
        ending = re.fullmatch(r".*(\.\w{1,8})", request.query.get("name", ""))
        path = folder / f"{secrets.token_hex(16)}{ending[1] if ending else ''}"
        request.save(path)
        return path

    def title(request):
        return request.query.get("network")

    def photo(request):
        return answers().photo(title(request), uploaded(request))

    def film(request):
        confidence = float(request.query["confidence"])
        return answers().film(title(request), confidence, uploaded(request), folder)

    def frame(request):
        picture = request.read(PICTURE).partition(b",")[2]  # of a data: address
        return answers().frame(title(request), request.query["session"], picture)

    def copy(request):
        path = folder / Path(request.query.get("name", "")).name
        return path if path.match("copy-*.mp4") and path.exists() else None

    page = ["page.html", "page.css", "page.js", "icon.svg"]
    examples = [f"examples/{path.name}" for path in (FOLDER / "examples").iterdir()]
    return serving.files(FOLDER, *page, *examples) | {
        ("GET", "/networks"): lambda _: answers().offered(),
        ("GET", "/copy"): copy,
        ("POST", "/photo"): photo,
        ("POST", "/film"): film,
        ("POST", "/frame"): frame,
    }


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m apps.page", description=__doc__)
    made.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="serve the page on this port; without it take a free one, open a browser",
    )
    return made


def main(arguments):
    """Serve the page until the program is ended."""
    given = parser().parse_args(arguments)
    with serving.private_folder() as folder:
        serving.serve(routes(folder), given.port)


if __name__ == "__main__":
    program.guarded(main, sys.argv[1:])
