"""Augmentation: pure NumPy functions from uint8 images to uint8 images."""
import numpy as np


def augment(images, rng, flip=False, shift=0, cutout=0):
    """Return a copy of `images` (n, height, width, channels), each changed at random.

    flip: mirror left and right with probability one half; or an array that says which to mirror.
    shift: move by up to this many pixels along each axis; what comes in at the border is the
        image reflected, as in He et al. (2016) but without black edges.
    cutout: paint a mid-grey square of this side at a random place (DeVries and Taylor, 2017).
    rng: a numpy.random.Generator; the same state gives the same images.
    Introduced in notebook 04.
    """
    n, height, width, _ = images.shape
    mirrored = flip if isinstance(flip, np.ndarray) else rng.random(n) < (0.5 if flip else 0)
    down, right = rng.integers(-shift, shift + 1, size=(2, n))
    changed = np.empty_like(images)
    for start in range(0, n, 1024):  # in the processor's cache
        part = slice(start, start + 1024)
        padded = np.pad(images[part], ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
        for dy in range(-shift, shift + 1):
            for dx in range(-shift, shift + 1):
                window = padded[:, shift - dy : shift - dy + height, shift - dx : shift - dx + width]
                chosen, turned = (down[part] == dy) & (right[part] == dx), mirrored[part]
                changed[part][chosen & ~turned] = window[chosen & ~turned]
                changed[part][chosen & turned] = window[chosen & turned, :, ::-1]
    if cutout:
        top, left = rng.integers(0, [[height - cutout + 1], [width - cutout + 1]], size=(2, n))
        for i in range(n):
            changed[i, top[i] : top[i] + cutout, left[i] : left[i] + cutout] = 128
    return changed


def views(images):
    """Return six views of `images` with their weights, for test-time augmentation: [(weight, images)].

    The images as they are count one half; moved by a pixel along the diagonal, one way and the
    other, a quarter each; and each is halved with its mirror image. Source: K. Jordan, arXiv 2404.00498.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [(0.5, images), (0.25, padded[:, :height, :width]), (0.25, padded[:, 2:, 2:])]
    return [(weight / 2, view) for weight, one in moved for view in (one, one[:, :, ::-1])]
