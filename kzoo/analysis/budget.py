"""The largest network of a family within a budget of parameters and multiplications, that sees far enough."""

from __future__ import annotations

import concurrent.futures
import math
import operator
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from kzoo.core.lazy import keras, rich_table, rich_text
from kzoo.core.ranges import check_range
from kzoo.core.registry import ModelCard
from kzoo.core.shown import Shown
from kzoo.zoo.factory import create_model, list_models, model_card
from kzoo.zoo.profile import Profile, profile, sizes

WIDTHS = ("width", "filters", "units", "stem_width", "bottleneck_width", "dense_units")
GROUPS = ("group_width",)
DEPTHS = ("depths", "depth", "repeats", "convs_per_stage")
FEWEST = 8  # steps from nothing to a published width, in the finest grain
MOST = 64  # the same, however wide it is
GRAINS = (None, 8, 16, 32, 64, 128)  # widths are multiples of the first that works; None is 8, or less for narrow ones
DEEPER = (0.5, 2)  # times as many blocks, for families whose variants are all equally deep
SHOWN = 10
RANK = operator.attrgetter("rank")


@dataclass(frozen=True)
class Candidate:
    """One network, and what it costs.

    Attributes:
        name: of the variant that it is made from.
        hyperparameters: that differ from the variant's own: what `create_model` is to be given.
        params: trainable parameters.
        macs: multiplications for one example; None where kzoo cannot count them.
        receptive_field: the largest that windows reach, for each spatial axis; None for a network without windows,
            whose layers see everything.
        layers: how many have weights.
        used: of each budget, the share that it needs; more than 1 does not fit.
    """

    name: str
    hyperparameters: dict
    params: int
    macs: int | None
    receptive_field: tuple[int, ...] | None
    layers: int
    used: dict[str, float]

    @property
    def share(self) -> float:
        """The share of the budget that it needs most of; 0 without one."""
        return max(self.used.values(), default=0.0)

    @property
    def rank(self) -> tuple:
        """A key by which those that fill the budgets best are last: by all together, then by layers, then by name."""
        return math.prod(self.used.values()) if self.used else -self.params, self.layers, self.name

    def sees(self, least: int | None) -> bool:
        """Say whether windows reach so far along every axis."""
        return least is None or self.receptive_field is None or min(self.receptive_field) >= least

    def words(self) -> str:
        """Return its name and hyperparameters."""
        changes = ", ".join(f"{key}={value!r}" for key, value in self.hyperparameters.items())
        return f"{self.name} with {changes}" if changes else self.name

    def row(self) -> tuple[str, ...]:
        """Return its line in the table."""
        macs = "unknown" if self.macs is None else f"{self.macs:,}"
        field = "all" if self.receptive_field is None else sizes(self.receptive_field)
        return self.words(), f"{self.params:,}", macs, field, f"{self.layers}", f"{self.share:.1%}" if self.used else ""


@dataclass(frozen=True)
class Fit(Shown):
    """The network that fits a budget, and others that nearly do as well.

    Attributes:
        best: the network.
        near: what else fits, the best first, one of each variant.
        over: the best network one step wider, which does not fit; None if it was not built.
        input_shape: of one example.
        num_classes: width of the output.
        tokens: what `create_model` is given for an input of token ids.
    """

    best: Candidate
    near: tuple[Candidate, ...]
    over: Candidate | None
    input_shape: tuple[int, ...]
    num_classes: int
    tokens: dict

    def create(self, **options) -> keras.Model:
        """Build the network; the options are those of `create_model`, hyperparameters too."""
        options = self.tokens | self.best.hyperparameters | options
        return create_model(self.best.name, self.input_shape, self.num_classes, **options)

    def to_dict(self) -> dict:
        """Return all numbers, ready for JSON."""
        return {
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "best": asdict(self.best),
            "near": [asdict(candidate) for candidate in self.near],
            "over": self.over and asdict(self.over),
        }

    def __rich_console__(self, console, options):
        yield rich_text.Text(f"{self.best.words()}, input {sizes(self.input_shape)}, {self.num_classes} classes")
        names = ("parameters", "MACs", "field", "layers", "of the budget")
        columns = [rich_table.Column(name, justify="right") for name in names]
        table = rich_table.Table("network", *columns, box=None, pad_edge=False, header_style="bold")
        table.add_row(*self.best.row(), style="bold")
        for candidate in self.near[:SHOWN]:
            table.add_row(*candidate.row())
        if self.over is not None:
            table.add_row(*self.over.row(), style="dim")
        yield table


