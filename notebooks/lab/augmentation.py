"""Augmentation: pure NumPy functions from uint8 images to uint8 images."""
import numpy as np


def augment(images, rng, flip=False, shift=0):
    """Return a copy of `images` (n, height, width, channels), each changed at random.

    flip: mirror left and right with probability one half.
    shift: move by up to this many pixels along each axis; what comes in at the border is the
        image reflected, as in He et al. (2016) but without black edges.
    rng: a numpy.random.Generator; the same state gives the same images.
    Introduced in notebook 04.
    """
    n, height, width, _ = images.shape
    mirrored = rng.random(n) < (0.5 if flip else 0)
    down, right = rng.integers(-shift, shift + 1, size=(2, n))
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    changed = np.empty_like(images)
    for dy in range(-shift, shift + 1):
        for dx in range(-shift, shift + 1):
            window = padded[:, shift - dy : shift - dy + height, shift - dx : shift - dx + width]
            chosen = (down == dy) & (right == dx)
            changed[chosen & ~mirrored] = window[chosen & ~mirrored]
            changed[chosen & mirrored] = window[chosen & mirrored, :, ::-1]
    return changed
