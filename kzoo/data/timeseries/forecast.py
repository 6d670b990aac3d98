"""Windows of one long table of series: a look-back, and the rows that follow it, which are to be forecast."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import keras, np
from kzoo.core.ranges import Extent
from kzoo.core.shown import listed
from kzoo.core.warn import warn_caller
from kzoo.data.sources import Source, hash_of
from kzoo.data.splits import Examples, RawData, register_dataset
from kzoo.data.tables import DELIMITERS, JSON_LINES, Table, is_empty, is_number, read_table, some
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
        columns: names of the channels that are forecast.
        time: name of the column with the time stamps.
        step: from one row to the next.
        mean: of all channels over the training rows.
        std: their standard deviation, likewise.
        known: names of further channels, which are known ahead; with them the rows of the horizon are in the windows.
    """

    columns: tuple[str, ...]
    time: str
    step: Step
    mean: tuple[float, ...]
    std: tuple[float, ...]
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForecastPreprocess:
    """From the look-back in raw units to the model's input, standardised by the training rows.

    Args:
        lookback: rows of the model's input.
        horizon: rows that are forecast.
        columns: names of the channels in a table that are forecast.
        time: name of the column with the time stamps.
        step_size: from one row to the next.
        step_unit: likewise; see `kzoo.data.timeseries.times.Step`.
        mean: of all channels over the training rows, in raw units.
        std: their standard deviation, likewise.
        known: names of further channels, whose values are known over the horizon. With them an input is look-back and
            horizon, (lookback + horizon, columns + known), and what its columns have in the horizon does not matter:
            their last value of the look-back takes its place.
    """

    lookback: int
    horizon: int
    columns: tuple[str, ...]
    time: str
    step_size: float
    step_unit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    known: tuple[str, ...] = ()
    raw_dtype: str = "float32"

    suffixes = (*DELIMITERS, *JSON_LINES, ".gz", ".parquet")

    @classmethod
    def fit(cls, train: WindowExamples) -> ForecastPreprocess:
        """Take everything from the training windows."""
        step, rows, horizon = train.step, train.inputs.shape[1], train.labels.shape[1]
        lookback, statistics = rows - horizon * bool(train.known), (train.mean, train.std, train.known)
        return cls(lookback, horizon, train.columns, train.time, step.size, step.unit, *statistics)

    @property
    def channels(self) -> int:
        """Channels of a raw window."""
        return len(self.columns + self.known)

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of the model's input."""
        return (self.lookback + self.horizon * bool(self.known), self.channels)

    raw_shape = input_shape

    @property
    def loader_options(self) -> dict:
        """Options with which a dataset's loader gives raw examples like those of the training."""
        return {name: getattr(self, name) for name in ("lookback", "horizon", "columns", "known", "time")}

    def __call__(self, raw):
        """Standardise a batch of raw windows; a tensor of a data pipeline, an array, or a symbolic Keras tensor."""
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        values = (keras.ops.cast(raw, "float32") - mean) / std
        return self.without_future(values) if self.known else values

    def without_future(self, values):
        """Return windows whose columns keep their last value of the look-back over the horizon."""
        before, after, columns = values[:, : self.lookback], values[:, self.lookback :], len(self.columns)
        last = keras.ops.repeat(before[:, -1:, :columns], self.horizon, axis=1)
        return keras.ops.concatenate([before, keras.ops.concatenate([last, after[..., columns:]], axis=-1)], axis=1)

    def read(self, path: str | Path) -> np.ndarray:
        """Read the last rows of a table, (lookback, channels), and with known columns those that follow.

        The rows that follow are those after the last one with a value to forecast.

        Raises:
            ValueError: if it is missing or damaged, lacks a column, has fewer rows or a gap in them, another step from
                row to row than in training, or lacks what is to be known of a row that follows.
        """
        table, times, past = self.opened(path)
        rows = channels_of(table.first(past), self.columns + self.known)[-self.lookback :]
        if len(rows) < max(self.lookback, 2):
            raise ValueError(f"{table.name} has {len(rows)} rows; this model looks back on {max(self.lookback, 2)}")
        step, joined = step_of(times)
        if (step.size, step.kind) != (self.step_size, self.step.kind):
            raise ValueError(f"{table.name} has a row each {step}; this model was trained on one each {self.step}")
        if not joined[past - self.lookback : past - 1].all():
            last = gaps_of(table.first(past), self.time, joined[: past - 1])[-1]
            raise ValueError(f"the last {self.lookback} rows of {table.name} have a gap, {last}; fill it first")
        return self.with_known(rows, table, past, joined[past - 1 :]) if self.known else rows

    def opened(self, path: str | Path) -> tuple[Table, np.ndarray, int]:
        """Return a table, its time stamps, and the number of its rows that have happened."""
        table = read_table(str(path))
        return table, read_times(table, self.time), happened(table, self.columns) if self.known else len(table.rows)

    def with_known(self, rows: np.ndarray, table: Table, past: int, joined: np.ndarray) -> np.ndarray:
        """Return a look-back and the rows that follow it, whose columns to forecast have their last value.

        Args:
            rows: the look-back.
            table: that it was read from.
            past: number of its rows up to the end of the look-back.
            joined: whether each row after it is one step after the row before.
        """
        count = int(np.cumprod(joined[: self.horizon]).sum())
        cells = {name: table.column(name)[past : past + count] for name in self.known}
        cells = {name: found + [None] * (self.horizon - count) for name, found in cells.items()}
        if any(is_empty(cell) for found in cells.values() for cell in found):
            raise self.unknown(table, past, cells)
        after = channels_of(Table(table.name, cells, table.rows[past : past + count]), self.known)
        return np.concatenate(
            [rows, np.hstack([np.repeat(rows[-1:, : len(self.columns)], self.horizon, axis=0), after])]
        )

    def unknown(self, table: Table, past: int, cells: Mapping[str, Sequence]) -> ValueError:
        """Return the error for cells of known columns that are missing after the look-back, naming their times."""
        times = self.times_after(table, past)
        empty = {
            name: [time for time, cell in zip(times, found, strict=True) if is_empty(cell)]
            for name, found in cells.items()
        }
        missing = "; ".join(f"{name} at {some(found)}" for name, found in empty.items() if found)
        last = table.column(self.time)[past - 1]
        return ValueError(
            f"{table.name} needs {', '.join(self.known)} for the {self.horizon} rows after {last}; missing: {missing}"
        )

    @property
    def step(self) -> Step:
        """The step from one row to the next."""
        return Step(self.step_size, self.step_unit)

    def times_after(self, table: Table, past: int) -> list[str]:
        """Return the time stamps of the forecast as text."""
        times = read_times(table, self.time)[:past]
        return written(step_of(times)[0].after(times[-1], self.horizon), table.column(self.time)[past - 1])

    def stated(self, path: str | Path) -> dict:
        """Return what a table says of its forecast: the time stamps of its steps."""
        table, _, past = self.opened(path)
        return {"times": self.times_after(table, past)}

    def sized(self, raw: np.ndarray) -> np.ndarray:
        """Return one raw window, which has the training's length."""
        return raw

    def draw(self, axes, raw: np.ndarray) -> None:
        """Draw one raw window, a line per channel."""
        axes.plot(raw[: self.lookback], linewidth=1)
        axes.set_axis_off()


