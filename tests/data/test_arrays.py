"""Arrays in memory as datasets: labels and inputs of every kind, and what is said of bad ones."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data.serving import Serving

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8, 3), dtype="uint8")
LABELS = np.arange(40) % 2


def sizes(data) -> dict[str, int]:
    return {split: len(part) for split, part in data.examples.items()}


class TestLabels:
    @pytest.mark.parametrize(
        "labels, names",
        [
            (LABELS, ("0", "1")),
            (LABELS + 1, ("1", "2")),
            (LABELS.astype("float32"), ("0", "1")),
            (LABELS > 0, ("False", "True")),
            (np.where(LABELS, "dog", "cat"), ("cat", "dog")),
            (["dog" if label else "cat" for label in LABELS], ("cat", "dog")),
            (LABELS[:, None], ("0", "1")),
            (np.eye(2)[LABELS], ("0", "1")),
        ],
    )
    def test_of_every_kind(self, labels, names):
        data = kzoo.from_arrays(IMAGES, labels, validation=(IMAGES, labels), test=(IMAGES, labels))
        assert data.class_names == names
        assert data.examples["test"].labels.tolist() == LABELS.tolist()

    def test_names_are_given(self):
        data = kzoo.from_arrays(IMAGES, LABELS, class_names=["cat", "dog"])
        assert data.class_names == ("cat", "dog")


def test_examples_that_are_served_come_from_the_whole_validation_split():
    """Sorted by class, the first ones would be of one class alone."""
    ordered = np.full((40, 8, 8, 1), np.arange(40).reshape(40, 1, 1, 1), "uint8")
    data = kzoo.from_arrays(ordered, LABELS, validation=(ordered, np.sort(LABELS)), test=(ordered, LABELS))
    shown = Serving.of(data).examples[:, 0, 0, 0]
    assert (len(shown), shown[0], shown[-1]) == (16, 0, 39)


class TestInputs:
    @pytest.mark.parametrize(
        "inputs, modality, shape",
        [
            (IMAGES, "image", (8, 8, 3)),
            (IMAGES[..., 0], "image", (8, 8, 1)),
            (IMAGES.astype("int64"), "image", (8, 8, 3)),
            (IMAGES / 255, "image", (8, 8, 3)),
            (RNG.normal(size=(40, 50, 3)), "timeseries", (50, 3)),
            (RNG.normal(size=(40, 50)), "timeseries", (50, 1)),
            (np.array(["good film", "bad film"] * 20), "text", (2,)),
        ],
    )
    def test_the_modality_is_seen(self, inputs, modality, shape):
        data = kzoo.from_arrays(inputs, LABELS)
        assert (data.modality, data.input_shape) == (modality, shape)
        assert sizes(data) == {"train": 32, "validation": 4, "test": 4}

    def test_integers_up_to_255_are_8_bit_images(self):
        data = kzoo.from_arrays(IMAGES.astype("int64"), LABELS, image_size=4)
        assert data.preprocess.raw_dtype == "uint8"
        assert data.input_shape == (4, 4, 3)

    def test_where_they_may_be_images_or_series_it_asks(self):
        inputs = RNG.normal(size=(40, 32, 32))
        with pytest.raises(ValueError, match="images or series. say modality='image' or modality='timeseries'"):
            kzoo.from_arrays(inputs, LABELS)
        assert kzoo.from_arrays(inputs, LABELS, modality="image").input_shape == (32, 32, 1)
        assert kzoo.from_arrays(inputs, LABELS, modality="timeseries").input_shape == (32, 32)

    @pytest.mark.parametrize("dtype", ["int16", "float32"])
    def test_recordings(self, dtype):
        waves = RNG.uniform(-0.5, 0.5, (40, 2000)) * (32768 if dtype == "int16" else 1)
        options = {"modality": "audio", "sample_rate": 8000, "feature": "waveform"}
        data = kzoo.from_arrays(waves.astype(dtype), LABELS, **options)
        assert data.preprocess.raw_dtype == "int16"
        assert data.preprocess.sample_rate == 8000
        assert data.input_shape == (2000, 1)

    def test_frames_of_pandas_and_tensors(self):
        pandas, tensorflow = pytest.importorskip("pandas"), pytest.importorskip("tensorflow")
        frame = pandas.DataFrame({"text": ["good film", "bad film"] * 20, "label": ["pos", "neg"] * 20})
        for texts in (frame["text"], frame[["text"]]):
            data = kzoo.from_arrays(texts, frame["label"])
            assert (data.modality, data.class_names) == ("text", ("neg", "pos"))
        assert kzoo.from_arrays(tensorflow.constant(IMAGES), tensorflow.constant(LABELS)).modality == "image"

    def test_given_splits_folds_and_groups(self):
        groups = np.arange(40) // 4
        assert sizes(kzoo.from_arrays(IMAGES, LABELS, test=(IMAGES[:6], LABELS[:6]), validation=0.25)) == {
            "train": 30,
            "validation": 10,
            "test": 6,
        }
        assert sizes(kzoo.from_arrays(IMAGES, LABELS, test=0, fold=(0, 4))) == {"train": 30, "validation": 10}
        with pytest.warns(UserWarning, match="each of the 10 groups is in one split"):
            data = kzoo.from_arrays(IMAGES, LABELS, groups=groups, validation=0.2)
        found = [
            {groups[np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]] for image in part.inputs}
            for part in data.examples.values()
        ]
        assert sum(map(len, found)) == 10


class TestMistakes:
    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"y": LABELS[:30]}, "the train split has 40 inputs but 30 labels"),
            ({"y": LABELS + 0.5}, "labels of the train split must be integers or names: example 0 has 0.5"),
            ({"test": (IMAGES[:, :4], LABELS)}, r"x of test is uint8 of shape \(40, 4, 8, 3\), but x of train is"),
            ({"test": (IMAGES / 255, LABELS)}, "x of test is float64 of shape .*, but x of train is uint8"),
            ({"test": IMAGES}, r"test must be a fraction or a pair \(x, y\), got ndarray"),
            ({"test": 1.5}, "the test fraction must lie between 0 and 1, got 1.5"),
            ({"groups": [1, 2]}, r"groups has shape \(2,\); expected one for each of the 40 training examples"),
            ({"image_siez": 4}, "unknown option of image arrays, 'image_siez'; did you mean image_size"),
            ({"modality": "video"}, "unknown modality of arrays 'video'"),
            ({"x": np.array(["a", None] * 20, object)}, "example 1 of x of train is None, expected a text"),
            ({"x": IMAGES / 255 + np.nan}, "example 0 of the train split contains NaN or infinity"),
            ({"x": IMAGES / 255, "image_size": 4}, "image_size is for 8-bit images; x of train is float64"),
            ({"x": LABELS / 2, "modality": "audio"}, "recordings need sample_rate="),
            ({"x": IMAGES[:, 0, :, 0] * 9.0, "modality": "audio", "sample_rate": 8}, "floats lie between -1 and 1"),
        ],
    )
    def test_are_one_line(self, arguments, message):
        with pytest.raises(ValueError, match=message) as refused:
            kzoo.from_arrays(**{"x": IMAGES, "y": LABELS} | arguments)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        "data, message",
        [
            ((IMAGES, LABELS), r"takes a dataset, got tuple; make one with kzoo.from_arrays\(x, y\)"),
            (IMAGES, r"got ndarray; make one with kzoo.from_arrays\(x, y\)"),
            ("digits", r"got str; make one with kzoo.load_dataset\('digits'\)"),
            (iter([]), r"got list_iterator; make one with kzoo.from_batches\(train"),
        ],
    )
    def test_fit_and_evaluate_say_how_to_make_a_dataset(self, data, message):
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        for function in (kzoo.fit, kzoo.evaluate):
            with pytest.raises(ValueError, match=f"{function.__name__} {message}" if "takes" in message else message):
                function(model, data)


def test_a_network_learns_them(tmp_path):
    keras.utils.set_random_seed(0)
    bright = (IMAGES // 4 + 180 * LABELS[:, None, None, None].astype("uint8")).astype("uint8")
    data = kzoo.from_arrays(bright, np.where(LABELS, "light", "dark"), test=0.25, batch_size=8)
    model = kzoo.models.mlp(data.input_shape, data.num_classes)
    kzoo.fit(model, data, epochs=8, learning_rate=1e-2, run_dir=tmp_path / "run", verbose=False)
    assert kzoo.evaluate(model, data).accuracy == 1
