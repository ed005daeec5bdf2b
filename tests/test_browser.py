"""The page of `make demo` in Chromium, as people use it: long."""

import csv
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from conftest import ROOT
from lab import datasets

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SIZE = (640, 480)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt install chromium"),
    pytest.mark.xdist_group("browser"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install -r tools/browser.txt"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="pip install -r tools/browser.txt"
)


def scene(left):
    """A portrait that is in the public domain, in a frame of `SIZE`."""
    frame = Image.new("RGB", SIZE, (60, 80, 110))
    frame.paste(Image.fromarray(data.astronaut()).resize((480, 480)), (left, 0))
    return np.asarray(frame)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with what a fake camera shows, and with videos."""
    folder = tmp_path_factory.mktemp("films")
    with open(folder / "camera.y4m", "wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n")
        for left in range(40, 100, 2):
            frame = cv2.cvtColor(scene(left), cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + frame.tobytes())
    for name, code in (("film.webm", "VP80"), ("other.mp4", "mp4v")):
        code = cv2.VideoWriter_fourcc(*code)
        writer = cv2.VideoWriter(str(folder / name), code, 25, SIZE)
        for left in range(40, 100, 2):
            writer.write(scene(left)[..., ::-1])
        writer.release()
    return folder


@pytest.fixture(scope="module")
def address():
    """The address of the page, as the command opens it."""
    command = [sys.executable, "-u", "-m", "apps.page", "--port", "0"]
    piped = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **piped) as program:
        yield program.stdout.readline().split()[0]
        program.terminate()


@pytest.fixture(scope="module")
def engine():
    with playwright.sync_playwright() as started:
        yield started.chromium


@pytest.fixture
def browser(engine, films, address):
    """A function that opens the page in Chromium, with a fake camera or without."""
    opened = []

    def open_page(scheme="light", width=1280, camera=True, permissions=("camera",)):
        flags = ["--use-fake-device-for-media-stream=device-count=2"]
        flags += [f"--use-file-for-fake-video-capture={films / 'camera.y4m'}"]
        flags = flags if camera is True else [camera] if camera else []
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened.append(engine.launch(executable_path=CHROMIUM, args=[*root, *flags]))
        context = opened[-1].new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 900},
            permissions=permissions,
        )
        shown = context.new_page()
        shown.set_default_timeout(120_000)
        shown.faults = []
        shown.on("pageerror", lambda error: shown.faults.append(str(error)))
        shown.goto(address)
        shown.wait_for_selector("#start:enabled")
        return shown

    yield open_page
    for one in opened:
        one.close()


def accessible(shown):
    """Return what axe finds, and how much wider than the window the page is."""
    found = axe.Axe().run(shown).response["violations"]
    wide = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [(one["id"], one["nodes"][0]["html"]) for one in found], wide


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_use_an_example_picture(scheme, width, browser):
    shown = browser(scheme, width)
    assert accessible(shown) == ([], 0)
    shown.get_by_alt_text("Both").click()
    shown.wait_for_selector("#results:visible")
    assert shown.locator("#faces > li").count() == 2
    assert shown.locator("#faces .bars li").count() == 14
    assert accessible(shown) == ([], 0)
    shown.fill("#confidence", "20")
    said = re.fullmatch(r"Face 1: (\w+), Face 2: (\w+)\.", shown.inner_text("#status"))
    assert {*said.groups()} <= {*datasets.KNOWN["fer2013"].classes}
    shown.fill("#confidence", "95")
    assert shown.inner_text("#status") == "Face 1: not sure, Face 2: not sure."
    assert shown.locator("#faces .label").all_inner_texts() == ["not sure"] * 2
    assert not shown.faults


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
def test_the_camera_gives_bars_a_timeline_and_a_table(scheme, width, browser):
    shown = browser(scheme, width)
    shown.click("#start")
    shown.wait_for_timeout(5000)
    shown.wait_for_selector("#summary:has-text('happy')")
    assert shown.locator("#faces .label").inner_text() == "happy"
    assert "a second, an answer after" in shown.inner_text("#speed")
    assert shown.inner_text("#summary") == "Face 1, share of the time: happy 100 %."
    assert accessible(shown) == ([], 0)
    with shown.expect_download() as saved:
        shown.click("#save-table")
    with open(saved.value.path(), newline="") as file:
        header, *lines = csv.reader(file)
    assert header[:6] == ["seconds", "face", "left", "top", "side", "label"]
    assert len(lines) >= 3 and all(line[5] == "happy" for line in lines)
    assert float(lines[-1][0]) - float(lines[0][0]) <= 60
    with shown.expect_download() as saved:
        shown.click("#save-picture")
    assert Image.open(saved.value.path()).size == SIZE
    shown.click("#stop")
    assert shown.inner_text("#status") == "The camera is off."
    assert shown.locator("#start").is_visible() and not shown.faults


def test_another_camera_can_be_chosen(browser):
    shown = browser(camera="--use-fake-device-for-media-stream=device-count=2")
    shown.click("#start")
    shown.wait_for_selector("#nobody:has-text('No face is found.')")
    shown.locator("#camera").select_option(index=1)
    shown.wait_for_selector("#status:has-text('The camera is on.')")
    assert shown.locator("#camera option:checked").inner_text() == "fake_device_1"
    assert not shown.faults


@pytest.mark.parametrize("name, plays", [("film.webm", True), ("other.mp4", False)])
def test_a_video_is_worked_through_with_its_progress(name, plays, browser, films):
    shown = browser()
    shown.evaluate("""() => {
        window.told = [];
        const done = document.querySelector("#done");
        const noted = new MutationObserver(() => told.push(done.textContent));
        noted.observe(done, { childList: true });
    }""")
    shown.set_input_files("#file", films / name)
    shown.wait_for_selector("#copy:visible")
    assert shown.inner_text("#status") == (
        f"{name} is done: 30 frames, 30 of them with a face."
    )
    assert any("of 30" in text for text in shown.evaluate("told"))
    shown.wait_for_selector("#video:visible" if plays else "#speed:has-text('cannot')")
    assert shown.locator("#faces .label").inner_text() == "happy"
    assert accessible(shown) == ([], 0)
    with shown.expect_download() as saved:
        shown.click("#copy")
    assert saved.value.suggested_filename == name.partition(".")[0] + "-faces.mp4"
    assert cv2.VideoCapture(str(saved.value.path())).read()[0]
    with shown.expect_download() as saved:
        shown.click("#save-table")
    assert len(saved.value.path().read_text().splitlines()) == 31
    assert not shown.faults


@pytest.mark.parametrize(
    "camera, permissions, sentence",
    [
        (None, ("camera",), "No camera was found"),
        ("--use-fake-device-for-media-stream", (), "The browser may not use the"),
    ],
)
def test_without_a_camera_a_sentence_says_what_to_do(
    camera, permissions, sentence, browser
):
    shown = browser(camera=camera, permissions=permissions)
    shown.click("#start")
    shown.wait_for_selector("#error:visible")
    assert sentence in shown.inner_text("#error")
    assert accessible(shown) == ([], 0) and shown.locator("#start").is_visible()


def test_a_file_that_is_no_picture_is_one_sentence(browser, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    shown = browser()
    shown.set_input_files("#file", tmp_path / "text.jpg")
    shown.wait_for_selector("#error:visible")
    assert shown.inner_text("#error") == (
        "The file cannot be shown: not a picture, or damaged."
    )


def test_the_page_of_another_origin_gets_nothing(browser, address):
    shown = browser()
    shown.goto("about:blank")
    tried = f"fetch('{address}/networks').then(() => 'read', () => 'refused')"
    assert shown.evaluate(tried) == "refused"