@register_dataset("forecast:", "forecast", "your own files", Forecasting)
def forecast(
    path: str | Table,
    *,
    time: str | None = None,
    columns: str | Sequence[str] | None = None,
    known: str | Sequence[str] = (),
    lookback: Extent = 96,
    horizon: Extent = 24,
    split: Sequence[float] = SPLIT,
    season: Extent | None = None,
    quantiles: Sequence[float] = (),
) -> RawData:
    """One long table of series, a row for each time, to forecast the rows that follow: CSV, TSV, JSON lines or Parquet.

    An example is a window of `lookback` rows, its target the `horizon` rows after it. The splits follow each other in
    time; the look-backs of validation and test reach into the rows before theirs, their targets do not. No window
    spans a gap of the time stamps.

    Args:
        path: the table, in ascending order of time; the columns of a data frame have been read already.
        time: column of the time stamps; by default the one called time, date or similar, or the first with dates.
        columns: columns to forecast, each a channel of the input; by default all of numbers that are not known ahead.
        known: columns of numbers that are known ahead, such as the hour, holidays or a planned load: each is a channel
            of the input, over look-back and horizon. Rows after the last value to forecast are left out.
        lookback: rows that a forecast is made from.
        horizon: rows that are forecast.
        split: fractions of the rows for training, validation and test, or their numbers, such as [8640, 2880, 2880].
        season: rows of a season, for the seasonal naive forecast of reports; by default a day for shorter steps, 7 for
            days, 12 for months, 4 for quarters, otherwise 1.
        quantiles: for intervals, such as [0.1, 0.5, 0.9]: a network has an output for each.

    Raises:
        ValueError: for a table shorter than a window, an unknown column (with the closest one), a cell that is empty or
            no number, or time stamps that are repeated or not in order (each by its row).
    """
    table = path if isinstance(path, Table) else read_table(path)
    time, known = time_column(table, time), names_of(known)
    names = names_of(columns) or tuple(numeric(table, {time, *known}))
    check_known(table.name, names, known)
    table = table.first(happened(table, names)) if known else table
    rows, times = channels_of(table, names + known), read_times(table, time)
    if len(rows) < lookback + horizon:
        raise too_short(table.name, len(rows), f"lookback={lookback} and horizon={horizon} take", lookback + horizon)
    step, joined = step_of(times)
    warn_of_gaps(table, gaps_of(table, time, joined), step)
    ends = np.cumsum(sizes_of(split, len(rows), table.name))
    mean, std = statistics(table.name, names + known, rows[: ends[0]])
    gaps, follows = np.concatenate([[0], np.cumsum(~joined)]), horizon if known else 0
    cut = Cut(table.name, rows, gaps, lookback, horizon, len(names), follows)
    about = (names, time, step, mean, std, known)
    parts = [
        WindowExamples(*cut.windows(split, first, end), *about)
        for split, first, end in zip(("train", "validation", "test"), (0, *ends), ends, strict=False)
    ]
    own = slice(len(names))  # without those that are known ahead
    task = Forecasting(names, horizon, mean[own], std[own], season or step.season, known, tuple(map(float, quantiles)))
    return RawData(*parts, task.names, task=task)


