"""The helper package of the five notebooks: plumbing only, the networks are defined in
the notebooks.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from . import calibration, datasets, explanations, figures, metrics, models, robustness
from . import runs, statistics, tables, taught, training
from .engine import trained
from .lesson import start
from .methods import audit, augmentation, parts
from .methods.schedule import Schedule
from .plumbing.backend import setup_line
from .plumbing.files import LabError
from .plumbing.names import DATA_SETS, MODEL_TITLES
from .prediction import predict
from .recipes import Job, Recipe, study_jobs
