"""Figures by subject, and tables: how each is drawn. Notebooks call them `figures`."""

# ruff: noqa: F401
from ..plumbing.names import MODEL_TITLES
from .answers import (
    class_scores,
    confusion,
    confusion_caption,
    coverage,
    doubted,
    examples,
    heat,
    mended,
    neighbours,
    reliability,
)
from .base import labelled, pairs, photo, show
from .data import (
    augmented,
    class_balance,
    mean_images,
    near_pairs,
    pixel_histogram,
    projection,
    sample_grid,
    votes,
)
from .experiments import (
    bars,
    heat_map,
    influence,
    networks,
    robustness,
    shares,
    shifts,
    steps,
)
from .layers import (
    colour_filters,
    diagram,
    feature_maps,
    filters_and_maps,
    weights,
    window,
)
from .trainings import budget, curves, histories, history, turns
