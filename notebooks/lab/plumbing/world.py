"""The world of a data set: the ground that its pictures stand on, other pictures put
on it, and how unlike the training images a picture is.
"""

import numpy as np
from PIL import Image

ENDS = {0: (0, 32), 255: (223, 255)}  # a ground, and the pixel values that count as it
MOST = 0.95  # share of the training images that must stand on it
FALSE_ALARMS = 0.05  # share of the validation images that are called unlike
SPECKS = 0.01  # share of a row or a column that may differ from the ground
CUT = 0.95  # of the longer side: a larger object is not cut out
MARGIN = 1 / 28  # of the side of a picture, left around the object


def border(images):
    """Return (n,) the median pixel value of the outermost rows and columns of images
    (n, height, width, channels).
    """
    rows, columns = images[:, [0, -1]], images[:, :, [0, -1]]
    parts = [part.reshape(len(images), -1) for part in (rows, columns)]
    return np.median(np.concatenate(parts, axis=1), axis=1)


def ground(images):
    """Return 0 where the training images stand on black, 255 where they stand on white,
    None where they have no common ground. Of many, fewer than 4,000 are looked at.
    """
    edges = border(images[:: max(1, len(images) // 2000)])
    for value, (low, high) in ENDS.items():
        if np.mean((edges >= low) & (edges <= high)) >= MOST:
            return value
    return None


def brought(images, ground):
    """Return images, uint8, with those inverted whose border is nearer to the opposite
    of the ground, and (n,) bool: which.
    """
    if ground is None:
        return images, np.zeros(len(images), bool)
    turned = np.abs(border(images) - ground) > 127
    return np.where(turned[:, None, None, None], 255 - images, images), turned


def suited(picture, ground, cut=True):
    """Return a picture of Pillow, grey or in colour, as it would stand in a data set on
    a ground, and what was done, in words: inverted where its border is nearer to the
    opposite, and, with `cut`, its ground made even, and cut to a square around the
    object.
    """
    if ground is None:
        return picture, []
    pixels = np.asarray(picture)[None]
    pixels, (turned,) = brought(
        pixels.reshape(*pixels.shape[:3], -1), ground
    )  # as (1, height, width, channels)
    done = ["inverted"] * bool(turned)
    if not cut:
        return _as_picture(pixels[0], 0), done
    values = (pixels[0] if ground == 0 else 255 - pixels[0]).astype(np.float32)
    edge = border(values[None])[0]
    values = np.maximum(values - edge, 0) * (255 / (255 - edge))
    light = values.max(axis=2)
    seen = light > max(30, 0.25 * light.max())
    top, bottom = _extent(seen.mean(axis=1))
    left, right = _extent(seen.mean(axis=0))
    side = round(max(bottom - top, right - left) * (1 + 2 * MARGIN))
    if not 0 < side < CUT * max(light.shape):
        return _as_picture(values, ground), done
    room = side  # around the picture, for a square that reaches beyond it
    wide = np.pad(values, ((room, room), (room, room), (0, 0)))
    row = (top + bottom - side) // 2 + room
    column = (left + right - side) // 2 + room
    square = wide[row : row + side, column : column + side]
    return _as_picture(square, ground), [*done, "cut to the object"]


def _extent(shares):
    """Return the first place, and the one after the last, with more than specks."""
    places = np.flatnonzero(shares > SPECKS)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)


def _as_picture(values, ground):
    pixels = np.uint8(np.rint(values if ground == 0 else 255 - values))
    return Image.fromarray(pixels.squeeze(axis=-1) if pixels.shape[2] == 1 else pixels)


def likeness(probabilities):
    """Return (n,) how like the training images pictures are, from the probabilities
    that a network gives (n, classes): low where no class is clearly ahead.

    It is the mean of -ln p over the classes: the negative energy of the logits, after
    their mean is taken away, which softmax does not see.
    Source: W. Liu and others, Energy-based out-of-distribution detection, arXiv
    2010.03759.
    """
    return -np.log(np.maximum(probabilities.astype(np.float64), 1e-6)).mean(axis=1)


def limit(probabilities):
    """Return the likeness below which a picture is called unlike, so that
    `FALSE_ALARMS` of these validation images are.
    """
    return float(np.quantile(likeness(probabilities), FALSE_ALARMS))
