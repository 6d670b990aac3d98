"""MixUp and CutMix: what becomes of pairs of examples, and of their labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import kzoo
from kzoo.data.audio import AudioAugment, AudioPreprocess, Recordings
from kzoo.data.mixing import Mixing, beta
from kzoo.data.splits import Examples
from kzoo.data.timeseries import SeriesPreprocess

SEED = tf.constant([1, 2])
COUNT = 400
LABELS = tf.constant(np.arange(COUNT) % 5, tf.int32)


class Shape:
    """Stands for a preprocessing, of which Mixing needs the shape of the features alone."""

    def __init__(self, *input_shape: int):
        self.input_shape = input_shape


def numbered(*shape: int):
    """Return examples each of which is its own number everywhere."""
    return tf.broadcast_to(tf.reshape(tf.range(COUNT, dtype=tf.float32), [-1] + [1] * len(shape)), [COUNT, *shape])


def mixed(mixing: Mixing, features, preprocess=None, seed=SEED):
    """Return mixed features and labels, and which share of each feature is the example's own."""
    preprocess = preprocess or Shape(*features.shape[1:])
    x, y = (t.numpy() for t in mixing.mix(features, LABELS, 5, seed, preprocess))
    other = np.roll(features, 1, axis=0)
    return x, y, (x - other) / (features.numpy() - other)


@pytest.mark.parametrize("concentration", [0.01, 0.2, 1.0, 8.0])
def test_shares_have_the_beta_distribution(concentration):
    shares = beta(4000, concentration, SEED).numpy()
    assert np.isfinite(shares).all()
    if concentration < 0.1:  # too near to 0 and 1 for a test of the distribution in float32
        assert (np.minimum(shares, 1 - shares) < 0.01).mean() > 0.9
        assert abs(shares.mean() - 0.5) < 0.03
    else:
        assert stats.kstest(shares, stats.beta(concentration, concentration).cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", [(6, 5, 3), (12, 2), (7, 1)])
def test_mixup_is_the_weighted_mean_of_examples_and_of_labels(shape):
    x, y, own = mixed(Mixing(mixup=1.0), numbered(*shape))
    share = own.reshape(COUNT, -1)[:, 0]
    np.testing.assert_allclose(own, np.broadcast_to(share.reshape([-1] + [1] * len(shape)), own.shape), atol=1e-3)
    classes = np.eye(5)[LABELS.numpy()]
    np.testing.assert_allclose(y, share[:, None] * classes + (1 - share[:, None]) * np.roll(classes, 1, 0), atol=1e-3)
    assert share.std() > 0.2
    assert x.shape == (COUNT, *shape)


@pytest.mark.parametrize("shape, axes", [((20, 24, 3), (1, 2)), ((60, 2), (1,)), ((50, 1), (1,))])
def test_cutmix_is_a_box_of_the_other_example_and_labels_by_its_area(shape, axes):
    _, y, own = mixed(Mixing(cutmix=1.0), numbered(*shape))
    assert set(np.unique(own)) == {0.0, 1.0}
    foreign = own == 0
    assert (foreign == foreign[..., :1]).all()  # all channels
    spans = [foreign.any(axis=tuple(a for a in range(1, foreign.ndim) if a != axis)) for axis in axes]
    np.testing.assert_array_equal(
        np.prod([s.sum(axis=1) for s in spans], axis=0), foreign[..., 0].reshape(COUNT, -1).sum(1)
    )
    for span in spans:  # in one piece
        assert (np.abs(np.diff(np.pad(span.astype(int), [(0, 0), (1, 1)]), axis=1)).sum(axis=1) <= 2).all()
        assert span.any(axis=0).all()  # every place is reached
    np.testing.assert_allclose(y[np.arange(COUNT), LABELS], own.reshape(COUNT, -1).mean(axis=1), atol=1e-5)
    assert 0.55 < own.mean() < 0.75  # half, less what lies outside: on average 1/4 of a side


def test_with_both_each_batch_gets_one_of_them():
    features, both = numbered(8, 8, 1), Mixing(mixup=1.0, cutmix=1.0)
    cut = []
    for number in range(60):
        own = mixed(both, features, seed=tf.constant([0, number]))[2]
        whole = np.isin(own, (0, 1)).mean(axis=(1, 2, 3))
        cut.append(whole.mean() == 1)
    assert 18 <= sum(cut) <= 42


def test_without_either_labels_stay_class_numbers():
    features = numbered(4, 1)
    x, y = Mixing().mix(features, LABELS, 5, SEED, Shape(4, 1))
    assert x is features
    assert y is LABELS


def test_a_batch_of_one_example_stays():
    features = tf.ones([1, 4, 4, 1]) * 3
    for mixing in (Mixing(mixup=1.0), Mixing(cutmix=1.0)):
        x, y = mixing.mix(features, tf.constant([2]), 5, SEED, Shape(4, 4, 1))
        np.testing.assert_allclose(x, features, rtol=1e-6)
        np.testing.assert_allclose(y, [[0, 0, 1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "options, time",
    [
        ({"layout": "time_frequency"}, 1),
        ({"layout": "frequency_time"}, 2),
        ({"layout": "time"}, 1),
        ({"feature": "waveform"}, 1),
    ],
)
def test_cutmix_of_sound_takes_a_piece_of_time_with_all_its_bands(options, time):
    waves = np.random.default_rng(0).normal(0, 1000, (4, 2000)).astype("int16")
    preprocess = AudioPreprocess.fit(Recordings(waves, np.zeros(4, "int32"), 8000), **options)
    features = numbered(*preprocess.input_shape)
    own = mixed(AudioAugment(cutmix=1.0), features, preprocess)[2]
    others = tuple(axis for axis in range(1, own.ndim) if axis != time)
    assert (own.max(axis=others) == own.min(axis=others)).all()
    assert 0 < own.mean() < 1


def test_cutmix_of_series_takes_a_piece_of_time():
    series = np.random.default_rng(0).normal(size=(8, 40, 2)).astype("float32")
    preprocess = SeriesPreprocess.fit(Examples(series, np.zeros(8, "int32")))
    assert Mixing(cutmix=1.0).cut_axes(preprocess) == (1,)


@pytest.mark.parametrize("options", [{"mixup": -1}, {"cutmix": "much"}, {"mixup": 1000}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"augment.{next(iter(options))} must (lie between 0 and 100|be a number)"):
        Mixing(**options)


def test_a_network_learns_mixed_digits():
    digits = kzoo.load_dataset("digits", batch_size=32, augment={"mixup": 0.2, "cutmix": 1.0, "shift": 1})
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("convnet", digits.input_shape, digits.num_classes, padding="same", dropout=0.0)
    kzoo.fit(model, digits, epochs=3, learning_rate=3e-3, verbose=False)
    assert kzoo.evaluate(model, digits).accuracy > 0.85
