"""Networks to export: a small one, untrained, for each modality and each task that it can have."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

import kzoo
from kzoo.data.audio import AudioPreprocess
from kzoo.data.audio.folder import Recordings
from kzoo.data.image import ImagePreprocess
from kzoo.data.serving import Serving
from kzoo.data.splits import Examples, Preprocess
from kzoo.data.text import TextPreprocess
from kzoo.data.timeseries.preprocess import SeriesPreprocess
from kzoo.tasks import (
    Classification,
    Forecasting,
    Regression,
    Restoration,
    Segmentation,
    StepClassification,
    StepTagging,
    Tagging,
    Task,
    Transcription,
)

NAMES = ("no", "yes", "perhaps")
LENGTH, SAMPLES, WORDS = 24, 1600, 8
TEXTS = np.array(["a good film", "a bad one", "so so", "it isn't a film: \u6620\u753b \u2019tis \U0001f600"], object)
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (4, 16, 16, 3), dtype="uint8")
WAVES = (RANDOM.normal(size=(4, SAMPLES)) * 3000).astype("int16")
SERIES = RANDOM.normal(size=(4, LENGTH, 2)).astype("float32")

IMAGES = ImagePreprocess((16, 16), 3, (120.0, 110.0, 100.0), (60.0, 50.0, 40.0))
NOISY = ImagePreprocess((None, None), 3, (0.0,) * 3, (255.0,) * 3, "float32", resize="none")
CLASSES, TAGS = Classification(NAMES), Tagging(NAMES)
NUMBERS = Regression(("height", "weight"), mean=(1.0, 50.0), deviation=(0.5, 20.0))
EACH_STEP, TAGGED_STEPS = StepClassification(NAMES), StepTagging(NAMES)
LETTERS = Transcription(("a", "b", " "), steps=SAMPLES, rate=SAMPLES)
SMALL = {"padding": "same", "filters": (4,)}
AT_POSITIONS = {"filters": (4, 4), "kernels": (5, 3), "head": "positions"}
AT_FRAMES = AT_POSITIONS | {"head": "frames"}


class Case(NamedTuple):
    """A network to export: its preprocessing and task, raw examples, its name and its hyperparameters."""

    preprocess: Preprocess
    task: Task
    examples: np.ndarray
    name: str = "convnet"
    options: dict = SMALL


def restored(channels: tuple[str, ...], peak: float, *axes: str) -> Restoration:
    """Return the task of restoring what has these channels, whose values are from 0 to about `peak`."""
    return Restoration(channels, axes, mean=(0.0,) * len(channels), deviation=(peak,) * len(channels), peak=peak)


def sound(**options) -> AudioPreprocess:
    """Return the preprocessing of the recordings."""
    mels = {"n_mels": 8, "n_mfcc": 5} if options.get("feature") != "waveform" else {}
    return AudioPreprocess.fit(Recordings(WAVES, np.zeros(len(WAVES), "int32"), SAMPLES), **mels, **options)


def series(**options) -> SeriesPreprocess:
    """Return the preprocessing of the series."""
    return SeriesPreprocess.fit(Examples(SERIES, np.zeros(len(SERIES), "int32")), **options)


def text(texts: Sequence[str] = TEXTS, **options) -> TextPreprocess:
    """Return the preprocessing of texts."""
    return TextPreprocess.fit(Examples(np.array(texts, object), np.arange(len(texts))), length=WORDS, **options)


def text_case(task: Task, level: str, name: str, **options) -> Case:
    """Return the case of a task on texts."""
    step = text(level=level)
    return Case(step, task, TEXTS, name, {"vocab_size": step.vocab_size, "embed_dim": 4, **options})


def cases() -> dict[tuple[str, str], Case]:
    """Return the case of each modality and task; the front-ends and the levels of tokens are taken in turn."""
    waveform = sound(feature="waveform")
    found = {
        "image": [
            Case(IMAGES, CLASSES, PIXELS),
            Case(IMAGES, TAGS, PIXELS),
            Case(IMAGES, NUMBERS, PIXELS),
            Case(IMAGES, Segmentation(NAMES), PIXELS, "unet", {"encoder": "resnet8", "filters": (4, 4)}),
            Case(NOISY, restored(NAMES, 255.0, "height", "width"), PIXELS.astype("float32"), "dncnn17", {"width": 4}),
        ],
        "audio": [
            Case(sound(normalise="example", fill_silence=True), CLASSES, WAVES),
            Case(sound(feature="mfcc", feature_style="kaldi", layout="frequency_time"), TAGS, WAVES),
            Case(sound(feature_style="speech_commands", normalise="none"), NUMBERS, WAVES),
            Case(waveform, EACH_STEP, WAVES, "unet_1d", {"filters": (4, 4)}),
            Case(waveform, TAGGED_STEPS, WAVES, "fcn", AT_POSITIONS),
            Case(waveform, restored(("wave",), 1.0, "time"), WAVES, "fcn", AT_POSITIONS),
            Case(sound(layout="time"), LETTERS, WAVES, "tdnn_ctc", {"width": 4}),
        ],
        "timeseries": [
            Case(series(), CLASSES, SERIES),
            Case(series(normalise="example"), TAGS, SERIES),
            Case(series(normalise="none"), NUMBERS, SERIES),
            Case(series(), Forecasting(("a", "b"), 5, (0.0, 1.0), (1.0, 2.0)), SERIES, "dlinear", {"kernel": 5}),
            Case(series(), EACH_STEP, SERIES, "unet_1d", {"filters": (4, 4)}),
            Case(series(), TAGGED_STEPS, SERIES, "fcn", AT_POSITIONS),
            Case(series(), restored(("a", "b"), 1.0, "time"), SERIES, "fcn", AT_POSITIONS),
            Case(series(), LETTERS, SERIES, "fcn", AT_FRAMES),
        ],
        "text": [
            text_case(CLASSES, "words", "textcnn", filters=4),
            text_case(TAGS, "characters", "convnet", **SMALL),
            text_case(NUMBERS, "bytes", "convnet", **SMALL),
            text_case(EACH_STEP, "words", "fcn", **AT_POSITIONS),
            text_case(TAGGED_STEPS, "words", "fcn", **AT_POSITIONS),
            text_case(LETTERS, "bytes", "fcn", **AT_FRAMES),
        ],
    }
    return {(modality, case.task.key): case for modality, each in found.items() for case in each}


CASES = cases()
MODALITIES = {"image": "images", "audio": "sound", "timeseries": "series", "text": "texts"}
COLUMNS = ("SavedModel", "Keras", "ONNX", "LiteRT", "OpenVINO")


def supported() -> str:
    """Return the table of docs/serving.md: the tasks of each modality, and what a format takes, a cell each."""
    rows = [("", "tasks", *COLUMNS), ("---",) * (2 + len(COLUMNS))]
    for modality, words in MODALITIES.items():
        tasks = ", ".join(task.replace("_", " ") for kind, task in CASES if kind == modality)
        plain = "token ids" if modality == "text" else "yes"
        rows.append((words, tasks, "yes", *[plain] * (len(COLUMNS) - 1)))
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def built(modality: str, task: str) -> tuple[keras.Model, Serving]:
    """Return the network of a modality and a task, with random weights, and what is needed to export it."""
    case = CASES[modality, task]
    keras.utils.set_random_seed(0)
    model = kzoo.create_model(case.name, case.preprocess.input_shape, case.task.outputs, **case.options)
    return model, Serving(modality, case.preprocess, case.task, case.examples)
