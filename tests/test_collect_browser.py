"""The page for a data base of one's own in a real browser, with a fake camera."""

import csv
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, packages
from test_browser import accessible
from test_collect import drawing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt install chromium"),
    pytest.mark.xdist_group("browser"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="pip install -r tools/browser.txt"
)
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
KINDS = ("circle", "square")


class Program:
    """`make collect` on a folder, and its page in a browser."""

    def __init__(self, folder, browser):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apps.collect", "page", folder, "--port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": packages(ROOT), "BROWSER": "true"},
        )
        line = next(line for line in self.process.stdout if "http://" in line)
        self.page = browser.new_page()
        self.page.set_default_timeout(60_000)
        self.page.goto(re.search(r"http://\S+", line)[0])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.page.close()


@pytest.fixture
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=[*CAMERA, "--no-sandbox"]
        )
        yield browser
        browser.close()


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def ready(page):
    """Wait until the picture that is asked for is on the screen."""
    for _ in range(600):
        if page.evaluate("visible === seen[0] && !busy"):
            return
        page.wait_for_timeout(50)
    raise AssertionError("no picture is shown")


def test_thirty_pictures_from_the_camera_to_the_datasheet(browser, tmp_path):
    folder, sheet = tmp_path / "page-test", ROOT / "data" / "page-test.md"
    photos = tmp_path / "photos"
    for scene in range(9):
        for number in range(3):
            path = photos / f"scene-{scene}" / f"{KINDS[scene % 2]}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            drawing(KINDS[scene % 2], scene, number).save(path)
    program = Program(folder, browser)
    page = program.page
    try:
        assert accessible(page) == ([], 0)
        page.fill("#classes", ", ".join(KINDS))
        page.click("text=Keep the classes")
        page.set_input_files("#files", photos / "scene-0" / "circle-0.png")
        page.wait_for_selector("text=0 pictures added")
        playwright.expect(page.locator("#fault")).to_have_text(re.compile("Say first"))
        page.wait_for_timeout(500)  # until all is shown again
        playwright.expect(page.locator("#fault")).to_be_visible()
        page.fill("#source", "drawn by the tests")
        page.select_option("#consent", index=1)
        page.select_option("#grouping", "folder")
        page.set_input_files("#folder", photos)
        page.wait_for_selector("text=27 pictures added")
        page.fill("#group", "the fake camera")
        page.click("#camera-start")
        for number in range(3):
            page.wait_for_timeout(1100)  # the fake camera counts seconds
            page.click("#snap")
            page.wait_for_selector(f"text={28 + number} pictures")
        assert accessible(page) == ([], 0)
        truth = {
            row["picture"]: "square" if "square" in row["file"] else "circle"
            for row in rows(folder / "_collected" / "pictures.csv")
        }
        # A square, drawn by hand.
        page.click("#grid button >> nth=0")
        page.locator("#whole").evaluate("image => image.decode()")
        box = page.locator("#whole").bounding_box()
        page.mouse.move(box["x"] + 40, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 190, box["y"] + 150)
        page.mouse.up()
        page.keyboard.press("Enter")
        page.click("#crop-close")
        [crop] = rows(folder / "_collected" / "crops.csv")
        assert int(crop["side"]) > 16

        # Other classes while somebody labels: the buttons follow, as the keys do.
        page.click("text=2 Label")
        page.fill("#annotator", "cem")
        page.click("#annotator-form button")
        page.wait_for_selector("text=0 of 30 done")
        for names in (["a new one", *KINDS], KINDS):
            page.click("text=1 Collect")
            page.fill("#classes", ", ".join(names))
            page.click("text=Keep the classes")
            page.click("text=2 Label")
            buttons = page.locator("#answers button")
            playwright.expect(buttons).to_have_text(
                [f"{name}{key}" for key, name in enumerate(names, start=1)]
            )

        for who, wrong in (("anna", 0), ("ben", 2)):
            for done in range(30):
                if done == 0 or (who, done) == ("ben", 12):
                    if done:  # killed while labelling
                        program.kill()
                        program = Program(folder, browser)
                        page = program.page
                    page.click("text=2 Label")
                    page.fill("#annotator", who)
                    page.click("#annotator-form button")
                    page.wait_for_selector(f"text={who}: {done} of 30 done")
                ready(page)
                name = page.evaluate("seen[0]")
                key = 1 + KINDS.index(truth[name])
                if done == 5 and who == "anna":  # a slip, taken back
                    page.keyboard.press(str(3 - key))
                    page.wait_for_selector("text=6 of 30 done")
                    page.keyboard.press("u")
                    page.wait_for_selector("text=5 of 30 done")
                page.keyboard.press(str(3 - key if done < wrong else key))
                said = f"{done + 1} of 30 done" if done < 29 else "all 30 are done"
                page.wait_for_selector(f"text={said}")
            assert len(rows(folder / "_collected" / "labels" / f"{who}.csv")) >= 30

        assert accessible(page) == ([], 0)
        page.click("text=3 Agree")
        page.click("text=Compare the annotators")
        page.wait_for_selector("text=2 disputed pictures")
        assert accessible(page) == ([], 0)
        page.click(".dispute >> nth=0 >> button:has-text('circle')")
        page.click("text=4 Split")
        page.click("text=Write train, validation and test")
        page.wait_for_selector("text=Divided: 29 pictures in")
        assert accessible(page) == ([], 0)
        page.click("text=5 How many")
        page.click("text=Train and draw the curve")
        page.wait_for_selector("#curve img:visible", timeout=600_000)
        assert accessible(page) == ([], 0)
        page.click("text=6 Describe")
        page.click("text=Write the datasheet")
        page.wait_for_selector("text=places open")
        assert accessible(page) == ([], 0)
        assert "drawn by the tests" in sheet.read_text()
        assert len(list((folder / "train").rglob("*.*"))) > 15
    finally:
        program.kill()
        sheet.unlink(missing_ok=True)


