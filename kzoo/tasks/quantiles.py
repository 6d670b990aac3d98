"""What regression and forecasting have in common: the loss, and quantiles as answers, which are intervals."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.core.lazy import np
from kzoo.tasks.task import keras_losses


def check_quantiles(levels: Sequence[float]) -> None:
    """Raise a ValueError unless quantiles ascend in (0, 1) and have the median in the middle; () for none is fine."""
    levels = list(levels)
    ascending = levels == sorted(set(levels)) and all(0 < level < 1 for level in levels)
    if levels and not (ascending and len(levels) % 2 and levels[len(levels) // 2] == 0.5):
        example = "ascending fractions in (0, 1) with 0.5 in the middle, such as [0.05, 0.5, 0.95]"
        raise ValueError(f"quantiles must be {example}, got {levels}")


def numeric_loss(loss: str | None, delta: float, quantiles: Sequence[float], columns: int = 1):
    """Return the loss of numbers: the pinball loss of quantiles, or one by its name, "mse" if there is none.

    Args:
        loss: "mse", "mae" or "huber".
        delta: of the Huber loss.
        quantiles: see `kzoo.tasks.losses.RegressionLoss`; so are `columns`.
        columns: see `quantiles`.

    Raises:
        ValueError: for a loss beside quantiles, or a delta beside another loss than Huber's.
    """
    if loss and quantiles:
        raise ValueError(f"with quantiles the loss is the pinball loss; leave out loss={loss!r}")
    if delta != 1 and loss != "huber":
        other = "the pinball loss" if quantiles else f"loss={loss or 'mse'!r}"
        raise ValueError(f"huber_delta={delta:g} is of loss='huber', not of {other}")
    return keras_losses.RegressionLoss(loss or "mse", quantiles, columns=columns, delta=float(delta))


def level_names(levels: Sequence[float]) -> tuple[str, ...]:
    """Return quantiles in percent, such as "10 %"."""
    return tuple(f"{100 * level:g} %" for level in levels)


def inside(true: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Return whether values lie between the outermost two quantiles, of which the fraction is the coverage."""
    return (true >= lowest) & (true <= highest)
