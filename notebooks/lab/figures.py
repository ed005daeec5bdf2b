"""All figures, by subject. How each is drawn stands in the folder `drawing`."""

# ruff: noqa: F401
from .drawing.answers import (
    class_scores,
    confusion,
    coverage,
    examples,
    heat,
    mended,
    reliability,
)
from .drawing.base import COLOURS, beside, labelled, pairs, photo, show
from .drawing.data import (
    augmented,
    class_balance,
    mean_images,
    near_pairs,
    pixel_histogram,
    projection,
    sample_grid,
    votes,
)
from .drawing.experiments import (
    bars,
    heat_map,
    influence,
    networks,
    robustness,
    shares,
    shifts,
    steps,
)
from .drawing.networks import (
    colour_filters,
    diagram,
    feature_maps,
    filters_and_maps,
    maps,
    weights,
    window,
)
from .drawing.trainings import budget, curves, histories, history, turns
from .plumbing.names import MODEL_TITLES
