"""Iterative stratification: division of examples with several tags each, every tag in about the same proportion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kzoo.core.lazy import np


def stratified_parts(tags: np.ndarray, fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Divide examples so that each part has about its fraction of the examples of every tag.

    The rarest tag that is left is divided first: each of its examples goes to the part that lacks most examples of the
    tag, among equals to the one that lacks most examples at all (Sechidis et al., 2011, On the Stratification of
    Multi-label Data, https://doi.org/10.1007/978-3-642-23808-6_10). A tag of a single example goes to the largest part.

    Args:
        tags: which tags each example has, (n, tags).
        fractions: of the parts, which add up to 1.
        seed: of the order in which examples are looked at.

    Returns:
        The indices of each part, sorted.
    """
    present = np.asarray(tags) > 0
    shares = np.asarray(fractions, "float64")[:, None]
    wanted, room = shares * present.sum(axis=0), shares[:, 0] * len(present)  # examples that each part still lacks
    part, order = np.empty(len(present), int), np.random.default_rng(seed).permutation(len(present))
    for tag, examples in rarest_first(present[order]):
        for index in order[examples]:
            lacks = room if tag is None else wanted[:, tag]
            chosen = np.lexsort((-room, -lacks))[0]
            part[index] = chosen
            wanted[chosen, present[index]] -= 1
            room[chosen] -= 1
    return [np.flatnonzero(part == number) for number in range(len(shares))]


def rarest_first(present: np.ndarray) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield the tag that the fewest of the examples left have, and these examples; at last those without a tag."""
    left = np.ones(len(present), bool)
    counts = present.sum(axis=0)
    while counts.any():
        tag = int(np.where(counts > 0, counts, len(present) + 1).argmin())
        examples = np.flatnonzero(left & present[:, tag])
        yield tag, examples
        left[examples] = False
        counts = counts - present[examples].sum(axis=0)
    yield None, np.flatnonzero(left)
