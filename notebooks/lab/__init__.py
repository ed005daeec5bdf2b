"""The helper package of the five notebooks: plumbing only, the models live in the notebooks."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from .files import LabError
from .jobs import DATA_SETS, Job, Recipe, study_jobs
from .lesson import hyper_parameters, layer_table, setup_line, start, trained
from .prediction import predict
from .faces import look
from . import analysis, audit, augmentation, charts, datasets, evaluation, faces, models, parts, plots, runs, training