def names_of(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of columns that are given as one name, as several or not at all."""
    return (columns,) if isinstance(columns, str) else tuple(columns or ())


def check_known(table: str, columns: Sequence[str], known: Sequence[str]) -> None:
    """Raise a ValueError for a column that is named twice, or is to be forecast and known ahead."""
    names = [*columns, *known]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        both = twice in columns and twice in known
        raise ValueError(f"column {twice!r} of {table} is named {'in columns= and in known=' if both else 'twice'}")


def happened(table: Table, columns: Sequence[str]) -> int:
    """Return the number of rows up to the last one that has a value in one of the columns."""
    filled = (row for name in columns for row, cell in enumerate(table.column(name), 1) if not is_empty(cell))
    return max(filled, default=0)


def numeric(table: Table, used: Collection[str]) -> list[str]:
    """Return the columns whose first filled cell is a number, without those that number the rows; name the others.

    Columns that are used otherwise are left out.
    """
    found, others = [], []
    for name, cells in table.columns.items():
        if name in used:
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
            f"{name}: all training rows have {mean[constant[0]]:g} in column {column}; leave it out of columns= or of "
            "known="
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
        columns: number of the first channels, which are forecast.
        follows: rows after the look-back that are in a window as well.
    """

    name: str
    rows: np.ndarray
    gaps: np.ndarray
    lookback: int
    horizon: int
    columns: int
    follows: int

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
        following = np.lib.stride_tricks.sliding_window_view(self.rows[:, : self.columns], self.horizon, axis=0)
        following = following.transpose(0, 2, 1)
        labels = following[targets[0] : targets[-1] + 1]
        starts = targets - self.lookback
        chosen = (starts, labels) if whole.all() else (starts[whole], labels[whole])
        return RowWindows(self.rows, chosen[0], self.lookback + self.follows), chosen[1]
