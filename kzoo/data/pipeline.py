"""Backend functions in a `tf.data` pipeline."""

from collections.abc import Callable, Sequence

from kzoo.core.lazy import keras, tf


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
