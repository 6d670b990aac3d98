"""Windows of one long table of series: a look-back, and the rows that follow it, which are to be forecast."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import keras, np
from kzoo.core.ranges import Extent
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.sources import Source, hash_of
from kzoo.data.splits import Examples, RawData, register_dataset
from kzoo.data.tables import DELIMITERS, JSON_LINES, Table, is_empty, is_number, read_table
from kzoo.data.timeseries.tables import counts
from kzoo.data.timeseries.times import Step, read_times, step_of, time_column, written
from kzoo.tasks.forecasting import Forecasting

SPLIT = (0.7, 0.1, 0.2)
GAPS = 3  # that a message names


@dataclass(frozen=True, eq=False)
class RowWindows(Source):
    """Windows of the rows of one table, each a view of it.

    Args:
        rows: of the whole table, float32 (rows, channels).
        starts: the first row of each window.
        length: rows of a window.
    """

    rows: np.ndarray
    starts: np.ndarray
    length: int
    cacheable = False  # what is read lies in memory

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.starts), self.length, self.rows.shape[1])

    @property
    def dtype(self):
        return self.rows.dtype

    def read(self, index: int) -> np.ndarray:
        return self.rows[self.starts[index] :][: self.length]

    def take(self, indices: np.ndarray) -> RowWindows:
        return dataclasses.replace(self, starts=self.starts[indices])

    def fingerprint(self) -> str:
        return hash_of(self.rows.tobytes(), self.starts.tobytes(), str(self.length))


@dataclass(frozen=True, repr=False)
class WindowExamples(Examples):
    """Windows of a table with the rows that follow each, float32 (n, horizon, channels), and what a model must know.

    Attributes:
        columns: names of the channels.
        time: name of the column with the time stamps.
        step: from one row to the next.
        mean: of the channels over the training rows.
        std: their standard deviation, likewise.
    """

    columns: tuple[str, ...]
    time: str
    step: Step
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ForecastPreprocess:
    """From the look-back in raw units to the model's input, standardised by the training rows.

    Args:
        lookback: rows of the model's input.
        horizon: rows that are forecast.
        columns: names of the channels in a table.
        time: name of the column with the time stamps.
        step_size: from one row to the next.
        step_unit: likewise; see `kzoo.data.timeseries.times.Step`.
        mean: of the channels over the training rows, in raw units.
        std: their standard deviation, likewise.
    """

    lookback: int
    horizon: int
    columns: tuple[str, ...]
    time: str
    step_size: float
    step_unit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw_dtype: str = "float32"

    suffixes = (*DELIMITERS, *JSON_LINES, ".gz", ".parquet")

    @classmethod
    def fit(cls, train: WindowExamples) -> ForecastPreprocess:
        """Take everything from the training windows."""
        step, (lookback, horizon) = train.step, (train.inputs.shape[1], train.labels.shape[1])
        return cls(lookback, horizon, train.columns, train.time, step.size, step.unit, train.mean, train.std)

    @property
    def channels(self) -> int:
        """Channels of a raw window."""
        return len(self.columns)

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of the model's input."""
        return (self.lookback, self.channels)

    raw_shape = input_shape

    @property
    def loader_options(self) -> dict:
        """Options with which a dataset's loader gives raw examples like those of the training."""
        return {name: getattr(self, name) for name in ("lookback", "horizon", "columns", "time")}

    def __call__(self, raw):
        """Standardise a batch of raw windows; a tensor of a data pipeline, an array, or a symbolic Keras tensor."""
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        return (keras.ops.cast(raw, "float32") - mean) / std

    def read(self, path: str | Path) -> np.ndarray:
        """Read the last rows of a table, (lookback, channels).

        Raises:
            ValueError: if it is missing or damaged, lacks a column, has fewer rows or a gap in them, or another step
                from row to row than in training.
        """
        table = read_table(str(path))
        times = read_times(table, self.time)
        rows = channels_of(table, self.columns)[-self.lookback :]
        if len(rows) < max(self.lookback, 2):
            raise ValueError(f"{table.name} has {len(rows)} rows; this model looks back on {max(self.lookback, 2)}")
        step, joined = step_of(times)
        if (step.size, step.kind) != (self.step_size, self.step.kind):
            raise ValueError(f"{table.name} has a row each {step}; this model was trained on one each {self.step}")
        if not joined[len(joined) + 1 - self.lookback :].all():
            last = gaps_of(table, self.time, joined)[-1]
            raise ValueError(f"the last {self.lookback} rows of {table.name} have a gap, {last}; fill it first")
        return rows

    @property
    def step(self) -> Step:
        """The step from one row to the next."""
        return Step(self.step_size, self.step_unit)

    def known(self, path: str | Path) -> dict:
        """Return what a table says of its forecast: the time stamps of its steps."""
        table = read_table(str(path))
        times = read_times(table, self.time)
        ahead = step_of(times)[0].after(times[-1], self.horizon)
        return {"times": written(ahead, table.column(self.time)[-1])}

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw window, which has the training's length."""
        return raw

    def draw(self, axes, raw: np.ndarray) -> None:
        """Draw one raw window, a line per channel."""
        axes.plot(raw, linewidth=1)
        axes.set_axis_off()


