"""A zoo of Keras Conv1D and Conv2D architectures, datasets for them, and one way to train, evaluate and ship."""

from kzoo import models
from kzoo.analysis.anomaly import detect_anomalies
from kzoo.analysis.benchmark import benchmark
from kzoo.analysis.budget import fit_to_budget
from kzoo.analysis.classical import compare_classical
from kzoo.analysis.compare import compare
from kzoo.analysis.diagram import draw_architecture
from kzoo.analysis.shift import shift_test
from kzoo.analysis.tune import tune
from kzoo.analysis.visualize import (
    draw_embedding,
    draw_feature_maps,
    draw_grad_cam,
    draw_kernels,
    draw_occlusion,
    draw_top_activations,
    visualize,
)
from kzoo.core.onednn import enable_onednn
from kzoo.core.version import __version__
from kzoo.data import dataset_card, from_arrays, from_batches, from_frame, list_datasets, load_dataset
from kzoo.data.text.vectors import load_word_vectors
from kzoo.serving.export import export
from kzoo.serving.listen import listen
from kzoo.serving.measure import evaluate_on
from kzoo.serving.pretrained import load_model
from kzoo.serving.serve import load_predictor, predict_files
from kzoo.serving.share import push, save_pretrained
from kzoo.serving.stream import stream
from kzoo.training.evaluate import evaluate
from kzoo.training.experiment import evaluate_run, list_configs, load_experiment, run_each, run_experiment
from kzoo.training.finders import find_batch_size, find_learning_rate
from kzoo.training.registration import register_with_keras
from kzoo.training.runs import load_run
from kzoo.training.train import fit, freeze
from kzoo.zoo.factory import create_model, ensemble, list_models, model_card
from kzoo.zoo.profile import macs, profile
from kzoo.zoo.reparameterize import reparameterize
from kzoo.zoo.shared import list_trained
from kzoo.zoo.weights import WeightReport, load_weights, save_weights

enable_onednn()  # nothing above imports TensorFlow
register_with_keras()

__all__ = [
    "WeightReport",
    "__version__",
    "benchmark",
    "compare",
    "compare_classical",
    "create_model",
    "dataset_card",
    "detect_anomalies",
    "draw_architecture",
    "draw_embedding",
    "draw_feature_maps",
    "draw_grad_cam",
    "draw_kernels",
    "draw_occlusion",
    "draw_top_activations",
    "ensemble",
    "evaluate",
    "evaluate_on",
    "evaluate_run",
    "export",
    "find_batch_size",
    "find_learning_rate",
    "fit",
    "fit_to_budget",
    "freeze",
    "from_arrays",
    "from_batches",
    "from_frame",
    "list_configs",
    "list_datasets",
    "list_models",
    "list_trained",
    "listen",
    "load_dataset",
    "load_experiment",
    "load_model",
    "load_predictor",
    "load_run",
    "load_weights",
    "load_word_vectors",
    "macs",
    "model_card",
    "models",
    "predict_files",
    "profile",
    "push",
    "reparameterize",
    "run_each",
    "run_experiment",
    "save_pretrained",
    "save_weights",
    "shift_test",
    "stream",
    "tune",
    "visualize",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
