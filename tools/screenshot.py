"""Open the page of `make demo` in Chromium before a camera that shows two portraits in
the public domain. Write a picture of the page, docs/page.jpg, and its speed,
data/page.json.
"""

import interrupt  # noqa: F401

import argparse
import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from apps.page import FOLDER
from lab.plumbing.backend import environment
from lab.plumbing.files import LabError, relative, write
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]
PICTURE, SPEED = ROOT / "docs" / "page.jpg", ROOT / "data" / "page.json"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTH = 1100  # pixels of the picture
SECONDS = 40  # that the camera is on


def portraits(frames):
    """Yield frames of a camera, uint8 (480, 640, 3): two people who move a little."""
    parts = [
        Image.open(FOLDER / "examples" / f"{name}.jpg").crop(box).resize((360, 540))
        for name, box in {
            "collins": (40, 0, 306, 400),
            "hopper": (34, 0, 367, 500),
        }.items()
    ]
    for angle in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        frame = Image.new("RGB", (640, 480))
        for i, part in enumerate(parts):
            across, down = 20 + 20 * np.sin(angle + i), 30 + 30 * np.cos(angle - i)
            box = (round(across), round(down))
            box += (box[0] + 320, box[1] + 480)
            frame.paste(part.crop(box), (320 * i, 0))
        yield np.asarray(frame)


def write_camera(path, frames):
    """Write frames, uint8 (height, width, 3), as what Chromium takes for a camera."""
    with open(path, "wb") as file:
        for i, frame in enumerate(frames):
            if i == 0:
                height, width = frame.shape[:2]
                text = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n"
                file.write(text.encode())
            coded = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + coded.tobytes())


@contextlib.contextmanager
def chromium(*flags):
    """Give a headless Chromium. Raises LabError where it is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if not (sync_playwright and CHROMIUM):
        raise LabError(
            "This needs Chromium and playwright: apt install chromium, and pip install"
            " -r tools/browser.txt"
        )
    flags = [*flags, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def fake_camera(path):
    """Return the flags with which Chromium takes a file for its camera."""
    return (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
    )


@contextlib.contextmanager
def served():
    """Give the address of the page as soon as it can be opened."""
    command = [sys.executable, "-u", "-m", "apps.page", "--port", "0"]
    piped = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **piped) as program:
        try:
            said = program.stdout.readline().split()
            if not said:
                raise LabError("The demo's page does not open: make demo says why.")
            yield said[0]
        finally:
            program.terminate()


def rate(table):
    """Return the pictures a second of a table that the page saved."""
    times = sorted(
        {float(row["seconds"]) for row in csv.DictReader(io.StringIO(table))}
    )
    return (len(times) - 1) / (times[-1] - times[0])


def measure(film):
    """Return (bytes of a PNG, dict of the measured speed) of the page before a camera
    that shows the file `film`.
    """
    with chromium(*fake_camera(film)) as browser:
        size = {"width": WIDTH, "height": 900}
        context = browser.new_context(viewport=size, permissions=["camera"])
        page, start = context.new_page(), time.perf_counter()
        with served() as address:
            page.goto(address)
            opened = time.perf_counter() - start
            page.wait_for_selector("#start:enabled", timeout=300_000)
            ready = time.perf_counter() - start
            page.click("#start")
            page.wait_for_selector("#faces > li")
            page.wait_for_timeout(1000 * SECONDS)
            with page.expect_download() as saved:
                page.click("#save-table")
            table = saved.value.path().read_text()
            page.locator("#which").evaluate("one => one.hidden = true")  # a file's name
            shown = page.screenshot(full_page=True)
    speed = {"opened": opened, "ready": ready, "pictures_a_second": rate(table)}
    return shown, {name: round(value, 2) for name, value in speed.items()}


def parser():
    """Return the parser of the command line."""
    return argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def main():
    """Write the picture and the speed."""
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "camera.y4m"
        write_camera(film, portraits(150))
        shown, speed = measure(film)
    picture, file = Image.open(io.BytesIO(shown)).convert("RGB"), io.BytesIO()
    picture.save(file, "jpeg", quality=80)
    write(PICTURE, file.getvalue())
    write(SPEED, json.dumps({"environment": environment(), **speed}, indent=1) + "\n")
    print(f"{relative(PICTURE)}\n{relative(SPEED)}: {speed}")
    if busy > 1:
        print(f"The machine was busy (load {busy:.0f}): measure again when it rests.")


if __name__ == "__main__":
    parser().parse_args()
    guarded(main)
