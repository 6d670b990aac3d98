"""Robustness to shifts: networks whose result is known, each kind of data, pooling, errors."""

import dataclasses
import io
import json
import shutil

import keras
import numpy as np
import pytest
from networks import FAMILIES, smallest_working
from rich.console import Console
from typer.testing import CliRunner

import kzoo
from kzoo.analysis.shift import changes_of, shift_runs, shift_test
from kzoo.analysis.shift.stages import find_stages
from kzoo.cli import app
from kzoo.data.audio import Recordings
from kzoo.data.audio.preprocess import AudioPreprocess
from kzoo.data.image.preprocess import ImagePreprocess
from kzoo.data.splits import Examples, Splits
from kzoo.data.text.preprocess import TextPreprocess
from kzoo.data.timeseries.preprocess import SeriesPreprocess
from kzoo.nn.inspection import feature_layers
from kzoo.tasks import Classification

RNG = np.random.default_rng(0)


def splits_of(modality: str, preprocess, inputs: np.ndarray, labels=None) -> Splits:
    """Return a dataset of two classes whose three splits are the same examples."""
    labels = np.arange(len(inputs)) % 2 if labels is None else labels
    examples = Examples(inputs, np.asarray(labels, "int32"))
    named = dict.fromkeys(("train", "validation", "test"), examples)
    return Splits("made", modality, named, Classification(("no", "yes")), preprocess, batch_size=8)


def images(inputs: np.ndarray, labels=None) -> Splits:
    """Return a dataset of 8-bit images of one channel that the model sees as they are."""
    step = ImagePreprocess(inputs.shape[1:-1], inputs.shape[-1], (0.0,), (1.0,))
    return splits_of("image", step, inputs.astype("uint8"), labels)


def noise(size: int = 24) -> Splits:
    return images(RNG.integers(0, 256, (8, size, size, 1)))


def texts() -> Splits:
    step = TextPreprocess("words", 24, tuple("abcdefghij"))
    return splits_of("text", step, np.array(["a b c d e f g h i j"] * 8, dtype=object))


def series(**options) -> Splits:
    step = SeriesPreprocess(40, (0.0, 0.0), (1.0, 2.0), "none", **options)
    return splits_of("timeseries", step, RNG.normal(size=(8, 40, 2)).astype("float32"))


def recordings(**options) -> Splits:
    waves = RNG.integers(-9999, 9999, (8, 4000)).astype("int16")
    made = Recordings(waves, np.arange(8, dtype="int32") % 2, 8000)
    return splits_of("audio", AudioPreprocess.fit(made, **options), waves)


def network(shape, *layers) -> keras.Model:
    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="made")


def classifier(shape, *layers) -> keras.Model:
    """Return layers of features, their mean over all positions, and two logits."""
    pool = keras.layers.GlobalAveragePooling2D() if len(shape) == 3 else keras.layers.GlobalAveragePooling1D()
    keras.utils.set_random_seed(0)
    return network(shape, *layers, keras.layers.Identity(name="stage1"), pool, keras.layers.Dense(2, name="logits"))


def stage_of(report) -> tuple:
    (stage,) = report.stages
    return stage


def printed(thing) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(thing)
    return console.file.getvalue()


# -- predictions


def test_a_convolution_and_a_mean_over_black_ground_do_not_see_a_shift():
    inputs = np.zeros((8, 14, 14, 1))
    inputs[:, 5:9, 5:9] = RNG.integers(0, 256, (8, 4, 4, 1))
    conv = keras.layers.Conv2D(4, 3, padding="same", activation="relu", use_bias=False)
    report = shift_test(classifier((14, 14, 1), conv), images(inputs))
    assert len(report.shifts) == 49
    assert {result.consistency for result in report.shifts.values()} == {1.0}
    assert max(abs(result.probability_change) for result in report.shifts.values()) < 1e-4
    assert stage_of(report).errors == pytest.approx({1: 0, 2: 0, 3: 0}, abs=1e-5)


