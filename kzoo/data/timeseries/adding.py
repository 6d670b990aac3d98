"""The adding problem, which needs a memory of hundreds of steps."""

from __future__ import annotations

from kzoo.core.lazy import np
from kzoo.core.ranges import Extent
from kzoo.data.splits import RawData, register_dataset
from kzoo.data.timeseries.files import SeriesExamples
from kzoo.tasks import Regression


@register_dataset(
    "adding_problem", "timeseries", "S. Hochreiter, J. Schmidhuber, 1997; made by a formula", task=Regression
)
def adding_problem(*, length: Extent = 600, examples: Extent = 50_000) -> RawData:
    """Two of 600 numbers are marked: what is their sum?

    The first channel has uniform random numbers in [0, 1), the second a 1 at two random steps and 0 elsewhere. A
    network that always answers 1 has a mean squared error of 1/6. The examples are the same every time.

    Args:
        length: steps of a series, at least 2.
        examples: of the train split; validation and test have 1,000 each.
    """
    parts = [marked(np.random.default_rng(seed), count, length) for seed, count in enumerate((examples, 1000, 1000))]
    return RawData(*parts, ("sum",), task=Regression(("sum",)))


def marked(rng: np.random.Generator, count: int, length: int) -> SeriesExamples:
    """Return series of numbers and marks, and the sums of the two marked numbers of each."""
    if length < 2:
        raise ValueError(f"length must be at least 2, two marked steps, got {length}")
    values, marks = rng.random((count, length), "float32"), np.zeros((count, length), "float32")
    first, gap = rng.integers(length, size=count), rng.integers(1, length, size=count)
    rows, second = np.arange(count), (first + gap) % length
    marks[rows, first] = marks[rows, second] = 1
    sums = values[rows, first].astype("float64") + values[rows, second]
    return SeriesExamples(np.stack([values, marks], axis=-1), sums[:, None])
