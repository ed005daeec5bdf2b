"""The expressions of the faces on your own pictures: annotated copies of photos, videos
and folders of them, or of what a camera sees.
"""

import argparse
import os
import sys
from pathlib import Path

from apps import program

OUTPUT = Path(__file__).resolve().parents[1] / "build" / "demo"


def camera(text):
    """Return a camera's number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a camera's number is 0 or more")
    return int(text)


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m apps.demo",
        usage="%(prog)s [-h] (PATH | --camera N) [--output FOLDER]",
        description=(
            "Name the expressions of the faces on your own pictures: write annotated"
            " copies of them, and faces.csv. Originals are only read."
        ),
    )
    made.add_argument(
        "path",
        nargs="?",
        type=lambda text: Path(os.path.expanduser(text)),
        metavar="PATH",
        help="a photo, a video, or a folder of them",
    )
    made.add_argument(
        "--camera",
        type=camera,
        metavar="N",
        help="camera number N, 0 or more, until Ctrl-C",
    )
    made.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="FOLDER",
        help="where the copies go; without it to build/demo",
    )
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if (given.path is None) == (given.camera is None):
        parser().error("name a photo, a video or a folder, or --camera N")
    copies = program.load("apps.copies")
    copies.annotate(given.path, given.output, given.camera)


if __name__ == "__main__":
    program.guarded(main, sys.argv[1:])