def test_what_is_clicked_too_soon_or_twice_harms_nothing(browser, tmp_path):
    folder, photos = tmp_path / "page-test", tmp_path / "photos"
    photos.mkdir()
    for number in range(70):
        drawing(KINDS[number % 2], number, number).save(photos / f"{number}.png")
    program = Program(folder, browser)
    page = program.page
    try:
        page.fill("#classes", ", ".join(KINDS))  # and not kept yet
        page.fill("#source", "drawn by the tests")
        page.select_option("#consent", index=1)
        page.fill("#group", "Anna")
        page.set_input_files("#folder", photos)
        page.fill("#group", "Ben")  # the next session, while the files are added
        page.wait_for_selector("text=70 pictures added")
        found = rows(folder / "_collected" / "pictures.csv")
        assert [row["group"] for row in found] == 70 * ["Anna"]
        assert page.input_value("#classes") == ", ".join(KINDS)
        page.click("text=Keep the classes")
        page.wait_for_selector("text=The classes are kept.")

        page.evaluate("() => { $('more').click(); $('more').click(); }")
        playwright.expect(page.locator("#grid button")).to_have_count(70)
        names = page.locator("#grid button").evaluate_all(
            "buttons => buttons.map((button) => button.dataset.picture)"
        )
        assert len(set(names)) == 70

        # A square that is kept twice, and a click that moves by nothing.
        page.click("#grid button >> nth=0")
        playwright.expect(page.locator("#whole")).to_be_visible()
        box = page.locator("#whole").bounding_box()
        page.mouse.click(box["x"] + 40, box["y"] + 40)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Draw a square first.")
        page.focus("#canvas")
        for key in ("ArrowRight", "-", "ArrowDown"):
            page.keyboard.press(key)
        page.evaluate("() => { keep(square); keep(square); }")
        page.wait_for_timeout(1500)
        assert page.evaluate("cropping") == names[1]
        [crop] = rows(folder / "_collected" / "crops.csv")
        assert crop["picture"] == names[0] and int(crop["side"]) > 16
        page.focus("#crop-keep")  # as where a picture is clicked
        box = page.locator("#whole").bounding_box()
        page.mouse.move(box["x"] + 40, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 150, box["y"] + 150)
        page.mouse.up()
        page.keyboard.press("ArrowRight")  # the next picture, not the square
        assert page.evaluate("cropping") == names[2]
        page.focus("#crop-close")
        page.keyboard.press("Enter")  # the button's own key
        playwright.expect(page.locator("#cropper")).to_be_hidden()

        # The camera is off when nobody sees it.
        page.click("#camera-start")
        page.wait_for_selector("#camera:visible")
        assert page.locator("#camera-start").is_hidden()
        page.evaluate("window.before = stream")
        page.click("#camera-stop")
        assert page.evaluate("before.getTracks()[0].readyState") == "ended"
        page.evaluate("() => { $('camera-start').click(); open('labelling'); }")
        page.wait_for_timeout(1000)
        assert page.evaluate("stream") is None

        page.fill("#annotator", "anna")
        page.click("#annotator-form button")
        for done, key in enumerate("1121"):
            page.wait_for_selector(f"text={done} of 70 done")
            ready(page)
            page.keyboard.press(key)
        page.wait_for_selector("text=4 of 70 done")
        assert page.locator("#tabs [aria-current=step]").inner_text() == "2 Label"
        width = "(bar) => bar.getBoundingClientRect().width"
        long, short = (bar.evaluate(width) for bar in page.locator(".bar i").all())
        assert abs(long / short - 3) < 0.05

        # A key that is pressed before one's first picture is there labels nothing.
        page.evaluate(
            """() => {
              window.held = [];
              const real = window.fetch;
              window.fetch = (path, ...more) => !String(path).startsWith("/picture?")
                ? real(path, ...more)
                : new Promise((go) => held.push(() => go(real(path, ...more))));
            }"""
        )
        page.fill("#annotator", "ben")
        page.click("#annotator-form button")
        page.wait_for_selector("text=ben: 0 of 70 done")
        page.keyboard.press("1")
        page.evaluate("() => { held.forEach((go) => go()); held.push = (go) => go(); }")
        ready(page)
        assert not (folder / "_collected" / "labels" / "ben.csv").exists()
        page.keyboard.press("1")
        page.wait_for_selector("text=ben: 1 of 70 done")
    finally:
        program.kill()
