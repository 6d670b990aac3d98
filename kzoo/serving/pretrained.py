"""Trained models by name, ready to predict: a run, a shared model, an export, or pretrained weights."""

from pathlib import Path

from kzoo.serving.serve import Predictor, load_predictor, predictor_of
from kzoo.tasks import Classification
from kzoo.zoo import hub, shared
from kzoo.zoo.factory import create_model


def load_model(name: str | Path) -> Predictor:
    """Return a trained model: `predict` takes a file or a raw batch, `model` is the network.

    Args:
        name: `kzoo/digits` and the like (`kzoo.list_trained()`), which are inside the package; a folder that
            `kzoo.save_pretrained` wrote, or `hf://user/name` of one; a run directory; an export;
            `timm/resnet50.a1_in1k`, `torchvision/ResNet50_Weights.IMAGENET1K_V2` or `keras/densenet121` (see
            `kzoo.zoo.hub`), or a directory or a repository laid out like timm's.

    Raises:
        ValueError: for any other name, a network that the zoo does not have, or damaged files.
    """
    path = shared.find(name)
    if shared.is_shared(path) or (path.exists() and not (path / hub.CONFIG).is_file()):
        return load_predictor(path)
    found = hub.find(name)
    shape, built = found.preprocess.input_shape, found.hyperparameters
    model = create_model(found.architecture, shape, found.num_classes, weights=name, **built)
    return predictor_of(model, found.preprocess, Classification(hub.class_names(found)))
