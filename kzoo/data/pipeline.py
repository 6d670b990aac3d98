"""Functions of the backend within a `tf.data` pipeline."""

from collections.abc import Callable, Sequence

from kzoo.core.lazy import keras, tf


def computed(function: Callable, shape: Sequence[int | None], *tensors):
    """Return what a function of `keras.ops` makes of tensors; other backends than TensorFlow know none of graphs.

    Args:
        function: returns float32.
        shape: of what it returns.
        tensors: its arguments, of a graph.
    """
    if keras.backend.backend() == "tensorflow":
        return function(*tensors)

    def of_arrays(*arrays):
        return keras.ops.convert_to_numpy(function(*map(keras.ops.convert_to_tensor, arrays)))

    return tf.ensure_shape(tf.numpy_function(of_arrays, tensors, tf.float32), shape)
