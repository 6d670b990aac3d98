"""Shift equivariance of the features of each stage of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kzoo.core.lazy import keras, np
from kzoo.nn.inspection import feature_layers, get_activations
from kzoo.zoo.profile import LayerProfile, layer_profiles


class StageError(NamedTuple):
    """Equivariance error of a stage: how far its features are from shifting with the input.

    The features of the shifted input are compared with the shifted features of the input, where features shift by the
    input's shift divided by the stride (with linear interpolation between positions). The error is the root of the sum
    of squared differences over the sum of both variances, taken per channel over examples and positions: 0 for exactly
    equivariant features, 1 for unrelated ones. Shifts are along one axis at a time, in both directions.

    Attributes:
        name: of the stage.
        stride: cumulative stride of the stage along each shifted axis.
        inside: only positions whose receptive fields see neither padding nor the filled border are compared, so that
            the errors are the network's own: those of strides, and of gates and normalisations over all positions.
            False if no such position is left after the largest shift: all positions known before and after the shift
            are compared, and the errors include those of the border.
        at_stride: the error of a shift by exactly one stride; None if that leaves nothing to compare.
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
        count: number of positions.
        centre: of the first one's receptive field, in positions of the input.
        stride: cumulative stride.
        window: size of the receptive field.
        length: of the input.
        margin: further positions at each end of the input that a shift affects.
    """

    count: int
    centre: float
    stride: float
    window: int
    length: int
    margin: int = 0

    def between(self, low: int, high: int) -> np.ndarray:
        """Return which receptive fields lie between two positions of the input, inclusive, as bool (count,)."""
        first = self.centre - (self.window - 1) / 2 + self.stride * np.arange(self.count)
        return (first >= low) & (first + self.window - 1 <= high)

    def pairs(self, by: int, inside: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions that can be compared after a shift, and their (fractional) positions before it.

        Args:
            by: shift, in positions of the input.
            inside: only those whose receptive fields see neither padding nor the filled border.
        """
        before = np.arange(self.count) - by / self.stride
        below, above = np.floor(before).astype(int), np.ceil(before).astype(int)
        kept = (below >= 0) & (above < self.count)
        if inside:
            whole = np.pad(self.between(0, self.length - 1), 1)  # nothing is whole beyond the ends
            kept &= self.between(max(0, by) + self.margin, self.length - 1 + min(0, by) - self.margin)
            kept &= whole[np.clip(below, -1, self.count) + 1] & whole[np.clip(above, -1, self.count) + 1]
        return np.flatnonzero(kept), before[kept]


@dataclass
class Sums:
    """Running sums over batches from which an error is computed."""

    difference: float = 0.0
    count: int = 0
    totals: list = field(default_factory=lambda: [0.0, 0.0])
    squares: list = field(default_factory=lambda: [0.0, 0.0])

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        """Add two feature maps of equal shape, channels last."""
        self.difference += float(((one - other) ** 2).sum())
        self.count += one[..., 0].size
        for number, values in enumerate((one, other)):
            flat = values.reshape(-1, values.shape[-1])
            self.totals[number] = self.totals[number] + flat.sum(0)
            self.squares[number] = self.squares[number] + (flat**2).sum(0)

    @property
    def error(self) -> float | None:
        """The relative error; None if nothing was compared, or nothing varies."""
        if not self.count:
            return None
        each = zip(self.totals, self.squares, strict=True)
        variance = sum(float((squares - totals**2 / self.count).sum()) for totals, squares in each)
        return (self.difference / variance) ** 0.5 if variance > 1e-12 * self.count else None


class Stage(NamedTuple):
    """A stage whose features are compared: its layer, and its positions along each shifted axis."""

    layer: keras.Layer
    along: tuple[Positions, ...]

    def inside(self, most: int) -> bool:
        """Return whether shifts of up to `most` leave positions that do not see the border."""
        return all(axis.pairs(sign * most, True)[0].size for axis in self.along for sign in (1, -1))


def find_stages(model: keras.Model, shape: Sequence[int], axes: Sequence[int], margin: int = 0) -> dict[str, Stage]:
    """Return the stages of a network that have positions along all shifted axes, by name.

    Args:
        model: a network.
        shape: of its input, without the batch.
        axes: of the input that are shifted.
        margin: see `Positions`.
    """
    profiles = {one.name.rpartition("/")[-1]: one for one in layer_profiles(model, shape)}
    found = {}
    for name, layer in feature_layers(model).items():
        along = [positions(profiles[name], shape, axis, margin) for axis in axes] if name in profiles else [None]
        if None not in along:
            found[name] = Stage(layer, tuple(along))
    return found


def positions(profile: LayerProfile, shape: Sequence[int], axis: int, margin: int) -> Positions | None:
    """Return the positions of a layer's output along an axis of the input; None if it has none there."""
    seen, made = profile.receptive_field, profile.output_shape
    if seen is None or seen.stride[axis] is None or len(made) != len(seen.stride) + 1:
        return None
    return Positions(made[axis], seen.centre[axis], seen.stride[axis], seen.window[axis], shape[axis], margin)


def shifts_of(found: dict[str, Stage], axes: Sequence[int], max_shift: int) -> list[tuple[int, int]]:
    """Return the shifts to compare, each the index of a shifted axis and a signed distance."""
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
        batches: functions from a shift along each axis (None: the original) to the model's input for some examples.
        axes: of the input that are shifted.
        max_shift: the largest distance.
        tick: called after each shift of each batch.
    """
    measured = {name: StageSums(stage, max_shift) for name, stage in found.items()}
    layers = [stage.layer for stage in found.values()]
    for batch in batches if found else ():
        before = get_activations(model, batch(None), layers)
        for number, by in shifts_of(found, axes, max_shift):
            after = get_activations(model, batch(tuple(by if n == number else 0 for n in range(len(axes)))), layers)
            for name, sums in measured.items():
                sums.add(before[name], after[name], number, axes[number] + 1, by)
            tick()
    return [sums.result(name) for name, sums in measured.items()]


class StageSums:
    """Running sums of one stage.

    Args:
        stage: whose features are compared.
        max_shift: the largest distance.
    """

    def __init__(self, stage: Stage, max_shift: int):
        self.stage, self.inside = stage, stage.inside(max_shift)
        self.at_stride, self.at = Sums(), {distance: Sums() for distance in range(1, max_shift + 1)}

    def add(self, before: np.ndarray, after: np.ndarray, number: int, axis: int, by: int) -> None:
        """Add the features before and after a shift along one of the shifted axes, `axis` of the features."""
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
    """Return the features after a shift of the input, and the equally shifted features before it, where both exist."""
    kept, sources = along.pairs(by, inside)
    below = np.floor(sources).astype(int)
    fraction = (sources - below).reshape([-1 if n == axis else 1 for n in range(before.ndim)])
    before, after = before.astype("float64"), after.astype("float64")
    above = np.minimum(below + 1, along.count - 1)
    expected = (1 - fraction) * before.take(below, axis) + fraction * before.take(above, axis)
    return after.take(kept, axis), expected
