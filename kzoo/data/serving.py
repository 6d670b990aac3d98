"""Preprocessing, task and example inputs that are saved with a model and exported with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kzoo.core.archives import read_npz
from kzoo.core.arguments import check_arguments
from kzoo.core.files import read_json, reading, write_file, write_json
from kzoo.core.lazy import np
from kzoo.core.ranges import evenly_spaced
from kzoo.core.registry import lookup
from kzoo.data.splits import MODALITIES, Preprocess, Splits
from kzoo.tasks import Task, task_from

INPUT, IDS = "raw", "token_ids"  # names of the input of exported models: raw data, or token ids of texts
NETWORK_INPUT = "network_input"  # of those in integers whose preprocessing stays outside
EXAMPLES = 16  # raw validation examples that are saved with a model, to check its exports


class PlainInput(NamedTuple):
    """What a model without strings takes: its name, the shape of one example, None where any size will do, its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Serving:
    """What inference needs: the preprocessing, the task, and a few raw examples, random ones if they are not `real`."""

    modality: str
    preprocess: Preprocess
    task: Task
    examples: np.ndarray
    real: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each output of the network."""
        return self.task.names

    @classmethod
    def of(cls, splits: Splits) -> Serving:
        """Return the serving information of a dataset; its examples are evenly spaced over the validation split."""
        inputs = splits.examples["validation"].inputs
        examples = inputs[evenly_spaced(len(inputs), 1 if None in inputs.shape[1:] else EXAMPLES)]
        if examples.dtype == object:  # texts: never pickled, and not padded to the longest one
            examples = np.array([text[:10_000] for text in examples])
        return cls(splits.modality, splits.preprocess, splits.task, examples)

    def plain_input(self, any_size: bool) -> PlainInput:
        """Return the input of exports in formats without strings: raw data, or the token ids of texts.

        Args:
            any_size: leave open what the preprocessing brings to one size; what the network itself leaves open is.
        """
        step = self.preprocess
        if step.raw_dtype == "string":
            return PlainInput(IDS, step.input_shape, "int32")
        shape = step.raw_shape if any_size or None in step.input_shape else self.examples.shape[1:]
        return PlainInput(INPUT, shape, step.raw_dtype)

    def save(self, data: Path, examples: Path) -> None:
        """Write the examples as an .npz file and everything else as JSON."""
        write_json(data, self.to_dict())
        array = self.examples.astype("U") if self.examples.dtype == object else self.examples  # never pickled
        write_file(examples, lambda file: np.savez_compressed(file, examples=array))

    def to_dict(self) -> dict:
        """Return everything but the examples as JSON-serialisable values."""
        preprocess = dataclasses.asdict(self.preprocess)
        return {"modality": self.modality, "task": self.task.to_dict(), "preprocess": preprocess}

    @classmethod
    def load(cls, data: Path, examples: Path) -> Serving:
        """Read what `save` wrote."""
        content, arrays = read_json(data), read_npz(examples)
        with reading(data):
            modality, preprocess, task = content["modality"], preprocess_from(content), task_in(content)
        with reading(examples):
            return cls(modality, preprocess, task, arrays["examples"])


def network_outputs(network, preprocess: Preprocess, raw):
    """Return the outputs of a network for raw examples; those at each pixel are at the pixels of the raw images.

    Without training=False Keras's Resizing layer would turn training on for all layers after it.
    """
    outputs = network(preprocess(raw), training=False)
    return preprocess.unfit(outputs, raw) if hasattr(preprocess, "unfit") else outputs


def preprocess_from(content: dict) -> Preprocess:
    """Return the preprocessing that `Serving.to_dict` describes."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content["preprocess"].items()}
    preprocess = lookup("modality", content["modality"], MODALITIES).preprocess(**fields)
    check_arguments(type(preprocess), vars(preprocess), "preprocess.")
    return preprocess


def task_in(content: dict) -> Task:
    """Return the task in what `Serving.to_dict` describes; kzoo 1.0 wrote the class names of a classification alone."""
    old = {"name": "classification", "class_names": content.get("class_names")}
    return task_from(old if "class_names" in content else content["task"])
