"""Anomaly detection by reconstruction error: how well that of an auto-encoder tells anomalies from normal examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras, metrics, np, rich_text
from kzoo.core.numbers import percent
from kzoo.core.shown import Shown
from kzoo.data.serving import Serving
from kzoo.data.splits import Splits
from kzoo.data.trained import as_trained
from kzoo.nn.inspection import BATCH
from kzoo.tasks import Restoration
from kzoo.tasks.task import bootstrap


@dataclass(frozen=True, repr=False)
class AnomalyReport(Shown):
    """How well reconstruction errors tell anomalies from normal examples.

    Attributes:
        errors: of each example, the mean of the squared errors in the unit of the network.
        anomalies: number of examples that are anomalies.
        auc: area under the ROC curve, in [0, 1].
        auc_interval: its 95 % confidence interval, of a bootstrap of the examples.
        partial_auc: area under the part of the curve up to `max_fpr`, scaled so that 0.5 is chance and 1 is best
            (McClish, 1989, https://doi.org/10.1177/0272989X8900900307).
        partial_auc_interval: its interval, likewise.
        max_fpr: largest false positive rate of that part.
    """

    errors: np.ndarray
    anomalies: int
    auc: float
    auc_interval: tuple[float, float]
    partial_auc: float
    partial_auc_interval: tuple[float, float]
    max_fpr: float

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.anomalies:,} anomalies among {len(self.errors):,} examples")
        for name, value, ends in (
            ("AUC", self.auc, self.auc_interval),
            (
                f"partial AUC up to a false positive rate of {self.max_fpr:g}",
                self.partial_auc,
                self.partial_auc_interval,
            ),
        ):
            yield rich_text.Text(f"{name} {percent(value)} (95 % interval {' to '.join(map(percent, ends))})")


def detect_anomalies(
    model: keras.Model, data: Splits | Serving, inputs: np.ndarray, anomalous: Sequence[bool], *, max_fpr: float = 0.1
) -> AnomalyReport:
    """Score examples by the error with which a network reconstructs them, and compare the scores with the truth.

    The network was trained to return its input, on normal examples alone.

    Args:
        model: trained for the task restoration, with targets equal to the inputs.
        data: it was trained on, or its `Serving` (`kzoo.load_run`).
        inputs: raw examples, as those of the data.
        anomalous: which of them are anomalies.
        max_fpr: largest false positive rate of the partial AUC, in (0, 1]; 0.1 is that of DCASE and MLPerf Tiny.

    Raises:
        ValueError: for a network of another task, as many truths as examples, or examples of one kind alone.
    """
    truth, serving = np.asarray(anomalous), as_trained(model, data)
    if not isinstance(serving.task, Restoration):
        raise ValueError(f"detect_anomalies is for the task restoration, not for {serving.task.key}")
    if truth.shape != (len(inputs),) or set(truth.tolist()) != {0, 1}:
        raise ValueError(
            f"anomalous must be true or false, some of each, for {len(inputs)} examples, got {truth!r:.80}"
        )
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must lie in (0, 1], got {max_fpr!r}")
    errors = reconstruction_errors(model, serving, np.asarray(inputs))

    def areas(truth: np.ndarray, errors: np.ndarray) -> np.ndarray:
        if len(set(truth.tolist())) < 2:
            return np.full(2, np.nan)
        return np.array([metrics.roc_auc_score(truth, errors, max_fpr=limit) for limit in (None, max_fpr)])

    found, (low, high) = areas(truth, errors).tolist(), bootstrap(areas, truth, errors, draws=200)
    ends = list(zip(low, high, strict=True))
    return AnomalyReport(errors, int(truth.sum()), found[0], ends[0], found[1], ends[1], max_fpr)


def reconstruction_errors(model: keras.Model, serving: Splits | Serving, inputs: np.ndarray) -> np.ndarray:
    """Return the mean squared difference of each raw example to what the network makes of it, in the network's unit."""
    found = []
    for start in range(0, len(inputs), BATCH):
        raw = inputs[start : start + BATCH]
        outputs = keras.ops.convert_to_numpy(model(serving.preprocess(raw), training=False))
        found.append(np.mean((outputs - serving.task.encode(raw)) ** 2, axis=tuple(range(1, outputs.ndim))))
    return np.concatenate(found)
