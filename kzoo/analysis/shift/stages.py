"""How equivariant the features of a network are: whether they move as its input does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kzoo.analysis.visualize.inside import outputs, stages
from kzoo.core.lazy import keras, np
from kzoo.zoo.profile import LayerProfile, layer_profiles


class StageError(NamedTuple):
    """How far the features of a stage are from moving with the input.

    An error compares what the stage makes of the shifted input with its features of the input, shifted by the input's
    shift over its stride, by straight lines between positions where that is no whole number. It is the root of the
    squared differences' sum over the sum of both variances, all taken over examples, positions and, each for itself,
    channels: 0 for features that move exactly with the input, 1 for features that have nothing to do with each other.
    Shifts go both ways along each axis by itself.

    Attributes:
        name: of the stage.
        stride: positions of the input between two of the stage, along each axis that is moved.
        inside: compared are positions whose windows see no padding and nothing of what came in, and whose errors are
            therefore the network's own: of steps, and of gates and normalisations that look at all positions.
            Otherwise the stage has no such positions after the greatest shift: compared are all that there are before
            and after, and the errors are those of the ends as well.
        at_stride: the error of a shift by exactly one stride; None where that leaves nothing to compare.
        errors: by the distance of the shift; None likewise.
    """

    name: str
    stride: tuple[float, ...]
    inside: bool
    at_stride: float | None
    errors: dict[int, float | None]

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return self._asdict() | {"stride": list(self.stride)}


class Positions(NamedTuple):
    """The positions of a feature map along one axis.

    Attributes:
        count: how many there are.
        centre: of the first one's window, in positions of the input.
        stride: from window to window.
        window: how many positions of the input one sees.
        length: of the input.
        margin: positions at each end of what is left of the input that a shift changes besides.
    """

    count: int
    centre: float
    stride: float
    window: int
    length: int
    margin: int = 0

    def between(self, low: int, high: int) -> np.ndarray:
        """Return which windows lie between two positions of the input, inclusive, as bool (count,)."""
        first = self.centre - (self.window - 1) / 2 + self.stride * np.arange(self.count)
        return (first >= low) & (first + self.window - 1 <= high)

    def pairs(self, by: int, inside: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions that can be compared after a shift, and where in the features before it each was.

        Args:
            by: positions of the input.
            inside: only those whose windows see no padding and nothing of what came in.
        """
        places = np.arange(self.count) - by / self.stride
        below, above = np.floor(places).astype(int), np.ceil(places).astype(int)
        kept = (below >= 0) & (above < self.count)
        if inside:
            whole = np.pad(self.between(0, self.length - 1), 1)  # nothing is whole beyond the ends
            kept &= self.between(max(0, by) + self.margin, self.length - 1 + min(0, by) - self.margin)
            kept &= whole[np.clip(below, -1, self.count) + 1] & whole[np.clip(above, -1, self.count) + 1]
        return np.flatnonzero(kept), places[kept]


@dataclass
class Sums:
    """What an error is computed from, added up batch by batch."""

    difference: float = 0.0
    count: int = 0
    totals: list = field(default_factory=lambda: [0.0, 0.0])
    squares: list = field(default_factory=lambda: [0.0, 0.0])

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        """Take two feature maps of one shape, channels last."""
        self.difference += float(((one - other) ** 2).sum())
        self.count += one[..., 0].size
        for number, values in enumerate((one, other)):
            flat = values.reshape(-1, values.shape[-1])
            self.totals[number] = self.totals[number] + flat.sum(0)
            self.squares[number] = self.squares[number] + (flat**2).sum(0)

    @property
    def error(self) -> float | None:
        """The relative error; None where nothing was compared, or nothing varies."""
        if not self.count:
            return None
        each = zip(self.totals, self.squares, strict=True)
        variance = sum(float((squares - totals**2 / self.count).sum()) for totals, squares in each)
        return (self.difference / variance) ** 0.5 if variance > 1e-12 * self.count else None


class Stage(NamedTuple):
    """A stage whose features are compared: its layer, and its positions along each axis that is moved."""

    layer: keras.Layer
    along: tuple[Positions, ...]

    def inside(self, most: int) -> bool:
        """Tell whether shifts of up to `most` leave positions that see none of the ends."""
        return all(axis.pairs(sign * most, True)[0].size for axis in self.along for sign in (1, -1))


