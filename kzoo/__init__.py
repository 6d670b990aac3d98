"""A zoo of Keras Conv1D and Conv2D architectures, datasets for them, and one way to train."""

from kzoo import models
from kzoo.factory import create_model, list_models, model_card

__all__ = ["create_model", "list_models", "model_card", "models"]
