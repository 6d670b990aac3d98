"""A cache of decoded examples, in memory or on the disk."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_file, write_json, writing
from kzoo.core.lazy import np, psutil
from kzoo.core.registry import lookup
from kzoo.data.sources import Source
from kzoo.data.splits import Examples

CACHES = ("auto", "memory", "disk")
EAGER = 2000  # examples; a smaller set is decoded at once, which names each damaged file before the training
FLUSH = 4096  # examples that are decoded between two writes of which ones a cache on the disk holds
SHARE = 0.25  # of the available memory that decoded examples may take, unless cache="memory" asks for it
SUBFOLDER = "datasets"
ROWS, KNOWN, CARD = "examples.npy", "known.npy", "source.json"


class Cached(Source):
    """A source whose examples are decoded once.

    Args:
        source: of the examples.
        rows: array for the decoded examples, of the source's shape.
        known: which of them are there, bool (n,).
        folder: of a cache on the disk; None for one in memory.
    """

    def __init__(self, source: Source, rows: np.ndarray, known: np.ndarray, folder: Path | None = None):
        self.source, self.rows, self.known, self.folder = source, rows, known, folder
        self.shape, self.dtype, self.unwritten = source.shape, source.dtype, 0

    def read(self, index: int) -> np.ndarray:
        if not self.known[index]:
            self.rows[index] = self.source.read(index)
            self.known[index] = True
            self.unwritten += 1
            if self.folder is not None and (self.unwritten >= FLUSH or self.known.all()):
                self.write()
        return self.rows[index]

    def write(self) -> None:
        """Write the examples, and only then which they are: what a crash leaves is never taken for an example."""
        self.unwritten, known = 0, self.known.copy()
        self.rows.flush()
        write_file(self.folder / KNOWN, lambda file: np.save(file, known))

    def fingerprint(self) -> str:
        return self.source.fingerprint()


def check_cache(cache: str | None) -> None:
    """Raise a ValueError for an unknown place."""
    if cache is not None:
        lookup("cache", str(cache), dict.fromkeys(CACHES))


def cached_splits(splits: dict[str, Examples], cache: str | None, name: str, originals: bool) -> None:
    """Replace the examples of each split by ones that are decoded once, but for a train split read from originals.

    Args:
        splits: examples by split; two names may stand for the same ones.
        cache: see `cached`.
        name: of the dataset, for the progress bar.
        originals: whether the train split is read anew in each epoch.
    """
    found = {}
    for split, examples in splits.items():
        if originals and split == "train":
            continue
        if id(examples) not in found:
            found[id(examples)] = examples, cached(examples, cache, f"reading {name} {split}")
        splits[split] = found[id(examples)][1]


def cached(examples: Examples, cache: str | None, what: str) -> Examples:
    """Return examples whose inputs and targets are decoded once, as `cache` says; see `kept`."""
    inputs, labels = kept(examples.inputs, cache, what), kept(examples.labels, cache, f"{what} (targets)")
    if inputs is examples.inputs and labels is examples.labels:
        return examples
    return dataclasses.replace(examples, inputs=inputs, labels=labels)


def kept(source: np.ndarray | Source, cache: str | None, what: str) -> np.ndarray | Source:
    """Return a source whose examples are decoded once; arrays and windows of longer examples are unchanged.

    Args:
        source: of one split.
        cache: "memory", "disk", None for decoding at each use, or "auto": memory if the decoded examples take a
            quarter of what is available, otherwise None.
        what: what is read, for the progress bar.

    Raises:
        ValueError: for too little memory or space on the disk, or files that cannot be read, by name.
    """
    if not isinstance(source, Source) or not source.cacheable:
        return source
    fits = source.nbytes <= psutil.virtual_memory().available * SHARE
    if len(source) <= EAGER and fits and cache in ("auto", "memory"):
        return source.load(what)
    if cache == "disk":
        return on_disk(source, what)
    return in_memory(source) if cache == "memory" or (cache == "auto" and fits) else source


def in_memory(source: Source) -> Cached:
    """Return a source that keeps what it decodes in memory."""
    free = psutil.virtual_memory().available
    if source.nbytes > free:
        raise ValueError(
            f"cache='memory' needs {gigabytes(source.nbytes)} for {len(source):,} decoded examples, but only "
            f"{gigabytes(free)} are available; give cache='disk' or smaller examples"
        )
    return Cached(source, np.empty(source.shape, source.dtype), np.zeros(len(source), bool))


def on_disk(source: Source, what: str) -> Cached:
    """Return a source that keeps what it decodes on the disk, also for other processes and later runs."""
    folder = cache_folder() / source.fingerprint()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ROWS).exists():
            make_room(folder, source.nbytes)
            write_json(folder / CARD, {"what": what, "examples": len(source), "shape": source.shape[1:]})
            reserve(folder / ROWS, source)
        os.utime(folder)  # the entry that was not used for longest is deleted first
        known = np.load(folder / KNOWN) if (folder / KNOWN).exists() else np.zeros(len(source), bool)
        rows = np.lib.format.open_memmap(folder / ROWS, "r+")
    return Cached(source, rows, known, folder)


def remembered(key: str, what: str, read: Callable[[], np.ndarray]) -> np.ndarray:
    """Return a small array that is read only once, then kept in the cache."""
    folder = cache_folder() / key
    if not (folder / ROWS).exists():
        array = read()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_file(folder / ROWS, lambda file: np.save(file, array))
            write_json(folder / CARD, {"what": what, "examples": len(array)})
    return np.load(folder / ROWS)


def reserve(path: Path, source: Source) -> None:
    """Make a file for all examples whose space on the disk is taken: a full disk would later kill the process."""
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        rows = np.lib.format.open_memmap(beside, "w+", source.dtype, source.shape)
        del rows
        with beside.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, beside.stat().st_size)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class CacheEntry(NamedTuple):
    """A dataset in the cache: its directory, size in bytes, and what it holds."""

    folder: Path
    nbytes: int
    what: str
    examples: int


def cache_folder() -> Path:
    """Return the directory of the cache: `$KZOO_CACHE/datasets`, by default `~/.cache/kzoo/datasets`."""
    return Path(os.environ.get("KZOO_CACHE", "~/.cache/kzoo")).expanduser() / SUBFOLDER


def cache_limit() -> int:
    """Return the limit of the cache in bytes: `$KZOO_CACHE_GB`, by default 100 gigabytes.

    Raises:
        ValueError: if that is no positive number.
    """
    given = os.environ.get("KZOO_CACHE_GB", "100")
    if not given.replace(".", "", 1).isdecimal() or float(given) == 0:
        raise ValueError(f"KZOO_CACHE_GB must be a positive number of gigabytes, got {given!r}")
    return int(float(given) * 1e9)


def cache_entries() -> list[CacheEntry]:
    """Return the datasets in the cache, the one that was used last at the end."""
    cards = sorted(cache_folder().glob(f"*/{CARD}"), key=lambda card: card.parent.stat().st_mtime)
    return [entry(card) for card in cards]


def entry(card: Path) -> CacheEntry:
    """Return the entry of the cache that a file describes."""
    content = json.loads(card.read_text())
    size = sum(file.stat().st_size for file in card.parent.iterdir())
    return CacheEntry(card.parent, size, content["what"], content["examples"])


def clear_cache() -> int:
    """Delete all datasets in the cache, and nothing else; return the bytes that were freed."""
    return sum(map(delete, cache_entries()))


def delete(entry: CacheEntry) -> int:
    """Delete an entry's own files and its directory; return its size."""
    for name in (CARD, KNOWN, ROWS):
        (entry.folder / name).unlink(missing_ok=True)
    entry.folder.rmdir()
    return entry.nbytes


def make_room(folder: Path, needed: int) -> None:
    """Delete the entries that were not used for longest until `needed` bytes fit into the limit and on the disk.

    Raises:
        ValueError: if they do not fit into an empty cache.
    """
    limit, entries = cache_limit(), cache_entries()
    if needed > limit:
        raise ValueError(f"cache='disk' needs {gigabytes(needed)}, more than the limit; set KZOO_CACHE_GB higher")
    while entries and sum(entry.nbytes for entry in entries) + needed > limit:
        delete(entries.pop(0))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"cache='disk' needs {gigabytes(needed)}, but {folder} has {gigabytes(free)} left; set KZOO_CACHE to a "
            "directory on another disk, or see `kzoo cache`"
        )


def gigabytes(size: int) -> str:
    """Return a number of bytes in gigabytes."""
    return f"{size / 1e9:.2f} GB"
