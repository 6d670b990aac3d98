"""Arrays of many examples, in memory or memory-mapped from a temporary file."""

from __future__ import annotations

from collections.abc import Iterable
from tempfile import TemporaryFile

from kzoo.core.lazy import np, rich_progress

MEMORY_LIMIT = 4 * 2**30  # bytes; a larger split is memory-mapped from a temporary file


def collect(images: Iterable[np.ndarray], count: int, what: str) -> np.ndarray:
    """Stack images of one shape into an array, in memory or, if large, memory-mapped from a temporary file.

    Raises:
        ValueError: if the images differ in size.
    """
    stack = None
    for index, image in enumerate(rich_progress.track(images, what, count, transient=True)):
        if stack is None:
            stack = allocate((count, *image.shape), image.dtype)
        if image.shape != stack.shape[1:]:
            raise ValueError(
                f"the images differ in size (the first is {stack.shape[1:]}, number {index + 1} is {image.shape}); "
                "give image_size"
            )
        stack[index] = image
    return stack


def allocate(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Return an empty array; one above `MEMORY_LIMIT` is a temporary file that is deleted with the process."""
    if np.prod(shape, dtype="int64") * np.dtype(dtype).itemsize <= MEMORY_LIMIT:
        return np.empty(shape, dtype)
    return np.memmap(TemporaryFile(), dtype, "w+", shape=shape)


def to_array(values) -> np.ndarray:
    """Return what numpy, pandas, PyTorch, TensorFlow or Python have as an array; strings as objects."""
    if hasattr(values, "detach"):  # PyTorch
        values = values.detach().cpu()
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind in "OSU":
        array = array[:, 0]
    return array.astype(object) if array.dtype.kind in "SU" else array
