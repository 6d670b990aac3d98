"""Weights of examples: what the training loss of each is multiplied by; nothing else uses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kzoo.core.lazy import np
from kzoo.data.arrays import to_array
from kzoo.data.splits import Examples
from kzoo.data.tables import Table, is_number


def read_weights(weights: Sequence, count: int) -> np.ndarray:
    """Return the weights of an array, float32.

    Raises:
        ValueError: unless there is a number from 0 for each training example.
    """
    array = to_array(weights)
    if array.shape != (count,):
        raise ValueError(f"weights has shape {array.shape}; expected one for each of the {count} training examples")
    wrong = [cell for cell in array.tolist() if not is_number(cell)]
    if wrong:
        raise ValueError(f"weights has {wrong[0]!r}; expected numbers from 0")
    return from_zero(array.astype("float64"), lambda index: f"training example {index}")


def weight_cells(table: Table, column: str) -> np.ndarray:
    """Return the weights in a column, float32.

    Raises:
        ValueError: naming the first row whose cell is no number from 0.
    """
    return from_zero(table.numbers(column), lambda index: f"{table.rows[index]} of {table.name}")


def from_zero(values: np.ndarray, which: Callable[[int], str]) -> np.ndarray:
    """Return weights as float32; a ValueError names the first that is negative or not finite."""
    found = values.astype("float32")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if wrong.size:
        raise ValueError(f"{which(wrong[0])} has the weight {values[wrong[0]]:g}; expected a number from 0")
    return found


def check_some_weight(train: Examples) -> None:
    """Raise a ValueError if all training examples have the weight 0, so that nothing would be learned."""
    if train.weights is not None and not train.weights.any():
        raise ValueError(f"all {len(train):,} training examples have the weight 0; expected some above 0")
