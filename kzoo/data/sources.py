"""Examples that are read when they are needed."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kzoo.core.lazy import np
from kzoo.data.arrays import collect
from kzoo.data.folders import File, read_each

SAMPLE = 256  # examples of which statistics are taken, where not all are in memory


class Source(abc.ABC):
    """Raw examples of one shape that are read at indices; it takes the place of an array in `Examples`.

    Attributes:
        shape: (n, *raw_shape).
        dtype: of the examples.
        cacheable: whether a copy of what was read is worth keeping.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    cacheable = True

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Read one example, of shape `raw_shape`; several threads may do so at a time.

        Raises:
            ValueError: naming a file that cannot be read.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of what the examples are read from, and how; nothing is read."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size in bytes of all examples."""
        return int(np.prod(self.shape, dtype="int64")) * self.dtype.itemsize

    def __getitem__(self, index) -> np.ndarray:
        """Read one example, or the batch at a slice or an array of indices."""
        if np.ndim(chosen := np.arange(len(self))[index]) == 0:
            return self.read(int(chosen))
        return self.stacked([self.read(number) for number in chosen.tolist()])

    def stacked(self, examples: Sequence[np.ndarray]) -> np.ndarray:
        """Return examples as a batch, which may be empty."""
        return np.stack(examples) if examples else np.empty((0, *self.shape[1:]), self.dtype)

    def take(self, indices: np.ndarray) -> Source:
        """Return the examples at these indices; nothing is read."""
        return View(self, np.asarray(indices))

    def load(self, what: str) -> np.ndarray:
        """Read all examples in parallel into an array, with a progress bar.

        Raises:
            ValueError: naming every file that cannot be read.
        """
        return collect(read_each(self.read, range(len(self))), len(self), what)


@dataclass(frozen=True, eq=False)
class View(Source):
    """The examples of a source at indices."""

    source: Source
    indices: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.indices), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def read(self, index: int) -> np.ndarray:
        return self.source.read(int(self.indices[index]))

    def fingerprint(self) -> str:
        return hash_of(self.source.fingerprint(), self.indices.tobytes())


@dataclass(frozen=True, eq=False)
class Mapped(Source):
    """The examples of a source, changed by a function of a batch that keeps shape and data type."""

    source: Source
    function: Callable[[np.ndarray], np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def read(self, index: int) -> np.ndarray:
        return self.function(self.source.read(index)[None])[0]

    def fingerprint(self) -> str:
        return self.source.fingerprint()


def mapped(targets: np.ndarray | Source, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | Source:
    """Return targets changed by a function; those of a source, or of batches of the user's own, when they are read."""
    if hasattr(targets, "mapped"):
        return targets.mapped(function)
    return Mapped(targets, function) if isinstance(targets, Source) else function(targets)


def as_targets(labels) -> np.ndarray | Source:
    """Return raw targets as an array; a source as it is."""
    return labels if isinstance(labels, Source) else np.asarray(labels)


def sampled(inputs: np.ndarray | Source) -> np.ndarray:
    """Return an array itself, and a fixed random sample of a source."""
    if not isinstance(inputs, Source):
        return inputs
    chosen = np.random.default_rng(0).choice(len(inputs), min(len(inputs), SAMPLE), replace=False)
    return inputs.take(np.sort(chosen)).load("measuring mean and standard deviation")


def hash_of(*parts: str | bytes) -> str:
    """Return a hash of texts and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        found = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(found).to_bytes(8, "little"))
        digest.update(found)
    return digest.hexdigest()


def array_of(files: Sequence[File]) -> np.ndarray:
    """Return files as an array of objects."""
    found = np.empty(len(files), object)
    found[:] = files
    return found


def described(file: File) -> str:
    """Return the path of a file, its size and the time of its last change, as far as they are known."""
    if not isinstance(file, Path):
        return str(file)
    found = file.stat()
    return f"{file} {found.st_size} {found.st_mtime_ns}"
