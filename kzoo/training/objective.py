"""What a training minimises and measures: the loss and the metrics of the data's task, or of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kzoo.core.lazy import keras
from kzoo.core.registry import check_keywords, lookup
from kzoo.data.splits import Splits
from kzoo.training.recipes import Recipe


def loss_of(data: Splits, recipe: Recipe) -> keras.losses.Loss | Callable:
    """Return the loss of a recipe, or that of the data's task with the recipe's options that are not the defaults.

    Raises:
        ValueError: for an unknown name, or an option that the loss of this task does not have.
    """
    options, task = recipe.loss_options(), data.task
    if recipe.loss is not None and recipe.loss not in task.losses:
        if options:
            raise ValueError(
                f"{', '.join(options)} are options of the task's own loss; leave out loss=, or put them in it"
            )
        return of_keras("loss", recipe.loss, keras.losses, task.losses)
    if recipe.loss is not None:
        options["loss"] = recipe.loss
    check_keywords(f"option of the loss for {task.key},", options, task.loss)
    return task.loss(data.examples["train"].labels, **options)


def metrics_of(data: Splits, recipe: Recipe) -> list[keras.metrics.Metric]:
    """Return the metrics of the data's task, then those of the recipe."""
    own = [of_keras("metric", metric, keras.metrics) for metric in recipe.metrics]
    return [*data.task.metrics(), *(new(metric) for metric in own)]


def new(metric) -> keras.metrics.Metric:
    """Return a metric without state of an earlier training; a function becomes the metric of its mean."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", "metric"))


def of_keras(what: str, given, module, names: tuple[str, ...] = ()):
    """Return a loss or a metric that is given as an object of Keras, a function, a name, or Keras's description.

    Args:
        what: "loss" or "metric", for messages.
        given: by the user.
        module: `keras.losses` or `keras.metrics`.
        names: that the task has of its own, for messages.

    Raises:
        ValueError: for an unknown name, or anything else.
    """
    if isinstance(given, Mapping):
        return module.deserialize(dict(given))
    if isinstance(given, str):
        helpers = ("get", "serialize", "deserialize")
        known = {name: None for name in (*names, *vars(module)) if name.islower() and name not in helpers}
        lookup(what, given, known)
        return module.get(given)
    if not callable(given):
        raise ValueError(f"{what} must be a {what} of Keras, a function or a name, got {given!r}")
    return given


def described(given):
    """Return a loss or a metric as it is written in a configuration: its name, or Keras's description."""
    if given is None or isinstance(given, (str, Mapping)):
        return given
    if isinstance(given, (keras.losses.Loss, keras.metrics.Metric)):
        return keras.saving.serialize_keras_object(given)
    return f"{given.__module__}.{getattr(given, '__qualname__', type(given).__qualname__)}"


def settings_of(recipe: Recipe) -> dict:
    """Return all fields of a recipe as values that a configuration can hold."""
    own = {"loss": described(recipe.loss), "metrics": [described(metric) for metric in recipe.metrics]}
    return vars(recipe) | own
