"""A zoo of Keras Conv1D and Conv2D architectures, datasets for them, and one way to train, evaluate and ship."""

from importlib.metadata import PackageNotFoundError, version

from kzoo import models
from kzoo.benchmark import benchmark
from kzoo.budget import fit_to_budget
from kzoo.classical import compare_classical
from kzoo.compare import compare
from kzoo.data import dataset_card, list_datasets, load_dataset
from kzoo.diagram import draw_architecture
from kzoo.evaluate import evaluate
from kzoo.experiment import evaluate_run, list_configs, load_experiment, run_each, run_experiment
from kzoo.export import export
from kzoo.factory import create_model, ensemble, list_models, model_card
from kzoo.finders import find_batch_size, find_learning_rate
from kzoo.pretrained import load_model
from kzoo.profile import macs, profile
from kzoo.reparameterize import reparameterize
from kzoo.runs import load_run
from kzoo.serve import load_predictor, predict_files
from kzoo.shift import shift_test
from kzoo.train import fit, freeze
from kzoo.visualize import (
    draw_embedding,
    draw_exciting,
    draw_feature_maps,
    draw_grad_cam,
    draw_kernels,
    draw_occlusion,
    visualize,
)
from kzoo.weights import WeightReport, load_weights, save_weights

try:
    __version__ = version("kzoo")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = [
    "WeightReport",
    "benchmark",
    "compare",
    "compare_classical",
    "create_model",
    "dataset_card",
    "draw_architecture",
    "draw_embedding",
    "draw_exciting",
    "draw_feature_maps",
    "draw_grad_cam",
    "draw_kernels",
    "draw_occlusion",
    "ensemble",
    "evaluate",
    "evaluate_run",
    "export",
    "find_batch_size",
    "find_learning_rate",
    "fit",
    "fit_to_budget",
    "freeze",
    "list_configs",
    "list_datasets",
    "list_models",
    "load_dataset",
    "load_experiment",
    "load_model",
    "load_predictor",
    "load_run",
    "load_weights",
    "macs",
    "model_card",
    "models",
    "predict_files",
    "profile",
    "reparameterize",
    "run_each",
    "run_experiment",
    "save_weights",
    "shift_test",
    "visualize",
]
