"""Width scaling to a budget: the network of a family that fits a number of parameters or MACs best."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from kzoo.core.arguments import checked
from kzoo.core.lazy import keras, rich_table, rich_text
from kzoo.core.numbers import percent
from kzoo.core.ranges import PositiveFloat, PositiveInt
from kzoo.core.registry import ModelCard
from kzoo.core.shown import Shown
from kzoo.nn.graph import without_values
from kzoo.zoo.factory import create_model, list_models, model_card
from kzoo.zoo.profile import profile, sizes

WIDTHS = ("width", "filters", "units", "stem_width", "bottleneck_width", "dense_units")
DIVISORS = (8, 16, 32, 64, 128)  # of widths, in turn: groups of channels need coarser ones
NEAR = 2  # variants on either side of the budget that are scaled
BUILDS = 8  # of one variant, at most
STEPS = 80  # of the multiplier, at most, those that change no width included


@dataclass(frozen=True)
class Candidate:
    """One network and its cost.

    Attributes:
        name: of the variant.
        hyperparameters: its widths, where they differ from the variant's own: what `create_model` is to be given.
        params: trainable parameters.
        macs: multiply-accumulates for one example; None where kzoo cannot count them.
        receptive_field: the largest one of windows, for each spatial axis; None for a network without windows.
        used: the fraction of the budget that it uses, of parameters or MACs, whichever is larger; 0 without a budget.
    """

    name: str
    hyperparameters: dict
    params: int
    macs: int | None
    receptive_field: tuple[int, ...] | None
    used: float

    def sees(self, least: int | None) -> bool:
        """Whether the receptive field is at least so large along every axis."""
        return least is None or self.receptive_field is None or min(self.receptive_field) >= least

    def __str__(self) -> str:
        changes = ", ".join(f"{key}={value!r}" for key, value in self.hyperparameters.items())
        return f"{self.name} with {changes}" if changes else self.name

    def row(self) -> tuple[str, ...]:
        """Return its row in the table."""
        field = "all" if self.receptive_field is None else sizes(self.receptive_field)
        return str(self), f"{self.params:,}", count(self.macs), field, percent(self.used, 1) if self.used else ""


@dataclass(frozen=True, repr=False)
class Fit(Shown):
    """The network that fits a budget best, and other variants that fit it.

    Attributes:
        best: the network.
        near: other variants, scaled likewise, the best first.
        input_shape: of one example.
        num_classes: width of the output.
        tokens: arguments of `create_model` for an input of token ids.
    """

    best: Candidate
    near: tuple[Candidate, ...]
    input_shape: tuple[int, ...]
    num_classes: int
    tokens: dict

    def create(self, **options) -> keras.Model:
        """Build the network; the options are those of `create_model`, hyperparameters included."""
        options = self.tokens | self.best.hyperparameters | options
        return create_model(self.best.name, self.input_shape, self.num_classes, **options)

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        shape = {"input_shape": list(self.input_shape), "num_classes": self.num_classes}
        return shape | {"best": asdict(self.best), "near": [asdict(candidate) for candidate in self.near]}

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.best}, input {sizes(self.input_shape)}, {self.num_classes} classes")
        names = ("parameters", "MACs", "receptive field", "of the budget")
        columns = [rich_table.Column(name, justify="right") for name in names]
        table = rich_table.Table("network", *columns, box=None, pad_edge=False)
        table.add_row(*self.best.row(), style="bold")
        for candidate in self.near:
            table.add_row(*candidate.row())
        yield table


@checked
def fit_to_budget(
    family: str,
    *,
    input_shape: Sequence[int | None],
    num_classes: int,
    params: PositiveFloat | None = None,
    macs: PositiveFloat | None = None,
    receptive_field: PositiveInt | None = None,
    vocab_size: PositiveInt | None = None,
    embed_dim: PositiveInt = 128,
) -> Fit:
    """Find the network of a family that fits a budget of parameters or MACs best.

    The variants whose published widths come nearest to the budget are scaled: all widths of a variant by one
    multiplier, which bisection finds, and rounded to multiples of 8 (less for narrow ones). The best uses the largest
    fraction of the budget. Networks are built without values for their weights, so that large ones need no memory.

    Args:
        family: such as "resnet"; each is a `family` of `kzoo.list_models`.
        input_shape: of one example, without None.
        num_classes: width of the output.
        params: most trainable parameters.
        macs: most multiply-accumulates for one example; see `kzoo.macs`.
        receptive_field: smallest receptive field along every axis, in positions of the input. Alone, without a budget,
            it gives the smallest variant that has it.
        vocab_size: number of token ids, for an input of token ids.
        embed_dim: channels that each token id is embedded in.

    Raises:
        ValueError: for an unknown family, no budget, a value out of range, an input that no variant takes, or a budget
            that no network fits: the smallest one that was built is named.
    """
    if params is None and macs is None and receptive_field is None:
        raise ValueError("give a budget: params, macs or receptive_field, or several of them")
    if None in tuple(input_shape):
        raise ValueError(f"the size of the input must be known, got input_shape {tuple(input_shape)}")
    tokens = {} if vocab_size is None else {"vocab_size": vocab_size, "embed_dim": embed_dim}
    known: dict[str, Candidate | ValueError] = {}

    def build(card: ModelCard, widths: dict) -> Candidate:
        key = f"{card.name} {widths}"
        if key not in known:
            known[key] = built(card.name, widths, tuple(input_shape), num_classes, tokens, params, macs)
        if isinstance(known[key], ValueError):
            raise known[key]
        return known[key]

    cards = sorted(map(model_card, list_models(family=family)), key=lambda card: (card.params, card.name))
    limited = params is not None or macs is not None
    tried = [one for card in nearest(cards, build, receptive_field) for one in scaled(card, build, limited)]
    if not tried:
        raise next(error for error in known.values() if isinstance(error, ValueError))
    fitting: dict[str, Candidate] = {}
    for one in sorted(tried, key=lambda one: (one.used, -one.params)):
        if one.used <= 1 and one.sees(receptive_field):
            fitting[one.name] = one  # the largest of each variant
    if not fitting:
        least = min(tried, key=lambda one: (not one.sees(receptive_field), one.used, one.params))
        raise ValueError(
            f"no {family} for an input of {sizes(input_shape)} and {num_classes} classes has "
            f"{wanted(params, macs, receptive_field)}; the nearest is {least}: {least.params:,} parameters, "
            f"{count(least.macs)} MACs, a receptive field of {least.row()[3]}"
        )
    best, *near = sorted(fitting.values(), key=lambda one: (-one.used, one.params))
    return Fit(best, tuple(near), tuple(input_shape), num_classes, tokens)


def built(
    name: str, widths: dict, input_shape: tuple[int, ...], num_classes: int, tokens: dict, params: float, macs: float
) -> Candidate | ValueError:
    """Return a network's cost, or the error that it cannot be built with."""
    try:
        seen = without_values(lambda: profile(create_model(name, input_shape, num_classes, **tokens, **widths)))
    except ValueError as error:
        return error
    cost = math.inf if seen.macs is None else seen.macs
    used = max(seen.trainable / (params or math.inf), cost / macs if macs else 0)
    return Candidate(name, widths, seen.trainable, seen.macs, seen.receptive_field, used)


