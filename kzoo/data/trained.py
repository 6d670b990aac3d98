"""The preprocessing and the task that a network was trained with, remembered on the model.

`kzoo.fit`, `kzoo.load_run` and the loading of published weights by name remember them; whatever shows other data to the
network uses them, not those of the data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TypeVar

from kzoo.core.lazy import keras, np
from kzoo.core.warn import warn_caller
from kzoo.data.serving import Serving
from kzoo.data.sources import mapped
from kzoo.data.splits import Examples, Preprocess, Splits
from kzoo.tasks import Classification, Segmentation, StepClassification, Task
from kzoo.tasks.task import check_names

Data = TypeVar("Data", Splits, Serving)
RAW = ("raw_dtype", "sample_rate", "channels")  # what raw data must have in common with those of the training
SHOWN = 3  # fields or classes that a message lists


@dataclasses.dataclass(frozen=True)
class TrainedWith:
    """What a network expects of data: their modality, its preprocessing, and its task, with the order of its outputs.

    `task` is None where nobody has named the outputs, as in most published weights; they are not compared then.
    """

    modality: str
    preprocess: Preprocess
    task: Task | None


def remember(model: keras.Model, data: Splits | Serving) -> None:
    """Remember on a model the preprocessing and the task of the data that it is trained on."""
    model.trained_with = TrainedWith(data.modality, data.preprocess, data.task)


def known_task(model: keras.Model) -> Task | None:
    """Return the task that a model remembers, None if it remembers none."""
    own = getattr(model, "trained_with", None)
    return own and own.task


def task_of(model: keras.Model) -> Task:
    """Return the task of a model; of one that remembers none, the classification of its outputs, named by index.

    Of outputs at each position, it is the classification of steps or pixels.
    """
    kind = {3: StepClassification, 4: Segmentation}.get(len(model.output_shape), Classification)
    return known_task(model) or kind(tuple(map(str, range(model.output_shape[-1]))))


def preprocess_of(like) -> Preprocess:
    """Return the preprocessing of a model that was trained or has pretrained weights, of a dataset, or one as it is.

    Raises:
        ValueError: for a model that was not trained, or anything else without a preprocessing.
    """
    found = getattr(getattr(like, "trained_with", like), "preprocess", like)
    if not hasattr(found, "raw_dtype"):
        name = getattr(like, "name", repr(like))
        raise ValueError(f"like={name} has no preprocessing; give a trained or pretrained model, or a dataset")
    return found


def adopted(own: Preprocess, fitted: Preprocess, options: Mapping) -> Preprocess:
    """Return a preprocessing for new data in place of the one that was fitted to them, with explicit options.

    Raises:
        ValueError: for data of another modality, or raw data that it does not take.
    """
    if type(own) is not type(fitted):
        raise ValueError(f"like= has a {type(own).__name__}, but the data need a {type(fitted).__name__}")
    for field in RAW:
        if getattr(own, field, None) != getattr(fitted, field, None):
            raise ValueError(f"like= takes {field} {getattr(own, field)}, but the data have {getattr(fitted, field)}")
    given = {name: getattr(fitted, name) for name in options if hasattr(fitted, name)}
    return dataclasses.replace(own, **given)


def common_task(models: Sequence[keras.Model]) -> Task:
    """Return the task of several models together.

    Raises:
        ValueError: for models of different tasks: of other classes, say, or of numbers that are standardised otherwise.
    """
    tasks = [task_of(model) for model in models if known_task(model)] or [task_of(models[0])]
    kinds = sorted({task.key for task in tasks})
    found = tasks[0].joined(tasks) if len(kinds) == 1 else None
    if found is None:
        differ = " and ".join(kinds) if len(kinds) > 1 else f"different {tasks[0].noun}, or their order or scale"
        raise ValueError(f"models can be joined if they were trained for one task; these are for {differ}")
    return found


def hand_on(models: Sequence[keras.Model], made: keras.Model) -> keras.Model:
    """Let a model that is made of others remember what all of them do, if they agree; return it."""
    first, *others = [getattr(model, "trained_with", None) for model in models]
    if first is not None and all(other and dataclasses.replace(other, task=first.task) == first for other in others):
        known = all(map(known_task, models))
        made.trained_with = dataclasses.replace(first, task=common_task(models) if known else None)
    return made


def warn_of_order(model: keras.Model, data: Splits) -> None:
    """Warn if a trained model is trained on with the same classes in another order, or with other preprocessing."""
    warn_of_preprocessing(model, data)
    own = getattr(model, "trained_with", None)
    if own is None or own.task is None or own.task.target_names == data.task.target_names:
        return
    if set(own.task.target_names) == set(data.task.target_names):
        warn_caller(
            f"{called(data)} has the {own.task.noun} in another order than {model.name} was trained with before; "
            f"from now on its outputs are in the order of {called(data)}"
        )


def warn_of_preprocessing(model: keras.Model, data: Splits) -> None:
    """Warn if a pretrained model is trained on data with another preprocessing, unless it was before."""
    own, expected = getattr(model, "trained_with", None), getattr(model, "preprocess", None)
    if expected in (None, data.preprocess) or (own and own.preprocess == data.preprocess):
        return
    fields = ", ".join(different_fields(data.preprocess, expected)[:SHOWN])
    warn_caller(
        f"{called(data)} has another preprocessing ({fields}) than the pretrained weights of {model.name}; "
        "kzoo.load_dataset(..., like=model) uses theirs"
    )


def as_trained(model: keras.Model, data: Data) -> Data:
    """Return data with the preprocessing and the order of classes that a model was trained with.

    A warning says in one line what differs. Data are returned as they are for a model that remembers nothing.

    Args:
        model: trained by `kzoo.fit`, loaded by `kzoo.load_run`, or made with the name of published weights.
        data: a dataset, or its serving information.

    Raises:
        ValueError: for data of another modality or other classes, or raw data that the preprocessing does not take.
    """
    own = getattr(model, "trained_with", None)
    if own is None:
        return data
    check_same_data(model, own, data)
    if own.task not in (None, data.task):
        data = with_task(model, own.task, data)
    if data.preprocess != own.preprocess:
        fields = ", ".join(different_fields(data.preprocess, own.preprocess)[:SHOWN])
        warn_caller(
            f"{called(data)} has another preprocessing ({fields}) than {model.name} was trained with; that of "
            f"{model.name} is used"
        )
        data = dataclasses.replace(data, preprocess=own.preprocess)
        inputs = data.examples if isinstance(data, Serving) else next(iter(data.examples.values())).inputs
        check_raw_shape(model.name, data.preprocess, called(data), inputs)
    return data


def called(data: Splits | Serving) -> str:
    """Return the name of a dataset for a message."""
    return getattr(data, "name", "the data")


def check_same_data(model: keras.Model, own: TrainedWith, data: Splits | Serving) -> None:
    """Raise a ValueError for data of another modality, of other raw values or of other classes than in training."""
    if data.modality != own.modality:
        raise ValueError(f"{model.name} was trained on {own.modality} data, but {called(data)} is {data.modality} data")
    for field in RAW:
        expected, found = getattr(own.preprocess, field, None), getattr(data.preprocess, field, None)
        if expected != found:
            raise ValueError(
                f"{model.name} was trained on data with {field} {expected}, but {called(data)} has {field} {found}"
            )
    if own.task is not None:
        check_task(model.name, own.task, called(data), data.task)


def check_task(model: str, own: Task, dataset: str, other: Task, *, lacking: bool = False) -> None:
    """Raise a ValueError if a network, by name, was trained for another task than a dataset's, or with other classes.

    With `lacking` the dataset need not have all of the classes.
    """
    if own.key != other.key:
        raise ValueError(f"{model} was trained for {own.key}, but {dataset} is for {other.key}")
    check_names(model, own, dataset, {*other.target_names, *own.target_names} if lacking else other.target_names)


def check_raw(model: str, preprocess: Preprocess, data: str, examples: Examples) -> None:
    """Raise a ValueError for raw examples of another type, sample rate or shape than a model's preprocessing takes.

    Args:
        model: its name.
        preprocess: its preprocessing.
        data: the name of the dataset.
        examples: of the dataset.
    """
    texts = examples.inputs.dtype.kind in "OSU"
    found = {"raw_dtype": "string" if texts else str(examples.inputs.dtype)}
    found["sample_rate"] = getattr(examples, "sample_rate", None)
    for field, value in found.items():
        expected = getattr(preprocess, field, None)
        if value != expected:
            raise ValueError(f"{model} was trained on data with {field} {expected}, but {data} has {field} {value}")
    check_raw_shape(model, preprocess, data, examples.inputs)


def check_raw_shape(model: str, preprocess: Preprocess, data: str, inputs: np.ndarray) -> None:
    """Raise a ValueError for raw examples of a shape that a model's preprocessing does not take."""
    expected, found = tuple(preprocess.raw_shape), tuple(inputs.shape[1:])
    if len(expected) != len(found) or any(
        size not in (None, given) for size, given in zip(expected, found, strict=True)
    ):
        raise ValueError(f"{model} takes raw examples of shape {expected}, but {data} has {found}")


def with_task(model: keras.Model, task: Task, data: Data) -> Data:
    """Return data whose targets are those of a model's task; warn if the same classes are in another order."""
    if task.target_names != data.task.target_names:
        others = f"{called(data)} has the {task.noun} in another order than {model.name}"
        warn_caller(f"{others}; that of {model.name} is used")
    changes = {"task": task}
    if isinstance(data, Splits):
        matched = functools.partial(task.matched, data.task)
        changes["examples"] = {
            split: dataclasses.replace(examples, labels=mapped(examples.labels, matched))
            for split, examples in data.examples.items()
        }
    return dataclasses.replace(data, **changes)


def different_fields(one: Preprocess, other: Preprocess) -> list[str]:
    """Return the names of the fields in which two preprocessings differ."""
    names = [field.name for field in dataclasses.fields(one)]
    return [name for name in names if getattr(one, name) != getattr(other, name)]