def half_reader(size: int) -> keras.Model:
    """Return a dense network that tells whether what is bright is in the right half."""
    model = network((size, size, 1), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False))
    weights = np.zeros((size, size, 2), "float32")
    weights[:, : size // 2, 0] = weights[:, size // 2 :, 1] = 1.0
    model.layers[-1].set_weights([weights.reshape(-1, 2)])
    return model


def test_a_network_that_reads_pixels_answers_to_each_shift_as_it_must():
    inputs = np.zeros((8, 12, 12, 1))
    inputs[::2, 6, 5], inputs[1::2, 6, 6] = 200, 200
    report = shift_test(half_reader(12), images(inputs), max_shift=2)
    assert report.shifts[0, 0] == (1.0, 0.0, 1.0)
    assert report.shifts[2, 0].consistency == 1.0
    assert report.shifts[0, 1] == pytest.approx((0.5, -0.5, 0.5))  # what was left of the middle is right of it
    assert report.shifts[0, -1] == pytest.approx((0.5, -0.5, 0.5))
    assert report.by_distance[1].consistency == pytest.approx((2 * 1.0 + 6 * 0.5) / 8)
    assert report.stages == ()


def test_examples_are_taken_evenly_and_the_same_each_time(digits, run):
    model, _ = kzoo.load_run(run)
    first, second = (shift_test(model, digits, max_shift=1, examples=50, split="validation") for _ in range(2))
    assert first.to_dict() == second.to_dict()
    assert (first.examples, first.split, first.dataset, first.unit) == (50, "validation", "digits", "pixels")


# -- changes


def bright(*place: int) -> np.ndarray:
    image = np.zeros((1, 11, 11, 1), "uint8")
    image[0][place] = 200
    return image


def test_changes_of_images_do_what_they_say():
    changes = changes_of(noise(11))
    turned = changes.others["rotation"].apply(bright(5, 8), 90.0, None)
    np.testing.assert_array_equal(turned, bright(2, 5))  # from the right of the middle to above it
    larger = changes.others["scale"].apply(bright(5, 7), 2.0, None)
    assert larger.argmax() == bright(5, 9).argmax()
    np.testing.assert_array_equal(changes.shift(bright(5, 8), (1, -2)), bright(6, 6))
    grey = np.full((1, 99, 99, 1), 100, "uint8")
    step = dataclasses.replace(noise(99).preprocess, std=(50.0,))
    noisy = changes_of(splits_of("image", step, grey)).others["noise"].apply(grey, 0.2, np.random.default_rng(0))
    assert noisy.dtype == "uint8"
    assert noisy.std() == pytest.approx(10, rel=0.05)


def test_maps_with_one_axis_have_no_rotation():
    changes = changes_of(images(RNG.integers(0, 256, (8, 30, 1))))
    assert (changes.axes, list(changes.others)) == ((0,), ["noise"])


@pytest.mark.parametrize("layout, axis", [("time_frequency", 1), ("frequency_time", 2), ("time", 1)])
def test_spectra_are_moved_by_frames(layout, axis):
    data = recordings(layout=layout)
    changes, raw = changes_of(data), data.examples["test"].inputs
    assert (changes.unit, changes.axes) == ("frames of 10 ms", (axis - 1,))
    before = np.asarray(data.preprocess(raw)).take(range(5, 40), axis)
    after = np.asarray(data.preprocess(changes.shift(raw, (2,)))).take(range(7, 42), axis)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_changes_of_recordings_stay_in_range():
    data = recordings(feature="waveform")
    changes, raw = changes_of(data), data.examples["test"].inputs
    assert (changes.unit, changes.filled) == ("samples", "silence")
    assert changes.shift(raw, (3,))[0, :4].tolist() == [0, 0, 0, raw[0, 0]]
    assert changes.others["amplitude"].apply(raw, 4.0, None).max() == 32767
    noisy = changes.others["noise"].apply(raw, 0.1, np.random.default_rng(0)).astype("float64")
    assert (noisy - raw).std() / raw.std() == pytest.approx(0.1, rel=0.05)
    assert changes.others["speed"].apply(raw, 1.1, None)[0, 0] == 0


def test_changes_of_series():
    data = series()
    changes, raw = changes_of(data), data.examples["test"].inputs
    np.testing.assert_array_equal(changes.shift(raw, (-2,))[:, -2:], raw[:, [-1, -1]])  # the last step again
    ramp = np.arange(41, dtype="float32").reshape(1, 41, 1)
    np.testing.assert_allclose(changes.others["speed"].apply(ramp, 1.1, None)[0, [10, 20, 30], 0], [9, 20, 31])
    noisy = changes.others["noise"].apply(np.zeros((99, 40, 2), "float32"), 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(noisy.std((0, 1)), [0.1, 0.2], rtol=0.1)


def test_padding_of_series_gets_no_noise():
    data = series(unequal="pad")
    raw = data.examples["test"].inputs.copy()
    raw[:, 30:] = 0
    noisy = changes_of(data).others["noise"].apply(raw, 0.1, np.random.default_rng(0))
    assert (noisy[:, 30:] == 0).all()
    assert (noisy[:, :30] != raw[:, :30]).all()


def test_changes_of_texts():
    data = texts()
    changes, ids = changes_of(data), np.asarray(data.preprocess(data.examples["test"].inputs))
    assert changes.shift(ids, (2,))[0, :13].tolist() == [0, 0, *range(2, 12), 0]
    assert changes.shift(ids, (-2,))[0, :9].tolist() == [*range(4, 12), 0]
    replaced = changes.others["noise"].apply(ids, 0.4, np.random.default_rng(0))
    assert 10 < (replaced[:, :10] == 1).sum() < 54
    assert (replaced[:, 10:] == 0).all()


# -- stages


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_interior_of_a_convolution_moves_exactly_with_the_input(padding):
    conv = keras.layers.Conv2D(4, 5, padding=padding, activation="relu")
    stage = stage_of(shift_test(classifier((24, 24, 1), conv), noise(), examples=8))
    assert (stage.inside, stage.stride) == (True, (1, 1))
    assert [stage.at_stride, *stage.errors.values()] == pytest.approx([0] * 4, abs=1e-5)


def test_steps_are_exact_at_their_multiples_alone():
    conv = keras.layers.Conv2D(4, 3, strides=2, activation="relu")
    stage = stage_of(shift_test(classifier((24, 24, 1), conv), noise(), examples=8))
    assert stage.stride == (2, 2)
    assert [stage.at_stride, stage.errors[2]] == pytest.approx([0, 0], abs=1e-5)
    assert min(stage.errors[1], stage.errors[3]) > 0.3


def test_features_that_have_nothing_to_do_with_each_other_have_an_error_of_about_1():
    conv = keras.layers.Conv2D(1, 1, strides=2)
    conv_of_noise = classifier((64, 64, 1), conv)
    stage = stage_of(shift_test(conv_of_noise, noise(64), max_shift=1, examples=8))
    # the mean of two neighbours against a third value, all of variance 1: (1/2 + 1) / (1/2 + 1)
    assert stage.errors[1] == pytest.approx(1, abs=0.02)


def test_a_stage_without_an_interior_is_compared_with_its_ends():
    conv = keras.layers.Conv2D(4, 23, padding="same")
    report = shift_test(classifier((24, 24, 1), conv), noise(), examples=8)
    assert not stage_of(report).inside
    assert 0.05 < stage_of(report).errors[1] < 1
    assert "stage1*" in printed(report)


def test_spectra_move_exactly_but_for_frames_at_the_ends():
    data = recordings()
    conv = keras.layers.Conv2D(4, (3, 40), activation="relu")
    stage = stage_of(shift_test(classifier(data.input_shape, conv), data))
    assert stage.stride == (1,)
    assert max(stage.errors.values()) < 1e-4


def test_the_more_a_pooling_blurs_the_more_exactly_features_move():
    def error(pooling):
        keras.utils.set_random_seed(0)
        model = kzoo.models.convnet((24, 24, 1), 2, pooling=pooling, filters=(8,), padding="same")
        return stage_of(shift_test(model, noise(), max_shift=1, examples=8)).errors[1]

    errors = [error(pooling) for pooling in ("blur", "avg", "max", "stride")]
    assert errors == sorted(errors)
    assert errors[0] < 0.7 * errors[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_stages_of_every_family_are_found(name):
    model = smallest_working(name, kzoo.model_card(name).dims[-1])
    shape = model.input_shape[1:]
    found = find_stages(model, shape, range(max(1, len(shape) - 1)))
    assert all(axis.count >= 1 for stage in found.values() for axis in stage.along)


# -- every kind of data


@pytest.mark.parametrize(
    "data, model, unit",
    [
        (lambda: recordings(feature="waveform"), lambda shape: kzoo.models.m5(shape, 2, width=4), "samples"),
        (lambda: recordings(), lambda shape: kzoo.models.ds_cnn(shape, 2, width=8), "frames of 10 ms"),
        (series, lambda shape: kzoo.models.fcn(shape, 2, filters=(4, 8, 4)), "steps"),
        (texts, lambda shape: kzoo.models.resnet8(shape, 2, vocab_size=12, width=4), "tokens"),
    ],
)
def test_signals_are_moved_along_one_axis(data, model, unit, tmp_path):
    splits = data()
    report = shift_test(model(splits.input_shape), splits, max_shift=2)
    assert list(report.shifts) == [(-2,), (-1,), (0,), (1,), (2,)]
    assert report.unit == unit
    assert report.stages
    assert all(0 <= result.consistency <= 1 for row in report.changes.values() for result in row.values())
    assert f"shift by 2 {unit}" in printed(report)
    assert report.draw(tmp_path / "new" / "shift.svg").stat().st_size > 1000


def test_a_network_of_bfloat16_is_measured_in_float32(digits):
    model = kzoo.create_model("convnet", digits.input_shape, 10, precision="mixed_bfloat16", padding="same")
    assert shift_test(model, digits, max_shift=1, examples=8).shifts[0, 0].consistency == 1


# -- pooling


@pytest.mark.slow
def test_blur_pooling_is_more_consistent_than_max_pooling_after_training(digits):
    def consistency(pooling):
        keras.utils.set_random_seed(0)
        options = {"filters": (16, 32), "padding": "same", "norm": "batch", "flatten": False, "dropout": 0.0}
        model = kzoo.models.convnet(digits.input_shape, 10, pooling=pooling, dialect="pytorch", **options)
        kzoo.fit(model, digits, epochs=3, learning_rate=3e-3, verbose=False)
        return shift_test(model, digits, max_shift=1).by_distance[1].consistency

    assert consistency("blur") > consistency("max") + 0.05


@pytest.mark.parametrize(
    "name, shape, options",
    [
        ("convnet", (28, 27, 1), {"pooling": "blur"}),
        ("convnet", (50, 1), {"pooling": "blur"}),
        ("vgg11", (64, 64, 3), {"blur": True, "width": 8, "dense_units": (8,)}),
        (
            "mobilenetv1_100",
            (64, 64, 3),
            {"blur": True, "depths": (1, 1, 1), "filters": (8,) * 3, "strides": (1, 2, 2)},
        ),
        pytest.param("mobilenet_v2", (64, 3), {"blur": True}, marks=pytest.mark.slow),
        ("resnet18", (64, 64, 3), {"blur": True, "stem": "blurred", "shortcut": "blurred", "width": 8}),
    ],
)
def test_blur_leaves_weights_and_sizes_as_they_are(name, shape, options):
    plain = {key: value for key, value in options.items() if key not in ("blur", "pooling", "stem", "shortcut")}
    both = [kzoo.create_model(name, shape, 5, **chosen) for chosen in (options, plain)]
    weights = [[(weight.path, weight.shape) for weight in model.trainable_weights] for model in both]
    assert weights[0] == weights[1]
    sizes = [{stage: layer.output.shape for stage, layer in feature_layers(model).items()} for model in both]
    assert sizes[0] == sizes[1]
    assert sum("AveragePooling" in type(layer).__name__ for layer in both[0].layers) >= 4


# -- several runs, the command, mistakes


def test_the_command_compares_runs(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    options = ["--max-shift", "1", "--examples", "20", "--json"]
    result = CliRunner().invoke(app, ["shift", str(run), "other", *options])
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["runs"]
    assert (first["run"], second["run"]) == ("digits", "other")
    assert first["by_distance"] == second["by_distance"]
    assert len(first["shifts"]) == 9
    assert (tmp_path / "shift.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_tables_and_pictures(run, tmp_path):
    one = shift_runs([run], max_shift=1, examples=20)
    assert "shift by 1 pixel " in printed(one)
    assert "rotation -5 degrees" in printed(one)
    two = dataclasses.replace(one, names=("a", "b"), reports=one.reports * 2)
    header = next(line for line in printed(two).splitlines() if line.startswith("run"))
    assert header.split()[:6] == ["run", "accuracy", "1", "rotation", "scale", "noise"]
    assert two.draw(tmp_path / "two.png").stat().st_size > 10_000
    assert one.reports[0].draw(tmp_path / "one.png").stat().st_size > 10_000
    other = dataclasses.replace(one.reports[0], dataset="mnist")
    both = dataclasses.replace(two, reports=(one.reports[0], other))
    assert both.notes() == ["the runs use different datasets (digits, mnist)"]
    with pytest.raises(ValueError, match="cannot be written as shift.xyz; choose a name that ends in .png"):
        two.draw(tmp_path / "shift.xyz")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_shift": 0}, "max_shift must be a positive integer, got 0"),
        ({"max_shift": 1.5}, "max_shift must be a positive integer, got 1.5"),
        ({"max_shift": True}, "max_shift must be a positive integer, got True"),
        ({"max_shift": 8}, "max_shift must be below the 8 pixels of the input of digits, got 8: nothing would be left"),
        ({"examples": 0}, "examples must be a positive integer, got 0"),
        ({"split": "tset"}, "unknown split 'tset'; did you mean test"),
    ],
)
def test_bad_options_are_explained(options, message, run, digits):
    with pytest.raises(ValueError, match=message):
        shift_test(kzoo.load_run(run)[0], digits, **options)


def test_models_that_do_not_fit_are_explained(digits):
    model = kzoo.create_model("convnet", digits.input_shape, digits.num_classes, padding="same")
    with pytest.raises(ValueError, match=r"convnet takes input \(8, 8, 1\) but made gives \(24, 24, 1\)"):
        shift_test(model, dataclasses.replace(noise(), task=digits.task))
    with pytest.raises(ValueError, match="convnet has 10 outputs but made has 2 classes"):
        shift_test(model, noise(8))

    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="only a built model of Keras layers"):
        shift_test(Subclassed(), digits)
    with pytest.raises(ValueError, match="unknown kind of data with shifts 'video'"):
        shift_test(model, dataclasses.replace(digits, modality="video"))


def test_runs_that_do_not_compare_are_explained(run, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nowhere is not a run directory of kzoo"):
        shift_runs(["nowhere"])
    with pytest.raises(ValueError, match="a shift test needs one or more different runs, got none"):
        shift_runs([])
    with pytest.raises(ValueError, match="a shift test needs one or more different runs, got .*digits"):
        shift_runs([run, run])
    one = shift_runs([run], max_shift=1, examples=5).reports[0]
    found = iter([one, dataclasses.replace(one, unit="samples")])
    monkeypatch.setattr("kzoo.analysis.shift.shift_test", lambda *args, **options: next(found))
    shutil.copytree(run, tmp_path / "sound")
    with pytest.raises(ValueError, match="shifts by pixels and by samples cannot be compared"):
        shift_runs([run, tmp_path / "sound"])
