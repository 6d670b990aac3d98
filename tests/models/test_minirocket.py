"""The layers of MiniRocket and MultiRocket: kernels, and features against a plain reference implementation."""

import importlib.util
import itertools

import keras
import numpy as np
import pytest

import kzoo
from kzoo.nn.handcrafted import KERNELS, MiniRocketFeatures, MultiRocketFeatures, dilations


def by_hand(series: np.ndarray, layer: MiniRocketFeatures, statistic=None, nearer: int = 0) -> list:
    """Return the features of one series (length, channels) by the paper's definition, in plain loops.

    Args:
        series: one series.
        layer: with its thresholds.
        statistic: function of answers and a threshold; the proportion above it if not given.
        nearer: steps by which the taps before the middle are nearer to it than the dilation says.
    """
    statistic = statistic or (lambda answers, threshold: (answers > threshold).mean())
    thresholds = iter(keras.ops.convert_to_numpy(layer.thresholds))
    channels = keras.ops.convert_to_numpy(layer.channels)
    found = []
    for place, (dilation, count) in enumerate(layer.dilations):
        for number, twos in enumerate(itertools.combinations(range(9), 3)):
            weights = np.full(9, -1.0)
            weights[list(twos)] = 2
            signal = series @ channels[place, :, number]
            padded = np.pad(signal, 4 * dilation)
            starts = [tap * dilation + nearer * (tap < 4) for tap in range(9)]
            answers = sum(w * padded[start:][: len(signal)] for start, w in zip(starts, weights, strict=True))
            if (place + number) % 2:
                answers = answers[4 * dilation : len(signal) - 4 * dilation]
            found += [statistic(answers, next(thresholds)) for _ in range(count)]
    return found


@pytest.mark.parametrize("length, channels", [(40, 1), (51, 3), (9, 1)])
def test_features_are_those_of_the_definition(length, channels):
    series = np.random.default_rng(0).normal(size=(6, length, channels)).astype("float32")
    layer = MiniRocketFeatures(features=500)
    layer.build(series.shape)
    layer.adapt(series)
    features = keras.ops.convert_to_numpy(layer(series))
    assert features.shape == (6, 5 * 84)
    # a threshold is a quantile of answers, and may be one of them: then the last digit decides
    differ = np.abs(features[0] - by_hand(series[0], layer)) > 1e-6
    assert differ.mean() < 0.01


def four_by_hand(answers: np.ndarray, threshold: float) -> tuple[float, float, float, float]:
    """Return MultiRocket's statistics of answers above a threshold, step by step."""
    above, last, longest = [], 0, 0
    for step, answer in enumerate(answers):
        if answer > threshold:
            above.append((step, answer + threshold))
        elif answer < threshold:
            longest, last = max(longest, step - last), step
    longest = max(longest, len(answers) - 1 - last)
    steps, values = zip(*above, strict=True) if above else ((-1,), (0,))
    return len(above) / len(answers), longest, np.mean(values), np.mean(steps)


@pytest.mark.parametrize("length, channels", [(40, 1), (51, 3), (10, 1)])
def test_features_of_multirocket_are_those_of_the_definition(length, channels):
    series = np.random.default_rng(0).normal(size=(6, length, channels)).astype("float32")
    layer = MultiRocketFeatures(features=200)
    layer.build(series.shape)
    layer.adapt(series)
    features = keras.ops.convert_to_numpy(layer(series))
    assert features.shape == (6, 2 * 4 * 2 * 84)
    parts = ((layer.series, series[0], 0), (layer.differences, np.diff(series[0], axis=0), 1))
    expected = [np.array(by_hand(signal, part, four_by_hand, nearer)).T for part, signal, nearer in parts]
    differ = np.abs(features[0] - np.concatenate(expected).ravel()) > 1e-3 * (1 + np.abs(features[0]))
    assert differ.mean() < 0.01


def test_kernels_have_zero_mean():
    assert KERNELS.shape == (84, 9)
    assert (KERNELS.sum(axis=1) == 0).all()


def test_the_widest_dilation_spans_the_series():
    steps, counts = zip(*dilations(150, 10_000, 32), strict=True)
    assert steps[0] == 1
    assert 8 * steps[-1] <= 149 < 8 * (steps[-1] + 1)
    assert sum(counts) == 10_000 // 84


def test_it_is_fitted_saved_and_served(tmp_path):
    if not any(map(importlib.util.find_spec, ("sktime", "aeon"))):
        pytest.skip("needs the sets inside sktime or aeon")
    splits = kzoo.load_dataset("ItalyPowerDemand", validation=0)
    model = kzoo.models.minirocket(splits.input_shape, splits.num_classes, num_features=1000)
    kzoo.fit(model, splits, solver="ridge", run_dir=tmp_path, verbose=False)
    report = kzoo.evaluate(model, splits)
    assert report.accuracy > 0.95
    assert report.loss < 0.2  # the scores are turned into probabilities
    loaded, _ = kzoo.load_run(tmp_path)
    assert kzoo.evaluate(loaded, splits).accuracy == report.accuracy


@pytest.mark.parametrize(
    "shape, options, message",
    [
        ((8, 1), {}, r"too small for minirocket; the smallest that works is \(9, 1\)"),
        ((None, 1), {}, "fixed input size"),
        ((50, 1), {"num_features": 83}, "needs 84 features"),
        ((8, 8, 1), {}, "takes 1-D feature maps"),
    ],
)
def test_mistakes_are_explained(shape, options, message):
    with pytest.raises(ValueError, match=message):
        kzoo.models.minirocket(shape, 2, **options)