def find_stages(model: keras.Model, shape: Sequence[int], axes: Sequence[int], margin: int = 0) -> dict[str, Stage]:
    """Return the stages of a network that have positions along all axes that are moved, by name.

    Args:
        model: a network.
        shape: of its input, without the batch.
        axes: of the input that are moved.
        margin: see `Positions`.
    """
    profiles = {one.name.rpartition("/")[-1]: one for one in layer_profiles(model, shape)}
    found = {}
    for name, layer in stages(model).items():
        along = [positions(profiles[name], shape, axis, margin) for axis in axes] if name in profiles else [None]
        if None not in along:
            found[name] = Stage(layer, tuple(along))
    return found


def positions(profile: LayerProfile, shape: Sequence[int], axis: int, margin: int) -> Positions | None:
    """Return the positions of a layer's output along an axis of the input; None where it has none there."""
    seen, made = profile.receptive_field, profile.output_shape
    if seen is None or seen.stride[axis] is None or len(made) != len(seen.stride) + 1:
        return None
    return Positions(made[axis], seen.centre[axis], seen.stride[axis], seen.window[axis], shape[axis], margin)


def shifts_of(found: dict[str, Stage], axes: Sequence[int], max_shift: int) -> list[tuple[int, int]]:
    """Return the shifts to compare, each the number of one of the moved axes and by how much."""
    wanted = {(number, distance) for number in range(len(axes)) for distance in range(1, max_shift + 1)}
    for stage in found.values():
        wanted |= {(n, int(axis.stride)) for n, axis in enumerate(stage.along) if axis.stride == int(axis.stride) >= 1}
    lengths = [axis.length for axis in next(iter(found.values())).along] if found else []
    return [(n, sign * by) for n, by in sorted(wanted) if found and by < lengths[n] for sign in (1, -1)]


def stage_errors(
    model: keras.Model,
    found: dict[str, Stage],
    batches: Sequence[Callable[[tuple[int, ...] | None], np.ndarray]],
    axes: Sequence[int],
    max_shift: int,
    tick: Callable[[], None],
) -> list[StageError]:
    """Compare the features of each stage before and after shifts.

    Args:
        model: a network.
        found: its stages, from `find_stages`.
        batches: each returns what the model is given for some examples, shifted by so much along each moved axis, or
            as they are for None.
        axes: that are moved, of the input.
        max_shift: the greatest distance.
        tick: called after each shift of each batch.
    """
    measured = {name: StageSums(stage, max_shift) for name, stage in found.items()}
    layers = [stage.layer for stage in found.values()]
    for batch in batches if found else ():
        before = outputs(model, batch(None), layers)
        for number, by in shifts_of(found, axes, max_shift):
            after = outputs(model, batch(tuple(by if n == number else 0 for n in range(len(axes)))), layers)
            for name, sums in measured.items():
                sums.add(before[name], after[name], number, axes[number] + 1, by)
            tick()
    return [sums.result(name) for name, sums in measured.items()]


class StageSums:
    """The sums of one stage.

    Args:
        stage: whose features are compared.
        max_shift: the greatest distance.
    """

    def __init__(self, stage: Stage, max_shift: int):
        self.stage, self.inside = stage, stage.inside(max_shift)
        self.at_stride, self.at = Sums(), {distance: Sums() for distance in range(1, max_shift + 1)}

    def add(self, before: np.ndarray, after: np.ndarray, number: int, axis: int, by: int) -> None:
        """Take the features before and after a shift along one of the moved axes, which is this axis of theirs."""
        along = self.stage.along[number]
        wanted = [self.at[abs(by)]] if abs(by) in self.at else []
        wanted += [self.at_stride] if abs(by) == along.stride else []
        if wanted:
            pair = compared(before, after, axis, along, by, self.inside)
            for sums in wanted:
                sums.add(*pair)

    def result(self, name: str) -> StageError:
        """Return the errors."""
        stride = tuple(axis.stride for axis in self.stage.along)
        errors = {distance: sums.error for distance, sums in self.at.items()}
        return StageError(name, stride, self.inside, self.at_stride.error, errors)


def compared(
    before: np.ndarray, after: np.ndarray, axis: int, along: Positions, by: int, inside: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features after a shift of the input, and those before it shifted as much, where both are known."""
    kept, places = along.pairs(by, inside)
    below = np.floor(places).astype(int)
    share = (places - below).reshape([-1 if n == axis else 1 for n in range(before.ndim)])
    before, after = before.astype("float64"), after.astype("float64")
    above = np.minimum(below + 1, along.count - 1)
    expected = (1 - share) * before.take(below, axis) + share * before.take(above, axis)
    return after.take(kept, axis), expected
