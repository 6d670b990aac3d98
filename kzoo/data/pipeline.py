"""Backend functions and reading at indices in a `tf.data` pipeline."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from kzoo.core.lazy import keras, np, tf


def computed(function: Callable, shape: Sequence[int | None], *tensors):
    """Call a function of `keras.ops` in a `tf.data` pipeline; on other backends it runs as a `tf.numpy_function`.

    Args:
        function: returns a float32 tensor.
        shape: of the result.
        tensors: the function's arguments, TensorFlow tensors.
    """
    if keras.backend.backend() == "tensorflow":
        return function(*tensors)

    def of_arrays(*arrays):
        return keras.ops.convert_to_numpy(function(*map(keras.ops.convert_to_tensor, arrays)))

    return tf.ensure_shape(tf.numpy_function(of_arrays, tensors, tf.float32), shape)


def as_written(function: Callable) -> Callable:
    """Return a function for a `tf.data` pipeline without AutoGraph: nothing here needs it, and it takes seconds."""
    return tf.autograph.experimental.do_not_convert(function)


def reader(inputs) -> Callable:
    """Return a function from a tensor of indices to the examples there, of an array in memory or of a source."""
    if isinstance(inputs, np.ndarray) and not isinstance(inputs, np.memmap):
        whole = tf.constant(inputs)
        return lambda indices: tf.gather(whole, indices)

    def read(indices):
        batch = tf.numpy_function(inputs.__getitem__, [indices], inputs.dtype)
        return tf.ensure_shape(batch, (None, *inputs.shape[1:]))

    return read


def encoded(read: Callable, encode: Callable, first) -> Callable:
    """Return a function that reads in a `tf.data` pipeline and applies a function of arrays.

    Args:
        read: returns a tensor, (batch, ...).
        encode: function from an array to an array, for which the axis of the batch is the same.
        first: an array as `read` returns it, for data type and shape; the function keeps a shape that is not known.
    """
    like = encode(first)

    def reading(*arguments):
        given = read(*arguments)
        batch = tf.numpy_function(encode, [given], like.dtype)
        return tf.ensure_shape(batch, given.shape if None in given.shape[1:] else (None, *like.shape[1:]))

    return reading


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Raise a ValueError of a function that ran in a `tf.data` pipeline as itself, not inside one of TensorFlow's."""
    try:
        yield
    except Exception as error:
        found = re.search(r"ValueError: (.*)", str(error))
        if found and "tensorflow" in sys.modules and isinstance(error, tf.errors.OpError):
            raise ValueError(found[1]) from None
        raise
