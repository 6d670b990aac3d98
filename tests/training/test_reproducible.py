"""Two trainings with one seed are equal to the last bit, for every kind of data; a run folder repeats itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
from networks import sampled

import kzoo
from kzoo.training import runs

SMALL = {
    "image/resnet8_digits": ["model.width=8", "data.augment.mixup=0.2"],
    "audio/bc_resnet_1_spoken_digits_synthetic": ["data.per_class=5", "data.batch_size=8"],
    "text/charcnn_small_language_names": ["model.filters=8", "model.dense_units=[8]"],
    "timeseries/lite_gunpoint": ["data.batch_size=16", "data.augment={jitter: 0.1, time_warp: 0.1}"],
}
NEEDS = {"audio": "espeakng_loader", "text": "babel", "timeseries": "sktime"}


@pytest.mark.parametrize("config", sampled([(name,) for name in SMALL], ("image/resnet8_digits",)))
def test_two_trainings_are_equal(config, tmp_path):
    pytest.importorskip(NEEDS.get(config.partition("/")[0], "keras"))
    overrides = ["train.epochs=2", "train.deterministic=true", *SMALL[config]]
    for name in ("one", "other"):
        kzoo.run_experiment(kzoo.load_experiment(config, overrides), tmp_path / name, verbose=False)
    for file in (runs.METRICS, runs.HISTORY, runs.CONFIG):
        assert (tmp_path / "one" / file).read_text() == (tmp_path / "other" / file).read_text()
    models = [kzoo.load_run(tmp_path / name)[0] for name in ("one", "other")]
    for ours, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    seed = json.loads((tmp_path / "one" / runs.ENVIRONMENT).read_text())["seed"]
    assert seed == 0


@pytest.mark.slow
def test_a_run_is_repeated_by_its_own_config(tmp_path):
    command = [sys.executable, "-m", "kzoo", "train"]
    first = ["image/resnet8_digits", "recipe=fast", "train.epochs=1", "train.deterministic=true", "--out", "first"]
    for arguments in (first, ["first/config.yaml", "--out", "again"]):
        result = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "first" / runs.METRICS).read_text() == (tmp_path / "again" / runs.METRICS).read_text()
    assert (tmp_path / "first" / runs.CONFIG).read_text() == (tmp_path / "again" / runs.CONFIG).read_text()
