"""Statistics over time of each channel, the classic input of an SVM for sound."""

import keras
import numpy as np

from kzoo.nn.handcrafted.layer import Adaptable, FixedFeatures

REACH = 2  # steps on either side that a slope is fitted to
STATISTICS = {
    "mean": lambda x: keras.ops.mean(x, axis=1),
    "deviation": lambda x: keras.ops.sqrt(keras.ops.var(x, axis=1) + 1e-12),
    "least": lambda x: keras.ops.min(x, axis=1),
    "greatest": lambda x: keras.ops.max(x, axis=1),
}


@keras.saving.register_keras_serializable("kzoo")
class TimeStatistics(Adaptable, FixedFeatures):
    """Mean, standard deviation, minimum and maximum over time, of each channel and of its slope.

    Maps (batch, length, channels) to (batch, 8 x channels). The statistics are then standardised to mean 0 and standard
    deviation 1 over the training inputs, by weights that are not trainable; `adapt` sets them.
    """

    def build(self, input_shape):
        shape = (2 * len(STATISTICS) * input_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=shape, initializer="ones", trainable=False, name="deviation")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2 * len(STATISTICS) * input_shape[-1])

    def call(self, x):
        return (self.statistics(x) - self.mean) / self.deviation

    def statistics(self, x):
        """Return the statistics before standardisation."""
        return keras.ops.concatenate([of(part) for part in (x, slopes(x)) for of in STATISTICS.values()], axis=-1)

    def adapt(self, inputs: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> None:
        """Take means and standard deviations from the training inputs of this layer; labels and seed are not used."""
        found = keras.ops.convert_to_numpy(self.statistics(inputs)).astype("float64")
        deviation = found.std(axis=0)
        self.mean.assign(found.mean(axis=0))
        self.deviation.assign(np.where(deviation > 0, deviation, 1.0))


def slopes(x):
    """Return the slope of a least-squares line through each step and its neighbours, with the ends repeated.

    These are the deltas of speech recognition (Furui, 1986).
    """
    length = keras.ops.shape(x)[1]
    ends = [keras.ops.repeat(end, REACH, axis=1) for end in (x[:, :1], x[:, -1:])]
    longer = keras.ops.concatenate([ends[0], x, ends[1]], axis=1)
    steps = range(-REACH, REACH + 1)
    total = sum(step * longer[:, REACH + step : REACH + step + length] for step in steps if step)
    return total / sum(step**2 for step in steps)
