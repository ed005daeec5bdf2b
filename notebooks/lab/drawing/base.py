"""The size, the fonts and the colours of all figures, and pictures in rows."""

import base64
import io
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.textpath import TextPath
from PIL import Image

from ..plumbing.files import sha256
from ..plumbing.screen import notebook_display

WIDTH = 6.3  # inches: the width of the report's text
NARROW = 5.0  # inches: of figures that the report prints smaller
HEIGHT = 8.2  # inches: the most that a figure has, so that its caption fits below


LONGEST = 20  # letters of a class name
COUNTED = 20  # classes in a legend, or whose counts stand in a matrix, at most
SMALLEST = 6  # points: the smallest letters of a class name


VISIBLE = 1.5  # root mean square of a change, of 255


COLOURS = sns.color_palette("colorblind").as_hex()
MARKERS = "os^DvPX*"  # of networks, in their order

DRAWN = set()  # the SHA-256 of every picture that was drawn


# A class name of a reader's folder may hold anything.
warnings.filterwarnings("ignore", "Glyph .* missing")


plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "pdf.fonttype": 42,
        "image.cmap": "gray",
    }
)


def labels(names):
    """Return names as figures show them: `$` begins no formula. Where one is long, all
    are cut and begin with their number, so that none is as another.
    """
    names = [str(name) for name in names]
    if any(len(name) > LONGEST for name in names):
        names = [
            f"{i} {name[: LONGEST - 5]}" + "…" * (len(name) > LONGEST - 5)
            for i, name in enumerate(names, start=1)
        ]
    return [plain(name) for name in names]


def key(names):
    """Return a sentence with the long names that `labels` cuts; none where it cuts
    none, or where they are too many for a caption.
    """
    if len(names) > COUNTED or all(len(name) <= LONGEST for name in names):
        return ""
    listed = (f"{i} {name}" for i, name in enumerate(names, start=1))
    return f" The classes are: {'; '.join(listed)}."


def plain(text):
    """Return text in which `$` begins no formula."""
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def name_classes(axis, classes, inches, **style):
    """Write class names along an axis of a figure; where there is no room for one line
    each, the numbers of some of the classes instead.

    style: of the names. Returns whether the names stand there.
    """
    room = 72 * inches / len(classes)  # points a class
    if named := room >= SMALLEST:
        axis.set_ticks(range(len(classes)), labels(classes), **style)
        axis.set_tick_params(labelsize=min(8, room))
    else:
        step = next(step for step in (5, 10, 20, 50, 100) if step * room >= 9)
        shown = range(step - 1, len(classes), step)
        axis.set_ticks(shown, [str(i + 1) for i in shown])
        axis.set_label_text("number of the class")
    return named


def png(figure):
    """Return a figure as the bytes of a PNG file, with 256 colours where nobody sees
    the difference: drawings, not photographs.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    whole = Image.open(drawn).convert("RGB")
    few = whole.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    change = np.asarray(whole, np.float32) - np.asarray(few.convert("RGB"), np.float32)
    packed = io.BytesIO()
    (few if np.sqrt(np.mean(change**2)) < VISIBLE else whole).save(packed, "PNG")
    return packed.getvalue()


def show(figure, caption="", image=None):
    """Show a figure in a notebook, once, and release its memory.

    caption: the text for those who cannot see it. image: its `png`, where that is
        there.
    """
    if display := notebook_display():
        data = {"image/png": base64.b64encode(image or png(figure)).decode()}
        data["text/plain"] = f"Figure: {caption}" if caption else "a figure"
        display(data, raw=True, metadata={"image/png": {"alt": caption}})
    plt.close(figure)


def picture(axes, image, title=None):
    """Draw one image (height, width, channels), grey or RGB, without axes."""
    DRAWN.add(sha256(np.ascontiguousarray(image)))
    axes.imshow(
        image.squeeze(axis=-1) if image.shape[-1] == 1 else image,
        vmin=0,
        vmax=255,
        interpolation="nearest",
    )
    axes.set_anchor("N")  # below its title, for which the layout keeps room
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if title:
        titled([(axes, title)])


def titled(pictures):
    """Write the titles of pictures, all in the largest size in which they fit.

    pictures: [(axes, title)].
    """
    for points, room in ((9, 0.94), (8, 0.94), (7, 1.0)):
        for axes, title in pictures:
            axes.title.set_label(title)  # the whole of it, for a translation
            axes.title.set_fontsize(points)
            axes.title.set_text(fitted(axes, title, room))
        if all(axes.get_title() == plain(title) for axes, title in pictures):
            return


def width_above(axes):
    """Return the width that the title of axes in a grid of equal columns may have, in
    inches.
    """
    share = len(axes.get_subplotspec().colspan) / axes.get_gridspec().ncols
    return share * axes.figure.get_figwidth()


def fitted(axes, title, room=1.0):
    """Return the title of a picture, cut where it would run into the next one."""
    width, points = room * width_above(axes), axes.title.get_fontsize()
    return "\n".join(cut(line, width, points) for line in plain(title).split("\n"))


def cut(text, inches, points):
    """Return text, without its end where letters of `points` make it too wide."""
    while (
        len(text) > 1
        and TextPath((0, 0), text, points).get_extents().width > 70 * inches
    ):
        text = text[:-2].rstrip() + "…"
    return text


def photo(image):
    """A photo, small enough to be stored in a notebook."""
    width = 0.65 * WIDTH
    figure, axes = plt.subplots(
        figsize=(width, width * image.shape[0] / image.shape[1])
    )
    picture(axes, image)
    return figure


def panels(count, height, datasets=(), class_height=0, width=WIDTH):
    """Return a figure and `count` axes side by side, fewer a row where they are many.

    height: inches of a row; `class_height` more for each class beyond ten that one of
        `datasets` has.
    """
    height += class_height * max(
        [0, *(len(dataset.classes) - 10 for dataset in datasets)]
    )
    columns = min(count, 3 if count < 7 else 4)
    rows = -(-count // columns)
    height = min(height, HEIGHT / rows)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(width if count > 1 else 0.6 * width, rows * height),
        squeeze=False,
    )
    for axes in grid.ravel()[count:]:
        axes.set_visible(False)
    return figure, grid.ravel()[:count]


def beside(rows, columns):
    """Rows of images with a title each: `rows` holds lists of (image, title)."""
    size = (NARROW, 1.42 * NARROW / 6 * len(rows))
    figure, grid = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    titles = []
    for axes in grid.ravel():
        axes.axis("off")
    for line, row in zip(grid, rows):
        for axes, (image, title) in zip(line, row):
            picture(axes, image)
            titles.append((axes, title))
    titled(titles)
    return figure


def pairs(rows, columns=6):
    """Two images above one another in each column: `rows` holds (upper, its title,
    lower, its title).
    """
    return beside([[row[:2] for row in rows], [row[2:] for row in rows]], columns)


def labelled(rows, columns=6):
    """Images with a title each: `rows` holds (image, title)."""
    return beside(
        [rows[i : i + columns] for i in range(0, len(rows), columns)], columns
    )
