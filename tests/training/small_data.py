"""Small datasets of each modality, and networks for them that train in seconds."""

import keras
import numpy as np

import kzoo
from kzoo.data.audio.files import Recordings
from kzoo.data.splits import MODALITIES, Examples, Splits
from kzoo.data.timeseries import SeriesExamples
from kzoo.tasks import Classification

NETWORKS = {
    "image": ("convnet", {"filters": (4,), "padding": "same", "norm": "batch"}),
    "audio": ("convnet", {"filters": (4,), "padding": "same"}),
    "text": ("textcnn", {"filters": 8}),
    "timeseries": ("fcn", {"filters": (8, 8, 8)}),
}
AUGMENT = {
    "image": {"shift": 1, "rotation": 10, "mixup": 0.2},
    "audio": {"noise": 0.01, "time_mask": 4},
    "text": {"word_dropout": 0.1},
    "timeseries": {"jitter": 0.1, "scale": 0.1},
}
COUNT = 40


def raw(modality) -> Examples:
    """Return examples of two classes that are easy to tell apart."""
    random, labels = np.random.default_rng(0), np.arange(COUNT, dtype="int32") % 2
    if modality == "image":
        images = random.integers(0, 200, (COUNT, 8, 8, 3)) + 50 * labels[:, None, None, None]
        return Examples(images.astype("uint8"), labels)
    if modality == "audio":
        # noise in every frame and band: what lies 90 dB below a tone is the rounding of float32
        noise = 100 * random.normal(size=(COUNT, 2000))
        waves = 3000 * np.sin(np.arange(2000) * (0.05 + 0.1 * labels[:, None])) + noise
        return Recordings(waves.astype("int16"), labels, 8000)
    if modality == "text":
        words = (("good", "fine", "nice"), ("bad", "poor", "ugly"))
        return Examples(np.array([" ".join(random.choice(words[label], 8)) for label in labels], object), labels)
    series = random.normal(size=(COUNT, 24, 2)) + labels[:, None, None]
    return SeriesExamples(series.astype("float32"), labels)


def small_splits(modality, augment=None) -> Splits:
    """Return them as a dataset: 5 batches of 8, and 10 examples to validate and test on."""
    examples, (preprocessing, augmentation) = raw(modality), MODALITIES[modality]
    few = examples.take(np.arange(10))
    preprocess = preprocessing.fit(examples)
    augment = augmentation(**augment).prepared(preprocess) if augment else None
    splits = {"train": examples, "validation": few, "test": few}
    return Splits(modality, modality, splits, Classification(("no", "yes")), preprocess, augment, batch_size=8)


def small_model(splits):
    keras.utils.set_random_seed(0)
    name, hyperparameters = NETWORKS[splits.modality]
    shape, words = splits.input_shape, splits.vocab_size
    return kzoo.create_model(name, shape, splits.num_classes, vocab_size=words, **hyperparameters)