Build = Callable[[ModelCard, dict], Candidate]


def nearest(cards: Sequence[ModelCard], build: Build, receptive_field: int | None) -> list[ModelCard]:
    """Return the variants whose published widths come nearest to the budget, of those that see far enough.

    Args:
        cards: of a family, in the order of their parameters.
        build: makes a candidate of a variant and its widths.
        receptive_field: see `fit_to_budget`.
    """

    def cost(card: ModelCard) -> float:
        try:
            return build(card, {}).used
        except ValueError:
            return math.inf

    if receptive_field is not None:
        possible = [card for card in cards if cost(card) < math.inf]
        cards = [card for card in possible if build(card, {}).sees(receptive_field)] or possible
    first = bisect.bisect_right(cards, 1, key=cost)  # above the budget
    return list(cards[max(0, first - NEAR) : first + NEAR])


def scaled(card: ModelCard, build: Build, limited: bool) -> list[Candidate]:
    """Return the candidates built in search of a variant's largest multiplier; none for an input too small."""
    for divisor in (None, getattr(card.architecture, "group_width", None) or 8, *DIVISORS):
        try:
            return bisected(card, divisor, build) if limited else [build(card, {})]
        except ValueError:  # groups of channels do not divide these widths
            continue
    return []


def bisected(card: ModelCard, divisor: int | None, build: Build) -> list[Candidate]:
    """Return the candidates of the multipliers by which bisection comes to the budget, from 1 on."""
    low, high, multiplier, found = 0.0, math.inf, 1.0, {}
    for _ in range(STEPS):
        widths = widened(card, multiplier, divisor)
        if len(found) == BUILDS or (str(widths) in found and low > 0 and high < math.inf):
            break
        if str(widths) in found:  # the step was less than the unit of the widths
            multiplier *= 1.05 if low > 0 else 0.95
            continue
        one = found[str(widths)] = build(card, widths)
        fits = one.used <= 1
        low, high = (multiplier, high) if fits else (low, multiplier)
        if low > 0 and high < math.inf:
            multiplier = math.sqrt(low * high)
        else:  # the cost grows about as the square of the width; a little beyond, so that the budget lies between
            multiplier *= (1.05 if fits else 0.95) / math.sqrt(one.used)
    return list(found.values())


def widened(card: ModelCard, multiplier: float, divisor: int | None) -> dict:
    """Return the widths of a variant times a multiplier, where they then differ from its own."""
    own = {key: h.value for key, h in card.hyperparameters.items() if key in WIDTHS and h.value}
    wide = {key: rounded(value, multiplier, divisor) for key, value in own.items()}
    return {key: value for key, value in wide.items() if value != own[key]}


def rounded(width, multiplier: float, divisor: int | None):
    """Return a width, or each in nested tuples, times a multiplier, as a multiple of its unit; 0 stays 0.

    The unit is what the width and the divisor have in common; without a divisor 8, or less for widths below 64.
    """
    if isinstance(width, tuple):
        return tuple(rounded(entry, multiplier, divisor) for entry in width)
    if not width:
        return width
    unit = math.gcd(divisor or 8, width)
    while divisor is None and unit > 1 and width < 8 * unit:
        unit //= 2
    return max(1, math.floor(width * multiplier / unit + 0.5)) * unit


def wanted(params: float | None, macs: float | None, receptive_field: int | None) -> str:
    """Return a budget in words."""
    parts = [f"at most {most:,.0f} {name}" for most, name in ((params, "parameters"), (macs, "MACs")) if most]
    return " and ".join(parts + [f"a receptive field of {receptive_field}"] * (receptive_field is not None))


def count(macs: int | None) -> str:
    """Return a number of MACs in words."""
    return "unknown" if macs is None else f"{macs:,}"
