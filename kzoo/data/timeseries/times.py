"""Time stamps of a table: reading them, the step from one to the next, and those that follow the last."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from kzoo.core.lazy import np
from kzoo.core.shown import listed
from kzoo.data.tables import Table, is_number
from kzoo.data.timeseries.tables import TIMES

FORMATS = ("%Y-%m", "%Y %b", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y", "%d.%m.%Y %H:%M")
READ = "numbers, or dates such as 2016-07-01 13:00, 2016-07, 2016 Jul or 2016 Q3"
DAY, MONTHS = 86_400, 12  # seconds of a day, months of a year
MONTH_START, MONTH_END, SECONDS, NUMBERS = "months from their start", "months from their end", "seconds", "numbers"


@dataclass(frozen=True)
class Step:
    """The usual step from one time stamp to the next.

    Attributes:
        size: how many units.
        unit: seconds, numbers, or months, whose stamps have one distance to the start or to the end of their month.
    """

    size: float
    unit: str

    @property
    def season(self) -> int:
        """Steps of a season: of a day for shorter steps, 7 for days, 12 for months, 4 for quarters, otherwise 1."""
        if self.unit == NUMBERS:
            return 1
        whole = MONTHS if self.unit != SECONDS else 7 * DAY if self.size == DAY else DAY
        return int(whole // self.size) if self.size < whole and whole % self.size == 0 else 1

    @property
    def kind(self) -> str:
        """The unit, of months wherever their stamps lie."""
        return self.unit.split()[0]

    def __str__(self) -> str:
        parts = {"days": DAY, "hours": 3600, "minutes": 60, "seconds": 1} if self.unit == SECONDS else {self.kind: 1}
        unit, size = next((unit, size) for unit, size in parts.items() if self.size % size == 0 or size == 1)
        count = self.size / size
        return f"1 {unit[:-1]}" if count == 1 else f"{count:g} {unit}"

    def after(self, last, count: int) -> np.ndarray:
        """Return the time stamps of the steps that follow the last."""
        steps = np.arange(1, count + 1) * self.size
        if self.unit == NUMBERS:
            return last + steps
        if self.unit == SECONDS:
            return last + steps.astype("timedelta64[s]")
        ends = int(self.unit == MONTH_END)
        month = last.astype("datetime64[M]")
        distance = last - (month + ends).astype("datetime64[s]")
        return (month + steps.astype("timedelta64[M]") + ends).astype("datetime64[s]") + distance


def step_of(times: np.ndarray) -> tuple[Step, np.ndarray]:
    """Return the usual step of two or more ascending time stamps, and whether each is one step after the last."""
    if times.dtype.kind != "M":
        return median_step(times, NUMBERS)
    months = times.astype("datetime64[M]")
    late = (times - months).max() >= np.timedelta64(28, "D")  # which no day from the start is in each month
    for ends, unit in ((1, MONTH_END), (0, MONTH_START))[:: 1 if late else -1]:
        if len(np.unique(times - (months + ends).astype("datetime64[s]"))) == 1:
            return median_step(months.astype("int64"), unit)
    return median_step(times.astype("int64"), SECONDS)


def median_step(numbers: np.ndarray, unit: str) -> tuple[Step, np.ndarray]:
    """Return the median difference of ascending numbers as a step, and which differences it is."""
    differences = np.diff(numbers)
    size = np.sort(differences)[len(differences) // 2]
    return Step(float(size), unit), np.abs(differences - size) <= 1e-6 * size


def time_column(table: Table, named: str | None) -> str:
    """Return the column of the time stamps: the one named, called like one, or the first whose first cell is a date.

    Raises:
        ValueError: if there is none.
    """
    if named is not None:
        table.column(named)
        return named
    names = list(table.columns)
    dated = (name for name in names if not is_number(table.columns[name][0]) and parsed(table.columns[name][0]))
    found = next((name for name in names if name.casefold() in TIMES), None) or next(dated, None)
    if found is None:
        raise ValueError(f"no column of {table.name} holds times, of {listed(names, 10)}; name it: time=COLUMN")
    return found


def read_times(table: Table, column: str) -> np.ndarray:
    """Return the time stamps of a table, float64 or datetime64 in seconds, in ascending order without repetition.

    Raises:
        ValueError: naming the first row whose cell is empty or no time, or is not later than the row before it.
    """
    cells = table.filled(column)
    times = np.array(cells, "float64") if all(map(is_number, cells)) else dates(table, column, cells)
    wrong = np.flatnonzero(~(times[1:] > times[:-1]))
    if wrong.size:
        row, before = table.rows[wrong[0] + 1], table.rows[wrong[0]]
        repeated = times[wrong[0] + 1] == times[wrong[0]]
        what = "repeats the time of" if repeated else "is earlier than"
        raise ValueError(
            f"{table.name}: {row} ({cells[wrong[0] + 1]}) {what} {before} ({cells[wrong[0]]}); sort the rows by "
            f"{column}, one row a time"
        )
    return times


def dates(table: Table, column: str, cells: list) -> np.ndarray:
    """Return cells as datetime64; raise a ValueError that names the first row that holds no date."""
    found = list(map(parsed, cells))
    if None in found:
        wrong = found.index(None)
        raise ValueError(
            f"{table.name} has {str(cells[wrong])[:30]!r} in {table.rows[wrong]}, column {column}; expected {READ}"
        )
    return np.array(found, "datetime64[s]")


def parsed(cell) -> datetime | None:
    """Return a cell as a time, in UTC if it has a time zone; None if it is none."""
    text = str(cell).strip()
    quarter = re.fullmatch(r"(\d{4})[- ]?Q([1-4])", text)
    if quarter:
        return datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return first_format(text)
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def first_format(text: str) -> datetime | None:
    """Return a text as a time by the first format that reads it, None if none does."""
    for form in FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def written(times: np.ndarray, like) -> list[str]:
    """Return time stamps as text, with as many digits as a cell of the table if it is written in the same way."""
    if times.dtype.kind != "M":
        return [f"{time:.10g}" for time in times.tolist()]
    texts = [str(time).replace("T", " ") for time in times.astype("datetime64[s]")]
    own, cell = str(np.datetime64(parsed(like), "s")).replace("T", " "), str(like).strip()
    return [text[: len(cell)] for text in texts] if own.startswith(cell) else texts
