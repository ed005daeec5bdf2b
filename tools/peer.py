"""Train airbench94 of the package airbench, as its authors do, on the processor or on
a graphics card: our improved network descends from it.

`make baselines` starts this in a process of its own, because PyTorch and TensorFlow
cannot always be loaded together. It reads images.npz in FOLDER (images and labels of
training, validation and test) and writes peer.json there.
Source: https://github.com/KellerJordan/cifar10-airbench
"""

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import airbench
import numpy as np
import torch
from airbench import lib_airbench94, utils
from torch.utils.flop_counter import FlopCounterMode

CARD = torch.cuda.is_available()
HYPER = lib_airbench94.hyp["opt"]


class Clock:
    """A moment: what airbench asks of a graphics card's timer."""

    def __init__(self, enable_timing=True):
        self.moment = None

    def record(self):
        self.moment = time.perf_counter()

    def elapsed_time(self, end):
        """Return the milliseconds until another moment."""
        return 1000 * (end.moment - self.moment)


def without_card(stack):
    """Let what airbench asks of a graphics card, half precision too, do nothing."""
    for owner, name, instead in (
        (torch.nn.Module, "half", lambda module: module),
        (torch.nn.Module, "cuda", lambda module: module),
        (torch.Tensor, "half", torch.Tensor.float),
        (torch.cuda, "Event", Clock),
        (torch.cuda, "synchronize", lambda: None),
    ):
        stack.enter_context(mock.patch.object(owner, name, instead))


class Loader(airbench.CifarLoader):
    """airbench's loader, of images from memory; it prints each epoch."""

    def __init__(self, folder, images, labels, **options):
        content = {
            "images": torch.tensor(images),
            "labels": torch.tensor(labels, dtype=torch.long),
            "classes": [],
        }
        torch.save(content, folder / "train.pt")
        super().__init__(folder, gpu=0 if CARD else "cpu", **options)

    def __iter__(self):
        print(f"airbench94: epoch {self.epoch + 1}", flush=True)
        return super().__iter__()


def train(folder, data, epochs=HYPER["train_epochs"]):
    """Return what airbench94 reached.

    data: {split: (images, labels)}, images (n, 32, 32, 3) of numbers from 0 to 255. The
    answers to the images of validation and test are given twice: of one view, and of
    the 6 views of airbench.
    """
    size, changes = HYPER["batch_size"], lib_airbench94.hyp["aug"]
    with ExitStack() as stack:
        if not CARD:
            without_card(stack)
        torch.manual_seed(0)
        training = Loader(
            folder, *data["training"], batch_size=size, aug=changes, altflip=True
        )
        # The loader of test images, which train94 makes itself, only serves to print.
        stack.enter_context(mock.patch.object(utils, "CifarLoader", mock.Mock()))
        start = time.perf_counter()
        model = airbench.train94(training, epochs=epochs, verbose=False)
        if CARD:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        answers = {}
        for split in ("validation", "test"):
            images = Loader(folder, *data[split])
            for key, level in (("answers", 0), ("views", 2)):
                logits = airbench.infer(model, images, tta_level=level)
                answers[f"{split}_{key}"] = "".join(map(str, logits.argmax(1).tolist()))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(training.normalize(training.images[:1]))
    steps = len(training) * epochs
    return {
        "framework": f"PyTorch {torch.__version__.split('+')[0]}",
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "operations": counter.get_total_flops(),
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * size / seconds),
    } | answers


def main(folder):
    """Train on the images of a folder, and write the result there."""
    with np.load(folder / "images.npz") as file:
        data = {
            split: (file[f"{split}_images"], file[f"{split}_labels"])
            for split in ("training", "validation", "test")
        }
    (folder / "peer.json").write_text(json.dumps(train(folder, data)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
