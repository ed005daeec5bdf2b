"""The helper package of the five notebooks, which define the networks."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from .plumbing.backend import setup_line
from . import datasets, drawing as figures, metrics, models, runs, taught, training
from .drawing import tables
from .engine import trained
from .lesson import start
from .methods import audit, augmentation, parts, statistics
from .methods.schedule import Schedule
from .plumbing.files import LabError
from .plumbing.keeping import pack
from .plumbing.names import DATA_SETS
from .prediction import predict
from .recipes import Job, Recipe, study_jobs