def fit_to_budget(
    family: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    params: float | None = None,
    macs: float | None = None,
    receptive_field: int | None = None,
    vocab_size: int | None = None,
    embed_dim: int = 128,
) -> Fit:
    """Find the widest and deepest network of a family within a budget.

    Each variant of the family is made as wide as the budget allows, all of its widths scaled together and rounded to
    multiples of 8, or of less where it is narrow; of a family whose variants are all equally deep, also with half
    and with twice the blocks. The best fills the budgets best: the product of the shares that it needs is largest.
    Networks are built without values for their weights, so that large ones cost no memory. The same arguments give the
    same answer.

    Args:
        family: such as "resnet"; each is a `family` of `kzoo.list_models`.
        input_shape: of one example, without None.
        num_classes: width of the output.
        params: trainable parameters at most.
        macs: multiplications for one example at most; see `kzoo.macs`.
        receptive_field: positions that windows of the last feature map see at least, along every axis. Alone, without a
            budget, it gives the smallest network that sees so far.
        vocab_size: number of token ids, for an input of token ids.
        embed_dim: channels that each token id is embedded in.

    Raises:
        ValueError: for an unknown family, no budget, a value out of range, an input that no variant takes, or a budget
            in which there is no network: the smallest that exists is named.
    """
    check_range("params", params, "a positive number", none=True)
    check_range("macs", macs, "a positive number", none=True)
    check_range("receptive_field", receptive_field, "a positive integer", none=True)
    if params is None and macs is None and receptive_field is None:
        raise ValueError("say a budget: params, macs or receptive_field, or several of them")
    if None in tuple(input_shape):
        raise ValueError(f"the size of the input must be known, got input_shape {tuple(input_shape)}")
    tokens = {} if vocab_size is None else {"vocab_size": vocab_size, "embed_dim": embed_dim}
    budget = {key: value for key, value in {"params": params, "macs": macs}.items() if value is not None}

    def build(name: str, hyperparameters: dict) -> Candidate:
        return counted(name, tuple(input_shape), num_classes, tokens | hyperparameters, hyperparameters, budget)

    found = [search(variant, build, bool(budget), receptive_field) for variant in variants(family)]
    built = [candidates for candidates in found if isinstance(candidates, list)]
    if not built:
        raise found[0]
    inside = [[one for one in candidates if one.share <= 1 and one.sees(receptive_field)] for candidates in built]
    fitting = sorted((max(candidates, key=RANK) for candidates in inside if candidates), key=RANK, reverse=True)
    if not fitting:
        wanted = f"an input of {sizes(input_shape)} and {num_classes} classes"
        raise ValueError(f"{nothing(family, wanted, budget, receptive_field)}; {nearest(built, receptive_field)}")
    best, *near = fitting
    return Fit(best, tuple(near), next_wider(best, built), tuple(input_shape), num_classes, tokens)


def counted(
    name: str, input_shape: tuple[int, ...], num_classes: int, options: dict, hyperparameters: dict, budget: dict
) -> Candidate:
    """Build a network without values, and count."""
    seen: Profile = without_values(lambda: profile(create_model(name, input_shape, num_classes, **options)))
    cost = {"params": seen.trainable, "macs": math.inf if seen.macs is None else seen.macs}
    return Candidate(
        name=name,
        hyperparameters=hyperparameters,
        params=seen.trainable,
        macs=seen.macs,
        receptive_field=seen.receptive_field,
        layers=sum(layer.inputs > 0 for layer in seen.layers),
        used={key: cost[key] / most for key, most in budget.items()},
    )


