"""Datasets and their cards as tables: at a prompt, in `print` and in a notebook."""

from kzoo.core.lazy import rich_text
from kzoo.core.shown import Shown, table

MOST_CLASSES = 10  # that are listed by name


class SplitsTable(Shown):
    """Mixin: a dataset as the table of its splits, and what a model for it has to fit."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(examples):,} {name}" for name, examples in self.examples.items())
        return f"<Splits {self.name}: {counts}; input {self.input_shape}, {len(self.class_names)} {self.task.noun}>"

    def __rich_console__(self, console, options):
        rows = [
            (name, f"{len(examples):,}", shape_text(examples.inputs), str(examples.inputs.dtype))
            for name, examples in self.examples.items()
        ]
        first = ", ".join(self.class_names[:MOST_CLASSES])
        count = len(self.class_names)
        more = f" and {count - MOST_CLASSES} more" if count > MOST_CLASSES else ""
        words = f", vocab_size {self.vocab_size:,}" if self.vocab_size else ""
        yield rich_text.Text(f"{self.name}: {self.modality} data, task {self.task.key}")
        outputs = f"{count} {self.task.noun}: {first}{more}"
        yield rich_text.Text(f"model input {self.input_shape}{words}; {outputs}")
        yield rich_text.Text(f"preprocessing {type(self.preprocess).__name__}; augmentation {self.augment}")
        yield table(("split", "examples", "raw shape", "raw dtype"), rows)


class DatasetCardTable(Shown):
    """Mixin: the card of a dataset as lines of text."""

    def __repr__(self) -> str:
        return f"<DatasetCard {self.name}: {self.modality}, {self.task}, {self.description}>"

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.name}: {self.description}")
        yield rich_text.Text(f"modality: {self.modality}, task: {self.task}")
        yield rich_text.Text(f"source: {self.source}")


def shape_text(inputs) -> str:
    """Return the shape of one raw example, `28 x 28 x 1`, or that it has none."""
    return " x ".join(map(str, inputs.shape[1:])) or "varying"
