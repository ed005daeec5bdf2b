"""Augmentation: pure NumPy functions from uint8 images to uint8 images."""

from itertools import product

import numpy as np
from scipy.ndimage import affine_transform

from ..taught import shifted, six_views

VIEWS = ("three", "fourteen")  # sets of views besides the six, see `views`
BLOCK = 1024  # images at a time, so that they stay in the processor's cache


def augment(
    images,
    rng,
    flip=False,
    shift=0,
    turn=0,
    zoom=0,
    cutout=0,
    erasing=None,
    contrast=0,
    brightness=0,
    noise=0,
    blur=0,
):
    """Return a copy of `images` (n, height, width, channels), each changed at random.

    flip: mirror left and right with probability one half; or an array that says which
        to mirror.
    shift: move by up to this many pixels along each axis; what comes in at the border
        is the image reflected, as in He et al. (2016) but without black edges.
    turn, zoom: turn every second image on average about its centre by up to so many
        degrees either way, and enlarge it by a factor from 1 - zoom to 1 + zoom.
    cutout: paint a mid-grey square of this side at a random place (DeVries and Taylor,
        2017).
    erasing: (smallest, largest) side in pixels of a rectangle of random values that is
        painted on every second image on average (random erasing, Zhong et al., 2017).
    contrast: multiply the differences to the image's mean by a factor from 1 - contrast
        to 1 + contrast.
    brightness: add up to this much, of 255, either way.
    noise: on every second image on average, add normal noise; its deviation, of 255, is
        drawn from 0 to `noise`.
    blur: on every fourth image on average, mix each pixel with its neighbours, with a
        deviation drawn from 0 to `blur` pixels (at most 0.8); before contrast and
        noise.
    rng: a numpy.random.Generator; the same state gives the same images.
    Introduced in notebook 04.
    """
    n, height, width, _ = images.shape
    mirrored = (
        flip if isinstance(flip, np.ndarray) else rng.random(n) < (0.5 if flip else 0)
    )
    down, right = rng.integers(-shift, shift + 1, size=(2, n))
    changed = np.empty_like(images)
    for dy, dx, mirror in product(*[range(-shift, shift + 1)] * 2, (False, True)):
        positions = np.flatnonzero((down == dy) & (right == dx) & (mirrored == mirror))
        for start in range(0, len(positions), BLOCK):
            part = positions[start : start + BLOCK]
            moved = shifted(images[part], dy, dx)
            changed[part] = moved[:, :, ::-1] if mirror else moved
    if turn or zoom:
        for i in np.flatnonzero(rng.random(n) < 0.5):
            factor, degrees = rng.uniform((1 - zoom, -turn), (1 + zoom, turn))
            changed[i : i + 1] = _turned(changed[i : i + 1], factor, degrees)
    if cutout:
        top, left = rng.integers(
            0, [[height - cutout + 1], [width - cutout + 1]], size=(2, n)
        )
        for i in range(n):
            changed[i, top[i] : top[i] + cutout, left[i] : left[i] + cutout] = 128
    if erasing:
        _erase(changed, rng, *erasing)
    if blur:
        _blur(changed, rng, blur)
    if contrast or brightness or noise:
        _light(changed, rng, contrast, brightness, noise)
    return changed


def _erase(images, rng, smallest, largest):
    """Paint a rectangle of random values on about half of the images, in place."""
    for i in np.flatnonzero(rng.random(len(images)) < 0.5):
        sides = rng.integers(smallest, largest + 1, size=2)
        top, left = rng.integers(0, np.array(images.shape[1:3]) - sides + 1)
        patch = images[i, top : top + sides[0], left : left + sides[1]]
        patch[...] = rng.integers(0, 256, patch.shape, np.uint8)


def _blur(images, rng, largest):
    """Blur about a quarter of the images along both axes, in place.

    The weights w, 1 - 2 w, w have the variance 2 w.
    """
    positions = np.flatnonzero(rng.random(len(images)) < 0.25)
    weights = rng.uniform(0, largest, len(positions)).astype(np.float32) ** 2 / 2
    for start in range(0, len(positions), BLOCK):
        part = slice(start, start + BLOCK)
        values = images[positions[part]].astype(np.float32)
        weight = weights[part, None, None, None]
        for _ in ("down", "across"):
            wide = np.pad(values, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
            values += weight * (wide[:, :-2] + wide[:, 2:] - 2 * values)
            values = values.swapaxes(1, 2)
        images[positions[part]] = np.rint(values)


def _light(images, rng, contrast, brightness, noise):
    """Change contrast, brightness and noise of the images, in place."""
    n = len(images)
    factor = rng.uniform(1 - contrast, 1 + contrast, n).astype(np.float32)
    added = rng.uniform(-brightness, brightness, n).astype(np.float32)
    deviation = rng.uniform(0, noise, n).astype(np.float32) * (rng.random(n) < 0.5)
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        values = images[part].astype(np.float32)
        mean = values.mean(axis=(1, 2, 3), keepdims=True)
        scale, offset, strength = (
            amounts[part, None, None, None] for amounts in (factor, added, deviation)
        )
        values = mean + scale * (values - mean) + offset
        noisy = deviation[part] > 0
        values[noisy] += strength[noisy] * rng.standard_normal(
            values[noisy].shape, np.float32
        )
        images[part] = np.clip(np.rint(values), 0, 255)


def views(images, kind=None):
    """Return views of `images` with their weights, which sum to 1, for test-time
    augmentation: [(weight, images)].

    None: the six that notebook 04 explains. "three": the same without mirror images.
    "fourteen": the six count three fifths; enlarged by 1.08 and reduced by 0.93, turned
    by 6 degrees one way and the other, each with its mirror image, count a twentieth
    each.
    """
    six = six_views(images)
    if kind == "three":
        return [(2 * weight, view) for weight, view in six[::2]]
    if kind == "fourteen":
        turns = [(1.08, 0), (0.93, 0), (1, 6), (1, -6)]
        turned = [_turned(images, *turn) for turn in turns]
        return [(0.6 * weight, view) for weight, view in six] + [
            (0.05, view) for batch in turned for view in (batch, batch[:, :, ::-1])
        ]
    return six


def _turned(images, zoom, degrees):
    """Return images enlarged by a factor and turned about their centre; what comes in
    is the image reflected.
    """
    cos, sin = np.cos(np.radians(degrees)) / zoom, np.sin(np.radians(degrees)) / zoom
    matrix = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    centre = np.array([0, (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2, 0])
    turned = affine_transform(
        images.astype(np.float32),
        matrix,
        centre - matrix @ centre,
        order=1,
        mode="mirror",
    )
    return np.clip(np.rint(turned), 0, 255).astype(np.uint8)