@register_dataset("forecast:", "forecast", "your own files", Forecasting)
def forecast(
    path: str,
    *,
    time: str | None = None,
    columns: str | Sequence[str] | None = None,
    lookback: Extent = 96,
    horizon: Extent = 24,
    split: Sequence[float] = SPLIT,
    season: Extent | None = None,
) -> RawData:
    """One long table of series, a row for each time, to forecast the rows that follow: CSV, TSV, JSON lines or Parquet.

    An example is a window of `lookback` rows, its target the `horizon` rows after it. The splits follow each other in
    time; the look-backs of validation and test reach into the rows before theirs, their targets do not. No window
    spans a gap of the time stamps.

    Args:
        path: the table, in ascending order of time.
        time: column of the time stamps; by default the one called time, date or similar, or the first with dates.
        columns: columns to forecast, each a channel of the input; by default all of numbers.
        lookback: rows that a forecast is made from.
        horizon: rows that are forecast.
        split: fractions of the rows for training, validation and test, or their numbers, such as [8640, 2880, 2880].
        season: rows of a season, for the seasonal naive forecast of reports; by default a day for shorter steps, 7 for
            days, 12 for months, 4 for quarters, otherwise 1.

    Raises:
        ValueError: for a table shorter than a window, an unknown column (with the closest one), a cell that is empty or
            no number, or time stamps that are repeated or not in order (each by its row).
    """
    table = read_table(path)
    time = time_column(table, time)
    names = (columns,) if isinstance(columns, str) else tuple(columns or numeric(table, time))
    rows, times = channels_of(table, names), read_times(table, time)
    if len(rows) < lookback + horizon:
        raise too_short(table.name, len(rows), f"lookback={lookback} and horizon={horizon} take", lookback + horizon)
    step, joined = step_of(times)
    warn_of_gaps(table, gaps_of(table, time, joined), step)
    ends = np.cumsum(sizes_of(split, len(rows), table.name))
    mean, std = statistics(table.name, names, rows[: ends[0]])
    cut = Cut(table.name, rows, np.concatenate([[0], np.cumsum(~joined)]), lookback, horizon)
    about = (names, time, step, mean, std)
    parts = [
        WindowExamples(*cut.windows(split, first, end), *about)
        for split, first, end in zip(("train", "validation", "test"), (0, *ends), ends, strict=False)
    ]
    task = Forecasting(names, horizon, mean, std, season or step.season)
    return RawData(*parts, task.names, task=task)


def numeric(table: Table, time: str) -> list[str]:
    """Return the columns whose first filled cell is a number, without those that number the rows; name the others."""
    found, others = [], []
    for name, cells in table.columns.items():
        if name == time:
            continue
        first = next((cell for cell in cells if not is_empty(cell)), None)
        numbers = name.isdecimal() or name.casefold() in ("index", "unnamed: 0")
        index = numbers and counts([str(cell) for cell in cells])
        (found if is_number(first) and not index else others).append(name)
    if not found:
        raise ValueError(f"{table.name} has no column of numbers, of {listed(list(table.columns), 10)}")
    if others:
        warn_caller(f"{table.name}: {listed(others)} hold no numbers to forecast, and are left out")
    return found


