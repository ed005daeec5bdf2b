"""The networks on your own pictures: faces in photos, folders, videos and live, or a web page on this machine.

usage: demo.py                               opens a page on this machine: drop a photo, or use the camera
       demo.py PATH [--output FOLDER]        a photo, a video, or a folder of them: annotated copies and faces.csv
       demo.py --camera N [--output FOLDER]  camera number N, until Ctrl-C

The copies go to build/demo, or to FOLDER; originals are only read. Faces are looked for with `lab.faces`.
"""
import argparse
import contextlib
import csv
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a file that is no video is said once, by us
from lab import datasets, faces, photos  # noqa: E402
from lab.files import LabError, relative, writing  # noqa: E402
from lab.lesson import MODELS  # noqa: E402
from lab.plots import MODEL_TITLES  # noqa: E402
from lab.prediction import Predictor  # noqa: E402
from lab.runs import read  # noqa: E402
from lab.screen import Line, clock  # noqa: E402
from notebooks import guarded  # noqa: E402

LONGEST = 2048  # pixels of an annotated photo's longer side
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


# --- files ----------------------------------------------------------------------------------


def photo(path):
    """Return a photo as uint8 (height, width, 3), upright. Raises photos.Unreadable with the reason."""
    picture = photos.open_picture(path, LONGEST, grey=False)
    picture.thumbnail((LONGEST, LONGEST))
    return np.asarray(picture)


def rows(name, frame, found, classes):
    """Return the lines of faces.csv of the faces in one picture or frame."""
    return [[name, frame, face.left, face.top, face.side, face.label, *(f"{p:.4f}" for p in face.probabilities)] for face in found]


def frames(source):
    """Yield (frames a second, frame as uint8 (height, width, 3)) of a video file, or of a camera's number.

    Raises LabError where there is no OpenCV, and photos.Unreadable where nothing can be read.
    """
    try:
        import cv2
    except ImportError:
        raise LabError("Videos and cameras need OpenCV: pip install 'opencv-python-headless<5'") from None
    camera = isinstance(source, int)
    video = cv2.VideoCapture(source if camera else str(source))
    try:
        rate, read = video.get(cv2.CAP_PROP_FPS), 0
        while True:
            there, frame = video.read()
            if not there:
                break
            read += 1
            yield rate if 1 <= rate <= 240 else 25.0, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        video.release()
    if not read:
        raise photos.Unreadable("there is no such camera" if camera else "neither a picture nor a video with frames")


def watch(source, name, target, watcher, line):
    """Write an annotated copy of a video or of what a camera sees, and return the lines of faces.csv."""
    import cv2

    found, writer, count, start = [], None, 0, time.perf_counter()
    watcher.frame, watcher.faces = 0, []
    with writing(target) as unfinished:
        try:
            for rate, frame in frames(source):
                seen = watcher.next(frame)
                if writer is None:
                    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*"mp4v"), rate, frame.shape[1::-1])
                writer.write(cv2.cvtColor(faces.annotated(frame, seen), cv2.COLOR_RGB2BGR))
                found += rows(name, count, seen, watcher.predict.classes)
                count += 1
                gone = time.perf_counter() - start
                line.show(f"{name}: frame {count}, {clock(gone)}, {count / gone:.0f} frames a second, {len(seen)} faces")
        except KeyboardInterrupt:
            if not count or not isinstance(source, int):  # a camera ends so; a video's copy would be cut off
                raise
        finally:
            if writer is not None:
                writer.release()
    return found


def annotate(path, output, camera=None):
    """Write annotated copies and faces.csv of a photo, a video, a folder of them, or of a camera."""
    if camera is None and not path.exists():
        raise LabError(f"There is no {photos.legible(str(path))}: give a photo, a video or a folder.")
    files = [path] if camera is not None or path.is_file() else sorted(
        one for one in path.rglob("*") if one.is_file() and not any(part.startswith(".") for part in one.relative_to(path).parts))
    watcher, line, found, left_out = faces.Watcher(Predictor("fer2013")), Line(), [], []
    written, targets = 0, set()
    for number, file in enumerate(files):
        place = Path("camera") if camera is not None else Path(file.name) if path.is_file() else file.relative_to(path)
        name = f"camera {camera}" if camera is not None else photos.legible(str(place))
        video = camera is not None or file.suffix.lower() in VIDEOS
        ending = "-faces.mp4" if video else "-faces.png"
        target = output / place.with_name(place.stem + ending)
        target = output / place.with_name(place.name + ending) if target in targets else target
        targets.add(target)
        try:
            if video:
                found += watch(file if camera is None else camera, name, target, watcher, line)
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
    line.show(f"{written} of {len(files)} done, {len(found)} faces", last=True)
    print("\n".join(left_out), end="\n" * bool(left_out))
    if not written:
        raise LabError("Nothing could be read: give a photo, a video or a folder of them.")
    with writing(output / "faces.csv") as unfinished, open(unfinished, "w", newline="") as file:
        csv.writer(file).writerows([["file", "frame", "left", "top", "side", "label", *watcher.predict.classes], *found])
    print(f"{relative(output)}: annotated copies and faces.csv\n{faces.MEANING}")