def without_values(build: Callable[[], Profile]) -> Profile:
    """Call a function in which the weights that are made get a shape and nothing else.

    Keras keeps a list of weights that are still to get values. It is one for each thread, so that the thread which the
    function is called in takes it along when it ends. Random numbers go on as if nothing had been drawn.
    """

    def work() -> Profile:
        with keras.StatelessScope(initialize_variables=False):
            return build()

    state = random.getstate()
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()
    finally:
        random.setstate(state)


@dataclass(frozen=True)
class Variant:
    """What is made wider: a variant of the family, or one that has another number of blocks.

    Attributes:
        card: of the variant.
        changes: hyperparameters that make it another depth.
        widths: hyperparameters that are scaled; none for a variant that is to be taken as it is.
    """

    card: ModelCard
    changes: dict
    widths: dict

    def steps(self, grain: int | None) -> int:
        """Return how many steps lead from nothing to the published widths."""
        return min(MOST, max((n // unit_of(n, grain) for n in numbers(tuple(self.widths.values()))), default=1))

    def grains(self) -> list[int | None]:
        """Return the multiples of widths to try in turn; groups of so many channels ask for their own."""
        first, *rest = GRAINS if self.widths else GRAINS[:1]
        return [
            first,
            *[self.card.hyperparameters[key].value for key in GROUPS if key in self.card.hyperparameters],
            *rest,
        ]

    def at(self, step: int, grain: int | None) -> dict:
        """Return the hyperparameters that differ from the variant's own, at a step."""
        share = step / self.steps(grain)
        wide = {key: scaled(value, share, grain) for key, value in self.widths.items()}
        return self.changes | {key: value for key, value in wide.items() if value != self.widths[key]}


def numbers(value) -> Iterator[int]:
    """Yield each number above 0 in a tuple of tuples."""
    if isinstance(value, tuple):
        for entry in value:
            yield from numbers(entry)
    elif value:
        yield value


def unit_of(width: int, grain: int | None) -> int:
    """Return what a width is a multiple of: what it has in common with the grain; without one 8, or less if narrow."""
    if grain is not None:
        return math.gcd(grain, width)
    return next(unit for unit in (8, 4, 2, 1) if width % unit == 0 and (unit == 1 or width >= FEWEST * unit))


def scaled(value, share: float, grain: int | None):
    """Return a width, or each in a tuple, times a share, as a multiple of its unit that is one at least."""
    if isinstance(value, tuple):
        return tuple(scaled(entry, share, grain) for entry in value)
    unit = unit_of(value, grain) if value else 1
    return max(1, math.floor(value * share / unit + 0.5)) * unit if value else value


def variants(family: str) -> list[Variant]:
    """Return what is searched: of variants that differ in widths alone the largest is scaled, the others are not.

    Raises:
        ValueError: for an unknown family.
    """
    cards = sorted(map(model_card, list_models(family=family)), key=lambda card: (-card.params, card.name))
    depths = {str(depth_of(card)) for card in cards}
    found, structures = [], set()
    for card in cards:
        new = structure(card) not in structures
        structures.add(structure(card))
        widths = {key: h.value for key in WIDTHS if (h := card.hyperparameters.get(key)) and h.value} if new else {}
        found.append(Variant(card, {}, widths))
        if new and len(depths) == 1:
            found += [Variant(card, deeper, widths) for deeper in other_depths(card)]
    return found


def depth_of(card: ModelCard) -> dict:
    """Return the hyperparameters that count blocks."""
    return {key: value.value for key, value in card.hyperparameters.items() if key in DEPTHS}


def other_depths(card: ModelCard) -> list[dict]:
    """Return hyperparameters for fewer and for more blocks."""

    def times(value, factor: float):
        if isinstance(value, tuple):
            return tuple(times(entry, factor) for entry in value)
        return max(min(value, 1), math.floor(value * factor))

    own = depth_of(card)
    changed = [{key: times(value, factor) for key, value in own.items()} for factor in DEEPER]
    return [depth for depth in changed if depth != own]


def structure(card: ModelCard) -> str:
    """Return what variants have in common that differ in widths and in rates of dropout."""
    rest = {k: h.value for k, h in card.hyperparameters.items() if k not in WIDTHS and "drop" not in k}
    nested = {k: outline(h.value) for k, h in card.hyperparameters.items() if k in WIDTHS}
    return str((rest, nested))


def outline(value):
    """Return tuples of tuples without the numbers in them, but for whether there is one."""
    return tuple(map(outline, value)) if isinstance(value, tuple) else bool(value)


Build = Callable[[str, dict], Candidate]


def search(variant: Variant, build: Build, limited: bool, receptive_field: int | None) -> list[Candidate] | ValueError:
    """Return the candidates built in search of a variant's widest, narrowest first; what is wrong if none can be built.

    Args:
        variant: to be scaled.
        build: makes a candidate of a name and hyperparameters.
        limited: there is a limit to the width; otherwise the narrowest is all.
        receptive_field: that the candidates must have; those of one variant have all the same.
    """
    reason = None
    for grain in variant.grains():
        try:
            return searched(variant, grain, build, limited, receptive_field)
        except ValueError as error:  # groups of channels ask for widths of a coarser grain
            reason = reason or error
            if "is too small for" in str(error):
                break
    return reason


def searched(
    variant: Variant, grain: int | None, build: Build, limited: bool, receptive_field: int | None
) -> list[Candidate]:
    """Return the candidates that were built in search of the widest in this grain, narrowest first."""
    built: dict[int, Candidate] = {}
    step: int | None = 1 if variant.widths else variant.steps(grain)
    while step is not None:
        built[step] = build(variant.card.name, variant.at(step, grain))
        narrowest = built[min(built)]
        hopeless = narrowest.share > 1 or not narrowest.sees(receptive_field)
        step = next_step(built) if variant.widths and limited and not hopeless else None
    return [built[step] for step in sorted(built)]


def next_step(built: dict[int, Candidate]) -> int | None:
    """Return the step to build next: where the budget would be full if costs grew as the square of the width.

    None if the widest that fits and the next one are known.
    """
    low = max(step for step, candidate in built.items() if candidate.share <= 1)
    above = [step for step in built if step > low]
    root = math.sqrt(built[low].share)
    if not above:
        return max(low + 1, math.floor(low / root))
    high = min(above)
    if high == low + 1:
        return None
    if len(built) % 3 == 2:  # halve the interval now and then, as the guess may come from one side only
        return (low + high) // 2
    guess = low + (high - low) * (1 - root) / (math.sqrt(built[high].share) - root)
    return min(max(low + 1, math.floor(guess)), high - 1)


def next_wider(best: Candidate, found: list[list[Candidate]]) -> Candidate | None:
    """Return what was built of the same variant that is the first beyond the budget."""
    candidates = next(candidates for candidates in found if best in candidates)
    return next((candidate for candidate in candidates if candidate.share > 1), None)


def nothing(family: str, wanted: str, budget: dict, receptive_field: int | None) -> str:
    """Return in words that no network is within the budget."""
    limits = {"params": "parameters", "macs": "multiplications"}
    parts = [f"at most {most:,.0f} {limits[key]}" for key, most in budget.items()]
    parts += [f"a receptive field of {receptive_field}"] * (receptive_field is not None)
    return f"no {family} for {wanted} has {' and '.join(parts)}"


def nearest(found: list[list[Candidate]], receptive_field: int | None) -> str:
    """Return in words the smallest network that sees far enough, or that which sees farthest."""
    narrowest = [candidates[0] for candidates in found]
    seeing = [candidate for candidate in narrowest if candidate.sees(receptive_field)]
    if seeing:
        one, what = min(seeing, key=lambda c: (c.share, c.params, c.name)), "the smallest that exists"
    else:
        one, what = max(narrowest, key=lambda c: (min(c.receptive_field), c.name)), "the one that sees farthest"
    macs = "unknown" if one.macs is None else f"{one.macs:,}"
    field = "everything" if one.receptive_field is None else sizes(one.receptive_field)
    return f"{what} is {one.words()}: {one.params:,} parameters, {macs} multiplications, a receptive field of {field}"
