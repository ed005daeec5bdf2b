"""How much accuracy a network loses on spoilt images."""

import io

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.model_selection import train_test_split


def sample(labels, count=1000, seed=0):
    """Return sorted positions of `count` images, every class in proportion where that
    can be; all where there are no more.
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    sizes = np.unique(labels, return_counts=True)[1]
    proportion = (
        labels
        if sizes.min() > 1 and len(sizes) <= min(count, len(labels) - count)
        else None
    )
    return np.sort(
        train_test_split(
            np.arange(len(labels)),
            train_size=count,
            stratify=proportion,
            random_state=seed,
        )[0]
    )


def _noise(images, amount, rng):
    return images + rng.normal(0, amount, images.shape)


def _blur(images, amount, rng):
    return gaussian_filter(images, (0, amount, amount, 0))


def _contrast(images, amount, rng):
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + amount * (images - mean)


def _brightness(images, amount, rng):
    return images + amount


def _jpeg(images, amount, rng):
    changed = np.empty_like(images)
    for i, image in enumerate(images.astype(np.uint8)):
        packed = io.BytesIO()
        Image.fromarray(image.squeeze()).save(packed, "JPEG", quality=amount)
        changed[i] = np.asarray(Image.open(packed)).reshape(image.shape)
    return changed


def _occlusion(images, amount, rng):
    changed, side = images.copy(), round(amount * images.shape[1])
    places = rng.integers(
        0, np.array(images.shape[1:3])[:, None] - side + 1, size=(2, len(images))
    )
    for image, top, left in zip(changed, *places):
        image[top : top + side, left : left + side] = 128
    return changed


def _shift(images, amount, rng):
    pixels = round(amount * images.shape[1])
    padded = np.pad(
        images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge"
    )
    down, right = rng.choice([0, pixels, 2 * pixels], size=(2, len(images)))
    return np.stack(
        [
            image[y : y + images.shape[1], x : x + images.shape[2]]
            for image, y, x in zip(padded, down, right)
        ]
    )


CORRUPTIONS = {  # name: (function, its amount at the strengths one to five)
    "noise": (_noise, (8, 16, 24, 36, 50)),  # standard deviation, of 255
    "blur": (_blur, (0.4, 0.6, 0.8, 1.1, 1.5)),  # standard deviation in pixels
    "contrast": (_contrast, (0.75, 0.6, 0.45, 0.3, 0.2)),  # share that is kept
    "brightness": (_brightness, (20, 40, 60, 80, 100)),  # added, of 255
    "JPEG": (_jpeg, (80, 50, 30, 15, 7)),  # quality
    "occlusion": (
        _occlusion,
        (0.15, 0.25, 0.35, 0.45, 0.55),
    ),  # side of a grey square, of the image's
    "shift": (
        _shift,
        (0.03, 0.06, 0.12, 0.18, 0.25),
    ),  # along the axes, of the image's side
}


def corrupt(images, kind, strength, seed=0):
    """Return uint8 images changed by one of `CORRUPTIONS` at strength 1 to 5, the same
    every time.
    """
    function, amounts = CORRUPTIONS[kind]
    changed = function(
        images.astype(np.float32),
        amounts[strength - 1],
        np.random.default_rng([seed, strength]),
    )
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def measure(network, images, labels, kinds=tuple(CORRUPTIONS)):
    """Return a table of accuracies: one row for each of these corruptions, columns 0
    (untouched) to 5.
    """

    def accuracy(changed):
        return float(
            (
                network.predict(changed, batch_size=500, verbose=0).argmax(axis=1)
                == labels
            ).mean()
        )

    untouched = accuracy(images)
    return pd.DataFrame(
        {
            kind: [
                untouched,
                *(
                    accuracy(corrupt(images, kind, strength))
                    for strength in range(1, 6)
                ),
            ]
            for kind in kinds
        }
    ).T
