"""Trained models by name, ready to predict: a run, an export, or pretrained weights with their preprocessing."""

from pathlib import Path

from kzoo.core.files import user_path
from kzoo.serving.serve import Predictor, load_predictor, predictor_of
from kzoo.tasks import Classification
from kzoo.zoo import hub
from kzoo.zoo.factory import create_model


def load_model(name: str | Path) -> Predictor:
    """Return a trained model whose `predict` takes an image file or a raw batch.

    Args:
        name: `timm/resnet50.a1_in1k`, `torchvision/ResNet50_Weights.IMAGENET1K_V2`, `keras/densenet121` (see
            `kzoo.zoo.hub`), a directory laid out like the hub's, a run directory, or an export.

    Raises:
        ValueError: for any other name, a network that the zoo does not have, or damaged files.
    """
    path = user_path(name)
    if path.exists() and not (path / hub.CONFIG).is_file():
        return load_predictor(path)
    found = hub.find(name)
    shape, built = found.preprocess.input_shape, found.hyperparameters
    model = create_model(found.architecture, shape, found.num_classes, weights=name, **built)
    return predictor_of(model, found.preprocess, Classification(hub.class_names(found)))
