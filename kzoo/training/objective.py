"""What a training minimises and measures: the loss and the metrics of the data's task, or of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from kzoo.core.lazy import keras
from kzoo.core.registry import check_keywords, did_you_mean
from kzoo.data.splits import Splits
from kzoo.training.recipes import Recipe

NO_NAMES = ("deserialize", "get", "serialize", "Loss", "Metric")  # of `keras.losses` and `keras.metrics`


def loss_of(data: Splits, recipe: Recipe) -> keras.losses.Loss | Callable:
    """Return the loss of a recipe, or that of the data's task with the recipe's options that are not the defaults.

    Raises:
        ValueError: for an unknown name, an option that the loss of this task does not have, or weights of examples with
            another loss of a task that has several targets an example.
    """
    options, task = recipe.loss_options(), data.task
    own = recipe.loss is None or (isinstance(recipe.loss, str) and task.has_loss(recipe.loss))
    if not own and options:
        raise ValueError(f"{', '.join(options)} are options of the task's own loss; leave out loss=, or put them in it")
    if not own and task.head == "positions" and data.examples["train"].weights is not None:
        raise ValueError(f"weights of examples need a loss of the task {task.key}; leave out loss= or the weights")
    if not own:
        return of_keras("loss", recipe.loss, keras.losses, task.losses)
    options |= {} if recipe.loss is None else {"loss": recipe.loss}
    check_keywords(f"option of the loss for {task.key},", options, task.loss)
    return task.loss(data.examples["train"].labels, **options)


def metrics_of(data: Splits, recipe: Recipe) -> list[keras.metrics.Metric]:
    """Return the metrics of the data's task, then those of the recipe.

    Raises:
        ValueError: for an unknown name, or two metrics of one name.
    """
    found = [*data.task.metrics(), *map(new_metric, recipe.metrics)]
    names = ["loss", *(metric.name for metric in found)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        own = ", ".join(metric.name for metric in data.task.metrics())
        raise ValueError(f"two metrics are called {twice!r}; {data.task.key} has loss, {own} already")
    return found


def new_metric(given) -> keras.metrics.Metric:
    """Return a metric as a user gave it, without state of an earlier training; of a function the metric of its mean.

    Keras numbers the names of metrics that have none of their own, so one that is given by name is called so.
    """
    metric = of_keras("metric", given, keras.metrics)
    if not isinstance(metric, keras.metrics.Metric):
        return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", "metric"))
    name = {"name": given} if isinstance(given, str) else {}
    try:
        return type(metric).from_config(metric.get_config() | name)
    except TypeError as error:
        raise ValueError(f"get_config() of metric {metric.name!r} must have what its class takes: {error}") from error


def of_keras(what: str, given, module, names: Sequence[str] = ()):
    """Return a loss or a metric that is given as an object of Keras, a function, a name, or Keras's description.

    Args:
        what: "loss" or "metric", for messages.
        given: by the user.
        module: `keras.losses` or `keras.metrics`.
        names: that the task has of its own, for messages.

    Raises:
        ValueError: for an unknown name, anything else, or one that takes probabilities in place of logits.
    """
    try:
        found = required(module.get(given))
    except (TypeError, ValueError) as error:
        known = [*names, *(name for name in vars(module) if name[0] != "_" and name not in NO_NAMES)]
        if isinstance(given, str):
            raise ValueError(f"unknown {what} {given!r}; {did_you_mean(given, known)}") from error
        raise ValueError(f"{what} must be a {what} of Keras, a function or a name, got {given!r}") from error
    if takes_probabilities(found):
        raise ValueError(
            f"{what} {given if isinstance(given, str) else shown(found)} takes probabilities, but networks return "
            f"logits; give an object of keras.{what}{'es' if what == 'loss' else 's'} with from_logits=True"
        )
    return found


def required(found):
    """Return what Keras found; raise a ValueError for None."""
    if found is None:
        raise ValueError("None")
    return found


def takes_probabilities(found) -> bool:
    """Return whether a loss or a metric says that it takes probabilities."""
    if hasattr(found, "get_config"):
        return found.get_config().get("from_logits") is False
    parameter = inspect.signature(found).parameters.get("from_logits")
    return parameter is not None and parameter.default is False


def shown(given) -> str:
    """Return the name of a function, or of an object's class."""
    return f"{given.__module__}.{getattr(given, '__qualname__', type(given).__qualname__)}"


def described(given):
    """Return a loss or a metric as it is written in a configuration: its name, or Keras's description."""
    if given is None or isinstance(given, (str, Mapping)):
        return given
    if isinstance(given, (keras.losses.Loss, keras.metrics.Metric)):
        return keras.saving.serialize_keras_object(given)
    return shown(given)


def settings_of(recipe: Recipe) -> dict:
    """Return all fields of a recipe as values that a configuration can hold."""
    own = {"loss": described(recipe.loss), "metrics": [described(metric) for metric in recipe.metrics]}
    return vars(recipe) | own
