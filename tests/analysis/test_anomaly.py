"""Anomalies have larger reconstruction errors than the examples that an auto-encoder was trained on."""

import keras
import numpy as np
import pytest

import kzoo


@pytest.fixture(scope="module")
def waves():
    """Slow waves, and fast ones, which are the anomalies."""
    random = np.random.default_rng(0)
    rates = np.concatenate([random.uniform(0.2, 0.25, 150), random.uniform(0.5, 0.6, 30)])
    phases = random.uniform(0, 6, (180, 1))
    return np.sin(rates[:, None] * np.arange(32) + phases)[..., None].astype("float32"), np.arange(180) >= 150


def test_reconstruction_errors_tell_anomalies(waves):
    series, anomalous = waves
    keras.utils.set_random_seed(0)
    normal = series[:110]
    data = kzoo.from_arrays(
        normal, normal, task="restoration", modality="timeseries", validation=0.1, test=0, batch_size=10
    )
    model = kzoo.create_model("autoencoder", data.input_shape, 1, units=(16,), code=4)
    kzoo.fit(model, data, epochs=10, learning_rate=1e-2, verbose=False)
    report = kzoo.detect_anomalies(model, data, series[110:], anomalous[110:])
    assert (report.anomalies, len(report.errors)) == (30, 70)
    assert report.auc > 0.9
    assert report.auc_interval[0] <= report.auc <= report.auc_interval[1]
    assert 0.5 < report.partial_auc <= 1
    assert "partial AUC up to a false positive rate of 0.1" in str(report)
    with pytest.raises(ValueError, match="some of each, for 70 examples"):
        kzoo.detect_anomalies(model, data, series[110:], np.zeros(70, bool))
    with pytest.raises(ValueError, match=r"max_fpr must lie in \(0, 1\], got 0"):
        kzoo.detect_anomalies(model, data, series[110:], anomalous[110:], max_fpr=0)
