"""Operations for which Keras has others, written so that they can be exported to every format."""

from kzoo.core.lazy import keras


def argmax(values, axis: int = -1):
    """Return the index of the first of the largest values along an axis, int32; 0 where one of them is NaN.

    Keras's own looks at the bits of floats, to tell -0.0 from 0.0, which ONNX, LiteRT and OpenVINO cannot.
    """
    largest = keras.ops.max(values, axis=axis, keepdims=True)
    return keras.ops.argmax(keras.ops.cast(keras.ops.equal(values, largest), "int32"), axis=axis)