def channels_of(table: Table, names: Sequence[str]) -> np.ndarray:
    """Return columns as float32 (rows, channels)."""
    return np.stack([table.numbers(name) for name in names], axis=1)


def too_short(name: str, has: int, what: str, takes: int) -> ValueError:
    """Return the error for a table or a split without a window."""
    return ValueError(f"{name} has {has:,} rows, but {what} {takes:,}; give smaller ones, or another split=")


def sizes_of(split: Sequence[float], count: int, name: str) -> np.ndarray:
    """Return the rows of each split.

    Raises:
        ValueError: unless they are three positive numbers of at most the table's rows, or fractions of at most 1.
    """
    sizes, whole = np.asarray(split, "float64"), np.sum(split) > 1 + 1e-9
    if len(sizes) != 3 or (sizes <= 0).any() or (whole and (sizes != sizes.round()).any()):
        raise ValueError(f"split must be three fractions such as {list(SPLIT)}, or numbers of rows, got {list(split)}")
    if sizes.sum() > count and whole:
        raise ValueError(f"split={list(split)} takes {sizes.sum():,.0f} rows, but {name} has {count:,}")
    return sizes.astype(int) if whole else np.diff(np.round(np.cumsum([0, *sizes]) * count)).astype(int)


def statistics(name: str, columns: Sequence[str], rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel; raise a ValueError that names a constant one."""
    mean, std = rows.mean(axis=0, dtype="float64"), rows.std(axis=0, dtype="float64")
    constant = np.flatnonzero(std <= 1e-7 * np.abs(mean))
    if constant.size:
        column = columns[constant[0]]
        raise ValueError(
            f"{name}: all training rows have {mean[constant[0]]:g} in column {column}; leave it out of columns="
        )
    return tuple(mean.tolist()), tuple(std.tolist())


def gaps_of(table: Table, time: str, joined: np.ndarray) -> list[str]:
    """Return where rows are not one step after the row before, in words."""
    cells = table.column(time)
    rows = [f"{row} ({cell})" for row, cell in zip(table.rows, cells, strict=True)] if not joined.all() else []
    return [f"{rows[index]} to {rows[index + 1]}" for index in np.flatnonzero(~joined)]


def warn_of_gaps(table: Table, gaps: Sequence[str], step: Step) -> None:
    """Warn of rows that are not one step after the row before."""
    if gaps:
        more = f" and {len(gaps) - GAPS} more" if len(gaps) > GAPS else ""
        where = ", ".join(gaps[:GAPS])
        warn_caller(
            f"{table.name} has {len(gaps)} gaps where rows are not {step} apart: {where}{more}; no window spans one"
        )


@dataclass(frozen=True)
class Cut:
    """How a table is cut into windows.

    Args:
        name: of the table, for messages.
        rows: (rows, channels).
        gaps: number of gaps before each row.
        lookback: rows of a window.
        horizon: rows after it.
    """

    name: str
    rows: np.ndarray
    gaps: np.ndarray
    lookback: int
    horizon: int

    def windows(self, split: str, first: int, end: int) -> tuple[RowWindows, np.ndarray]:
        """Return the windows of a split whose targets are rows from `first` to before `end`, and these targets.

        Raises:
            ValueError: if there is none.
        """
        targets = np.arange(max(first, self.lookback), end - self.horizon + 1)
        if not len(targets):
            before = self.lookback if first == 0 else 0
            what = f"lookback={before} and horizon={self.horizon} take" if before else f"horizon={self.horizon} takes"
            raise too_short(f"the {split} split of {self.name}", end - first, what, before + self.horizon)
        whole = self.gaps[targets + self.horizon - 1] == self.gaps[targets - self.lookback]
        if not whole.any():
            size = self.lookback + self.horizon
            raise ValueError(
                f"{self.name} has no {size:,} rows without a gap in its {split} split; fill the gaps first"
            )
        following = np.lib.stride_tricks.sliding_window_view(self.rows, self.horizon, axis=0).transpose(0, 2, 1)
        labels = following[targets[0] : targets[-1] + 1]
        starts = targets - self.lookback
        chosen = (starts, labels) if whole.all() else (starts[whole], labels[whole])
        return RowWindows(self.rows, chosen[0], self.lookback), chosen[1]
