"""What a trained model needs to be served, without the dataset it was trained on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.files import write_file, write_json
from kzoo.core.lazy import np
from kzoo.core.registry import lookup
from kzoo.data.splits import MODALITIES, Preprocess, Splits

EXAMPLES = 16  # raw validation examples that travel with a model, to check its exports on


@dataclass(frozen=True)
class Serving:
    """The step from raw data to the model, the names of its outputs, and a few raw examples."""

    modality: str
    preprocess: Preprocess
    class_names: tuple[str, ...]
    examples: np.ndarray

    @classmethod
    def of(cls, splits: Splits) -> Serving:
        """Take what is needed from a dataset."""
        examples = splits.examples["validation"].inputs[:EXAMPLES]
        if examples.dtype == object:  # texts: never pickled, and not padded to the longest of all
            examples = np.array([text[:10_000] for text in examples])
        return cls(splits.modality, splits.preprocess, splits.class_names, examples)

    def save(self, data: Path, examples: Path) -> None:
        """Write everything but the examples as JSON, the examples as an .npz file."""
        write_json(data, self.to_dict())
        array = self.examples.astype("U") if self.examples.dtype == object else self.examples  # never pickled
        write_file(examples, lambda file: np.savez_compressed(file, examples=array))

    def to_dict(self) -> dict:
        """Return everything but the examples, as plain numbers and words."""
        step = dataclasses.asdict(self.preprocess)
        return {"modality": self.modality, "class_names": self.class_names, "preprocess": step}

    @classmethod
    def load(cls, data: Path, examples: Path) -> Serving:
        """Read what `save` wrote."""
        content = json.loads(data.read_text())
        with np.load(examples, allow_pickle=False) as file:
            return cls(content["modality"], preprocess_from(content), tuple(content["class_names"]), file["examples"])


def preprocess_from(content: dict) -> Preprocess:
    """Return the step from raw data to the model that `Serving.to_dict` described."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content["preprocess"].items()}
    return lookup("modality", content["modality"], MODALITIES).preprocess(**fields)
