"""Loss weights of classes and tags: balanced, or given by index or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kzoo.core.lazy import np
from kzoo.core.registry import lookup

BALANCED = "balanced"


def balanced_weights(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    """Return class weights inversely proportional to the class frequencies: n / (num_classes x examples of the class).

    Args:
        labels: class indices of the training examples, (n,).
        num_classes: number of classes.

    Raises:
        ValueError: for a class without an example.
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if not counts.all():
        raise ValueError(f"balanced class_weights need an example of each class; class {counts.argmin()} has none")
    return tuple((len(labels) / (num_classes * counts)).tolist())


def weight_per_class(
    weights: Sequence[float] | Mapping[int | str, float], class_names: Sequence[str]
) -> tuple[float, ...]:
    """Return one loss weight for each class, in the order of the classes.

    Args:
        weights: one number for each class, or numbers by class index or class name; classes that a mapping leaves out
            weigh 1.
        class_names: in the order of the class indices.

    Raises:
        ValueError: for an unknown class, one given both by its index and by its name, or a wrong count of numbers.
    """
    if not isinstance(weights, Mapping):
        if len(weights) != len(class_names):
            raise ValueError(
                f"class_weights must be one number for each of {len(class_names)} classes, got {len(weights)}"
            )
        return tuple(weights)
    by_index = {}
    for key, weight in weights.items():
        index = class_index(key, class_names)
        if index in by_index:
            raise ValueError(f"class_weights name class {index} ({class_names[index]}) twice, by index and by name")
        by_index[index] = weight
    return tuple(by_index.get(index, 1.0) for index in range(len(class_names)))


def class_index(key: int | str, class_names: Sequence[str]) -> int:
    """Return the index of a class that is given by its index or its name; raise a ValueError for an unknown one."""
    if isinstance(key, str):
        return lookup("class in class_weights", key, {name: index for index, name in enumerate(class_names)})
    if not 0 <= key < len(class_names):
        raise ValueError(f"unknown class index in class_weights {key}; expected 0 to {len(class_names) - 1}")
    return key
