"""The page of `make demo`: what it answers, to whom, and what it leaves behind."""

import base64
import http.client
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from apps import answers, faces, page, serving
from conftest import ROOT

FER = "FER2013: Improved CNN"


def test_only_this_machine_can_reach_the_page():
    with serving.listen({}) as server:
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_is_cut_off_is_not_taken_for_a_whole_one():
    def lines(end=None):
        yield {"line": 1}
        yield {"line": 2}
        if end:
            raise end  # as where the program ends

    routes = {
        ("GET", "/whole"): lambda _: lines(),
        ("GET", "/cut"): lambda _: lines(SystemExit),
    }
    with serving.listen(routes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(f"{address}/whole") as answer:
            assert list(map(json.loads, answer)) == [{"line": 1}, {"line": 2}]
        with urllib.request.urlopen(f"{address}/cut") as answer:
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        server.shutdown()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a page, and the folder of its uploads."""
    folder = tmp_path_factory.mktemp("private")
    server = serving.listen(page.routes(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def ask(address, path, body=None, headers=None, **query):
    """Return (status, bytes) of an answer."""
    url = f"{address[0]}/{path}?{urllib.parse.urlencode(query)}"
    try:
        request = urllib.request.Request(url, body, headers or {})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def file(image, kind="png"):
    """Return a picture as the bytes of a file."""
    written = io.BytesIO()
    Image.fromarray(image).save(written, kind)
    return written.getvalue()


def photo(address, body, name="photo.png", network=FER):
    """Return (status, dict) of what is seen in a photo."""
    status, answer = ask(address, "photo", body, network=network, name=name)
    return status, json.loads(answer)


def film(path, pictures):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, pictures[0].shape[1::-1]
    )
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()
    return path.read_bytes()


def test_the_page_loads_nothing_from_elsewhere(address):
    with urllib.request.urlopen(address[0]) as answer:
        text, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    parts = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {"page.js", "page.css"} <= set(parts)
    for part in parts:
        assert ask(address, part)[0] == 200, part
    assert ask(address, "../page.py")[0] == 404


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Origin": "OWN"}, 200),
        ({"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Host": "evil.example:PORT"}, 403),
        ({"Host": "evil.example:PORT", "Origin": "http://evil.example:PORT"}, 403),
    ],
)
def test_the_page_of_another_origin_is_refused(headers, status, address):
    port = address[0].rpartition(":")[2]
    headers = {
        name: value.replace("PORT", port).replace("OWN", address[0])
        for name, value in headers.items()
    }
    assert ask(address, "", None, headers)[0] == status
    said = ask(address, "photo", b"no picture", headers, network=FER)
    assert said[0] == (403 if status == 403 else 400)


def test_every_stored_network_is_offered_those_for_faces_first(address):
    networks = json.loads(ask(address, "networks")[1])
    assert networks[0]["title"] == FER and len(networks) >= 4
    assert networks[0]["faces"] and len(networks[0]["classes"]) == 7
    assert not networks[-1]["faces"] and len(networks[-1]["classes"]) == 10


def test_the_examples_show_faces(address):
    examples = {"collins": [3], "hopper": [6], "both": [6, 3]}
    for name, expected in examples.items():
        body = ask(address, f"examples/{name}.jpg")[1]
        found = photo(address, body)[1]["faces"]
        assert [np.argmax(face["probabilities"]) for face in found] == expected


def test_a_photo_is_answered_with_its_faces_and_is_not_kept(address):
    status, seen = photo(address, file(data.astronaut()))
    assert status == 200 and (seen["width"], seen["height"]) == (512, 512)
    [face] = seen["faces"]
    assert np.argmax(face["probabilities"]) == 3 and not face["whole"]
    square = (face["left"], face["top"], face["side"])
    assert faces.overlap(square, (175, 64, 99)) > 0.75
    assert seen["picture"].startswith("data:image/jpeg;base64,")
    assert not [*address[1].iterdir()]


def test_a_small_picture_without_a_face_is_classified_whole_and_a_large_one_not(
    address,
):
    [face] = photo(address, file(np.zeros((48, 48, 3), np.uint8)))[1]["faces"]
    assert face["whole"]
    assert not photo(address, file(np.zeros((480, 640, 3), np.uint8)))[1]["faces"]


def test_a_grey_photo_of_16_bits_is_seen_as_one_of_8(address):
    grey = np.asarray(Image.fromarray(data.astronaut()).convert("L"))
    [face] = photo(address, file(grey.astype(np.uint16) * 257))[1]["faces"]
    [same] = photo(address, file(grey))[1]["faces"]
    assert np.allclose(face["probabilities"], same["probabilities"], atol=0.02)


@pytest.mark.parametrize(
    "body, name, reason",
    [
        (b"no picture", "text.jpg", "not a picture, or damaged"),
        (b"", "empty.png", "empty"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "phone.heic", "HEIC"),
        (b"raw", "camera.cr2", "a camera's raw file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(body, name, reason, address):
    status, said = photo(address, body, name)
    assert status == 400 and reason in said["error"]
    assert not [*address[1].iterdir()]


def test_a_centre_below_the_threshold_is_not_sure(monkeypatch):
    class Network:
        shape, classes = (32, 32, 3), ("cat", "dog")

        def __call__(self, images):
            return np.array([[0.6, 0.4]])

    run = SimpleNamespace(record={"dataset": "cifar10"})
    monkeypatch.setattr(answers, "networks", lambda: {"a network": run})
    monkeypatch.setattr(answers, "predictor", lambda title: Network())
    for confidence, label in ((0.5, "cat"), (0.9, "not sure")):
        session = answers.Session("a network", confidence)
        [face] = session.picture(np.zeros((40, 50, 3), np.uint8)).values()
        assert face.label == label


def test_another_network_classifies_the_centre_square(address):
    networks = json.loads(ask(address, "networks")[1])
    title = next(one["title"] for one in networks if one["title"].startswith("CIFAR"))
    image = file(np.zeros((300, 500, 3), np.uint8))
    [face] = photo(address, image, network=title)[1]["faces"]
    assert (face["left"], face["top"], face["side"]) == (100, 0, 300)
    status, said = photo(address, image, network="none")
    assert status == 400 and "There is no network 'none'" in said["error"]


def frame(address, image, session):
    query = {"network": FER, "session": session}
    body = b"data:image/jpeg;base64," + base64.b64encode(file(image, "jpeg"))
    return json.loads(ask(address, "frame", body, **query)[1])["faces"]


def test_a_face_keeps_its_number_while_others_come_and_go(address):
    head, grey = data.astronaut()[30:200, 140:310], np.full((240, 640, 3), 128, "uint8")

    def scene(*lefts):
        picture = grey.copy()
        for left in lefts:
            picture[30:200, left : left + 170] = head
        return picture

    def numbers(*lefts):
        seen = frame(address, scene(*lefts), "one")
        return {face["number"]: face["left"] // 100 for face in seen}

    assert numbers(300) == {1: 3}
    assert numbers(50, 310) == {1: 3, 2: 0}
    assert [*numbers(60)] == [2]
    assert [face["number"] for face in frame(address, scene(60), "two")] == [1]


def test_a_video_is_worked_through_and_its_copy_can_be_saved(address, tmp_path):
    body = film(tmp_path / "film.mp4", [data.astronaut()] * 5)
    query = {"network": FER, "confidence": 0.5, "name": "film.mp4"}
    status, said = ask(address, "film", body, **query)
    *seen, end = [json.loads(line) for line in said.splitlines()]
    assert status == 200 and len(seen) == 5 and {one["of"] for one in seen} == {5}
    assert [round(25 * one["seconds"]) for one in seen] == [0, 1, 2, 3, 4]
    assert all(one["faces"][0]["number"] == 1 for one in seen) and "picture" in seen[0]
    assert [path.name for path in address[1].iterdir()] == [end["copy"]]
    status, copy = ask(address, "copy", name=end["copy"])
    (tmp_path / "copy.mp4").write_bytes(copy)
    frames = cv2.VideoCapture(str(tmp_path / "copy.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
    assert status == 200 and frames == 5
    for name in ("copy-none.mp4", "../copy-none.mp4", ""):
        assert ask(address, "copy", name=name)[0] == 404
    status, said = ask(address, "film", b"no film", **query)
    assert "neither a picture nor a video" in json.loads(said)["error"]
    assert [path.name for path in address[1].iterdir()] == [end["copy"]]


def test_a_video_that_is_left_stops_and_leaves_nothing(address, tmp_path):
    before = set(address[1].iterdir())
    body = film(tmp_path / "film.mp4", [data.astronaut()] * 200)
    query = {"network": FER, "confidence": 0.5, "name": "film.mp4"}
    url = f"{address[0]}/film?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        answer.readline()
    deadline = time.monotonic() + 60
    while set(address[1].iterdir()) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert set(address[1].iterdir()) == before


def test_the_copies_of_the_last_four_videos_can_be_saved(address, tmp_path):
    body, names = film(tmp_path / "film.mp4", [data.astronaut()] * 2), []
    for _ in range(5):
        said = ask(address, "film", body, network=FER, confidence=0.5, name="film.mp4")
        names.append(json.loads(said[1].splitlines()[-1])["copy"])
    found = [ask(address, "copy", name=name)[0] for name in names]
    assert found == [404, 200, 200, 200, 200]


def test_without_room_for_a_private_folder_nothing_begins(monkeypatch):
    monkeypatch.setattr(serving, "OWNER", "raise OSError")
    with pytest.raises(SystemExit, match="No temporary folder can be made"):
        with serving.private_folder():
            pass


PROGRAM = """
import sys
from apps import program, serving
def main():
    with serving.private_folder() as folder:
        (folder / "photo.jpg").write_text("private")
        print(folder, flush=True)
        serving.serve({}, int(sys.argv[1]))
program.guarded(main)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_the_private_folder_is_gone_however_the_program_ends(name):
    command = [sys.executable, "-c", PROGRAM, "0"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **piped) as program:
        folder = Path(program.stdout.readline().strip())
        assert "127.0.0.1" in program.stdout.readline()  # it serves
        assert (folder / "photo.jpg").exists() and folder.stat().st_mode & 0o077 == 0
        program.send_signal(getattr(signal, name))
        said = program.communicate()[1]
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    assert said == ("" if name == "SIGKILL" else "\nStopped.\n")


def test_a_port_that_is_taken_is_one_sentence(address):
    with pytest.raises(SystemExit, match="cannot be used"):
        serving.listen({}, int(address[0].rpartition(":")[2]))
