"""A web page on this machine: drop a photo or use the camera, and choose a network.

The page opens first; the networks, which take seconds to import, follow while it is
looked at.
"""

import interrupt

import argparse
import contextlib
import os
import sys
import threading
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio as gr


def ask(name, *given):
    """Return what a function of tools/demo.py says; what is wrong is a sentence on the
    page.
    """
    import demo

    try:
        return getattr(demo, name)(*given)
    except demo.LabError as error:
        raise gr.Error(str(error)) from None


def networks():
    """Return what fills the page once the networks are there: their titles, and what
    they do.
    """
    titles = list(ask("networks"))
    from demo import faces

    return (
        gr.Dropdown(titles, value=titles[0]),
        f"{faces.MEANING} The bars belong to the largest face.",
    )


def warm_up():
    """Import the networks and build the first of them."""
    with contextlib.suppress(gr.Error):  # the page says it
        title = next(iter(ask("networks")))
        ask("predictor", title)
        print(f"{title} is ready.", flush=True)


def page():
    """Return the web page: a photo, or the camera, on the left; what the network says
    on the right.
    """
    with gr.Blocks(
        title="Dense to Conv", analytics_enabled=False, delete_cache=(60, 60)
    ) as built:
        gr.Markdown("# Dense to Conv")
        meaning = gr.Markdown(
            "Nothing leaves this machine, and nothing is kept. The networks are being"
            " loaded."
        )
        with gr.Row():
            network = gr.Dropdown(
                [],
                label="Network, and what it was trained on",
                info=(
                    "FER2013: faces. CIFAR-10: one object. Fashion-MNIST: one garment,"
                    " light on black."
                ),
            )
            confidence = gr.Slider(
                0,
                1,
                value=0.5,
                step=0.05,
                label="Below this probability it says: not sure",
            )
        with gr.Row():
            with gr.Column():
                with gr.Tab("Photo"):
                    dropped = gr.Image(
                        sources=["upload", "clipboard"],
                        type="numpy",
                        label="Drop a photo",
                    )
                with gr.Tab("Camera"):
                    camera = gr.Image(
                        sources=["webcam"], streaming=True, type="numpy", label="Camera"
                    )
            with gr.Column():
                shown = gr.Image(
                    label="What the network sees",
                    interactive=False,
                    buttons=["fullscreen", "download"],
                )
                said = gr.Markdown()
                bars = gr.Label(label="Calibrated probabilities", num_top_classes=10)
        memory = gr.State(None)
        results = [shown, bars, said, memory]
        built.load(networks, None, [network, meaning], api_visibility="private")
        for event in (dropped.change, network.change, confidence.change):
            event(
                lambda *given: ask("look", *given, False),
                [dropped, network, confidence, memory],
                results,
                api_visibility="private",
            )
        camera.stream(
            lambda *given: ask("look", *given, True),
            [camera, network, confidence, memory],
            results,
            stream_every=0.05,
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )
    return built


def serve(port=None, wait=True):
    """Open the page on this machine, where nobody else can reach it; return it and its
    address where it need not wait.
    """
    built = page()
    _, address, _ = built.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        inbrowser=wait and port is None,
        quiet=not wait,
        prevent_thread_lock=True,
        theme=gr.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        footer_links=[],
    )
    threading.Thread(target=warm_up, daemon=True).start()
    if wait:
        built.block_thread()
    return built, address


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="serve the page on this port; without it take a free one, open a browser",
    )
    return made


if __name__ == "__main__":
    given = parser().parse_args()
    if not list(
        (Path(__file__).resolve().parents[1] / "data" / "runs").glob(
            "*/*/main/seed-0/weights.npz"
        )
    ):
        sys.exit("No network with stored weights: run notebooks 02 to 04 first.")
    interrupt.ready()
    try:
        serve(given.port)
    except OSError as error:
        sys.exit(f"\n{error}")