# --- page -----------------------------------------------------------------------------------


def networks():
    """Return {title: Run} of all networks that are stored with weights, those for faces first, the newest first."""
    found = {}
    for name in ("fer2013", "cifar10", "fashion_mnist"):
        for model in reversed(MODELS):
            run = read(ROOT / "data" / "runs" / name / model / "main" / "seed-0")
            if run and run.record["weights_file_sha256"]:
                found[f"{datasets.KNOWN[name].title}: {MODEL_TITLES[model]}"] = run
    return found or sys.exit("No network with stored weights: run notebooks 02 to 04 first.")


def page():
    """Return the web page: a photo, or the camera, on the left; what the network says on the right."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    stored, predictors, one_at_a_time = networks(), {}, threading.Lock()

    def predictor(title):
        try:
            with one_at_a_time:  # Keras builds one network after the other
                if title not in predictors:
                    ask = Predictor(stored[title].record["dataset"], stored[title])
                    for n in (1, 2):  # compiles; after two numbers of pictures, for any number
                        ask(np.zeros((n, *ask.shape), np.uint8))
                    predictors[title] = ask
                return predictors[title]
        except LabError as error:
            raise gr.Error(str(error)) from None

    def warm_up():
        with contextlib.suppress(gr.Error):  # the first request says it
            predictor(next(iter(stored)))

    threading.Thread(target=warm_up, daemon=True).start()  # while the page is built

    def shares(classes, probabilities):
        return {name: float(p) for name, p in zip(classes, probabilities)}

    def look(image, title, confidence, watcher, live):
        """Return the annotated picture, the bars, a sentence, and what a video must remember."""
        if image is None:
            return None, None, "", watcher
        start, ask = time.perf_counter(), predictor(title)
        if stored[title].record["dataset"] != "fer2013":
            square = min(image.shape[:2])
            top, left = (image.shape[0] - square) // 2, (image.shape[1] - square) // 2
            probabilities = ask(faces.crop(image, left, top, square, ask.shape)[None])[0]
            said = ask.classes[int(probabilities.argmax())] if probabilities.max() >= confidence else faces.UNSURE
            shown, bars = image, shares(ask.classes, probabilities)
        else:
            watcher = watcher if watcher and watcher.predict is ask else faces.Watcher(ask)
            watcher.confidence = confidence
            found = watcher.next(image) if live else watcher.picture(image)
            shown, bars = faces.annotated(image, found), shares(ask.classes, found[0].probabilities) if found else None
            said = ", ".join(face.label for face in found) or "no face found"
        seconds = time.perf_counter() - start
        return shown, bars, f"{said} ({1000 * seconds:.0f} ms a picture, {1 / seconds:.0f} a second)", watcher

    with gr.Blocks(title="Dense to Conv", analytics_enabled=False, delete_cache=(60, 60)) as built:
        gr.Markdown(f"# Dense to Conv\n{faces.MEANING} The bars belong to the largest face.")
        with gr.Row():
            network = gr.Dropdown(list(stored), value=next(iter(stored)), label="Network, and what it was trained on",
                                  info="FER2013: faces. CIFAR-10: one object. Fashion-MNIST: one garment, light on black.")
            confidence = gr.Slider(0, 1, value=0.5, step=0.05, label="Below this probability it says: not sure")
        with gr.Row():
            with gr.Column():
                with gr.Tab("Photo"):
                    dropped = gr.Image(sources=["upload", "clipboard"], type="numpy", label="Drop a photo")
                with gr.Tab("Camera"):
                    camera = gr.Image(sources=["webcam"], streaming=True, type="numpy", label="Camera")
            with gr.Column():
                shown = gr.Image(label="What the network sees", interactive=False, buttons=["fullscreen", "download"])
                said = gr.Markdown()
                bars = gr.Label(label="Calibrated probabilities", num_top_classes=10)
        memory = gr.State(None)
        results = [shown, bars, said, memory]
        for event in (dropped.change, network.change, confidence.change):
            event(lambda *given: look(*given, live=False), [dropped, network, confidence, memory], results, api_visibility="private")
        camera.stream(lambda *given: look(*given, live=True), [camera, network, confidence, memory], results,
                      stream_every=0.05, concurrency_limit=1, show_progress="hidden", api_visibility="private")
    return built


def serve(port=None, wait=True):
    """Open the page on this machine, where nobody else can reach it; return its address where it need not wait."""
    import gradio as gr

    built = page()
    _, address, _ = built.launch(
        server_name="127.0.0.1", server_port=port, share=False, inbrowser=wait and port is None, quiet=not wait, prevent_thread_lock=not wait,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]), footer_links=[])
    return built, address


def main(arguments):
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--camera", type=int)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo")
    parser.add_argument("--port", type=int)
    given = parser.parse_args(arguments)
    if given.path or given.camera is not None:
        annotate(given.path, given.output, given.camera)
    else:
        serve(given.port)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
