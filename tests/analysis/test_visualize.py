"""Visualization: maps of networks whose result is known, every kind of data, every network."""

import errno
import importlib.util
import os
import re
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from networks import random_batch, sampled, smallest_working

import kzoo
from kzoo.analysis.visualize import (
    activation_maximization,
    draw_embedding,
    draw_feature_maps,
    draw_grad_cam,
    draw_kernels,
    draw_occlusion,
    draw_top_activations,
    features,
    frequency_response,
    grad_cam,
    gradient,
    occlusion,
    top_activating_examples,
    visualize,
)
from kzoo.data.image.preprocess import ImagePreprocess
from kzoo.data.serving import Serving
from kzoo.data.text.preprocess import TextPreprocess
from kzoo.tasks import Classification
from kzoo.training import runs
from kzoo.training.runs import load_run

PICTURES = ["kernels", "feature_maps", "grad_cam", "occlusion", "embedding", "top_activations"]
# none of whose layers has positions
WITHOUT_PLACES = ("mlp", "mlp_tsc", "fasttext", "hydra", "minirocket", "mfcc_svm", "tfidf", "nearest_neighbour")


def corner_network() -> keras.Model:
    """Return a network whose logit of class 1 is the sum of the upper left quadrant of 8 x 8 images."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="conv")(inputs)
    x = keras.layers.Identity(name="stage1")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x), name="corner")
    weights = np.zeros((8, 8, 2), "float32")
    weights[:4, :4, 1] = 0.1
    model.get_layer("logits").set_weights([weights.reshape(64, 2)])
    return model


def band_pass(centre: float, width: int = 64) -> np.ndarray:
    """Return a kernel that lets pass waves of `centre` cycles per step, with gain 1."""
    steps = np.arange(width) - (width - 1) / 2
    window = np.hanning(width)
    return (2 * window / window.sum() * np.cos(2 * np.pi * centre * steps)).astype("float32")


def filter_network(kernel: np.ndarray, length: int = 256) -> keras.Model:
    """Return a network of series whose stage1 is one convolution and a ReLU, and logit 1 the mean over it."""
    inputs = keras.Input((length, 1))
    x = keras.layers.Conv1D(1, len(kernel), padding="same", use_bias=False, activation="relu", name="conv")(inputs)
    x = keras.layers.Identity(name="stage1")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x), name="filter")
    model.get_layer("conv").set_weights([kernel.reshape(-1, 1, 1)])
    model.get_layer("logits").set_weights([np.array([[0.0, 1.0]], "float32")])
    return model


def word_network(step: TextPreprocess, word: str) -> keras.Model:
    """Return a network whose class 1 is that a word occurs: the first channel of its embedding, at the best place."""
    inputs = keras.Input((step.length,))
    x = keras.layers.Embedding(step.vocab_size, 2, name="embedding")(inputs)
    x = keras.layers.GlobalMaxPooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x), name="word")
    table = np.random.default_rng(0).uniform(0, 0.2, (step.vocab_size, 2)).astype("float32")
    table[2 + step.vocabulary.index(word), 0] = 1.0
    model.get_layer("embedding").set_weights([table])
    model.get_layer("logits").set_weights([np.array([[0.0, 5.0], [0.0, 0.0]], "float32")])
    return model


@pytest.fixture(scope="module")
def resnet8() -> keras.Model:
    return smallest_working("resnet8", 2)


WORDS = TextPreprocess("words", 8, ("a", "film", "of", "great", "beauty", "and", "charm"))
TEXTS = np.array(["a film of great beauty", "great charm", "a film and a film of charm and great beauty"])


def images() -> Serving:
    raw = np.random.default_rng(0).integers(0, 255, (16, 8, 8, 1)).astype("uint8")
    return Serving("image", ImagePreprocess((8, 8), 1, (127.0,), (70.0,)), Classification(("left", "right")), raw)


def texts() -> Serving:
    return Serving("text", WORDS, Classification(("dull", "great")), TEXTS)


# -- gradients


def test_gradient_is_that_of_the_function():
    x = np.array([1.0, 2.0, 3.0], "float32")
    np.testing.assert_allclose(gradient(lambda x: keras.ops.sum(x**3), x), 3 * x**2, rtol=1e-6)
    np.testing.assert_array_equal(gradient(lambda x: keras.ops.sum(keras.ops.ones((2,))), x), 0)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_maps_are_the_same_on_other_backends(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    model, x = two_channel_network(), np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "expected.npz", x=x, heat=grad_cam(model, x[0], 1), hidden=occlusion(model, x[0], 1))
    program = (
        "import sys, keras, numpy as np\n"
        "from kzoo.analysis.visualize import activation_maximization, grad_cam, occlusion\n"
        "model, data = keras.models.load_model(sys.argv[1] + '/model.keras'), np.load(sys.argv[1] + '/expected.npz')\n"
        "np.testing.assert_allclose(grad_cam(model, data['x'][0], 1), data['heat'], atol=1e-4)\n"
        "np.testing.assert_allclose(occlusion(model, data['x'][0], 1), data['hidden'], atol=1e-4)\n"
        "assert np.isfinite(activation_maximization(model, 'stage1', [0], steps=2)).all()"
    )
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)


def test_inspection_leaves_the_network_as_it_was(resnet8):
    model = resnet8
    x, layers = random_batch(model, 1), model.layers
    before, nodes = model(x), [len(layer._inbound_nodes) for layer in layers]
    grad_cam(model, x[0])
    assert [len(layer._inbound_nodes) for layer in layers] == nodes
    assert not any("call" in vars(layer) for layer in layers)
    np.testing.assert_array_equal(model(x), before)


def test_a_failure_inside_leaves_the_network_as_it_was():
    model = corner_network()
    with pytest.raises(ValueError):
        grad_cam(model, np.ones((7, 8, 1), "float32"), 1)
    assert not any("call" in vars(layer) for layer in model.layers)


# -- attribution


def test_grad_cam_and_occlusion_find_the_corner_that_a_network_depends_on():
    model, x = corner_network(), np.zeros((8, 8, 1), "float32")
    x[1:3, 1:3] = x[5:7, 5:7] = 3.0  # the same pattern in the corner that counts, and in another
    hidden = occlusion(model, x, 1, window=1, value=0.0)
    inside = np.zeros((8, 8), bool)
    inside[1:3, 1:3] = True
    assert hidden[inside].min() > 0.02
    np.testing.assert_allclose(hidden[~inside], 0, atol=1e-6)
    # Grad-CAM weights a whole channel by its mean gradient: it sees the channel wherever it is active
    heat = grad_cam(model, x, 1)
    assert heat[inside].min() == 1.0
    assert heat[~inside & (x[..., 0] == 0)].max() == 0.0


def two_channel_network() -> keras.Model:
    """Return a network with a channel for bright and one for dark places; class 1 is the mean of the bright one."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, activation="relu", name="conv")(inputs)
    x = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Identity(name="stage1")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x), name="two")
    model.get_layer("conv").set_weights([np.array([1.0, -1.0], "float32").reshape(1, 1, 1, 2)])
    model.get_layer("logits").set_weights([np.array([[0.0, 4.0], [4.0, 0.0]], "float32")])
    return model


@pytest.mark.parametrize("output, quadrant", [(1, np.s_[:4, :4]), (0, np.s_[4:, 4:])])
def test_maps_are_large_only_in_the_quadrant_of_the_class(output, quadrant):
    x = np.zeros((8, 8, 1), "float32")
    x[:2, :2], x[6:, 6:] = 3.0, -3.0  # bright in one quadrant, dark in another
    model = two_channel_network()
    for heat in (grad_cam(model, x, output), occlusion(model, x, output)):
        share = heat[quadrant].sum() / np.maximum(heat, 0).sum()
        assert heat.shape == (8, 8)
        assert share > 0.99
        assert heat[quadrant].max() == heat.max() > 0


def test_grad_cam_is_its_formula_in_linear_networks():
    """The weight of a channel is the logit's weight over the number of positions."""
    model = smallest_working("fcn", 1)
    x = random_batch(model, 1)
    maps = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("stage3").output)(x))[0]
    expected = np.maximum(maps @ keras.ops.convert_to_numpy(model.get_layer("logits").kernel)[:, 2], 0)
    np.testing.assert_allclose(grad_cam(model, x[0], 2, "stage3"), expected / expected.max(), atol=1e-5)


def test_default_is_the_predicted_class_and_the_deepest_stage_with_enough_positions(resnet8):
    model = resnet8
    x = random_batch(model, 1)
    predicted = int(np.argmax(model(x)[0]))
    np.testing.assert_array_equal(grad_cam(model, x[0]), grad_cam(model, x[0], predicted, "stage3"))
    np.testing.assert_array_equal(occlusion(model, x[0]), occlusion(model, x[0], predicted))


def test_grad_cam_and_occlusion_pick_the_word_that_counts():
    model = word_network(WORDS, "great")
    ids = np.asarray(WORDS(TEXTS[:1]))[0]
    for heat in (grad_cam(model, ids, 1), occlusion(model, ids, 1)):
        assert heat.shape == (8,)
        assert heat.argmax() == 3
        assert np.delete(heat, 3).max() < 0.5 * heat[3]


def test_words_have_the_colour_of_their_value_as_background():
    figure = draw_grad_cam(word_network(WORDS, "great"), texts(), TEXTS[:2], output=1)
    *panels, bar = figure.axes
    assert bar.get_ylabel() == "evidence, relative to the panel's largest"
    for axes, text, wanted in zip(panels, TEXTS[:2], (3, 0), strict=True):
        assert [word.get_text() for word in axes.texts] == text.split()
        brightness = [sum(patch.get_facecolor()[:3]) for patch in axes.patches]
        assert np.argmin(brightness) == wanted


def test_windows_cover_every_position_once_each_where_they_lie_side_by_side():
    x = np.ones((7, 1), "float32")
    model = filter_network(np.ones(1, "float32"), length=7)
    hidden = occlusion(model, x, 1, window=2, stride=2, value=0.0)
    np.testing.assert_allclose(hidden, hidden[0], atol=1e-6)  # the last window overlaps the one before it
    assert hidden[0] > 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: grad_cam(m, x, 5), "has classes 0 to 1, got 5"),
        (lambda m, x: occlusion(m, x, -1), "has classes 0 to 1, got -1"),
        (lambda m, x: grad_cam(m, x, 1, "stage7"), "unknown stage with positions of corner 'stage7'.*stage1"),
        (lambda m, x: occlusion(m, x, window=9), "window must be from 1 to the input's"),
        (lambda m, x: occlusion(m, x, stride=0), "stride must be from 1 to the input's"),
        (lambda m, x: draw_kernels(m, "conf"), "unknown convolution of corner 'conf'.*conv"),
        (lambda m, x: activation_maximization(m, "conv", [1]), "conv has filters 0 to 0, got 1"),
        (lambda m, x: top_activating_examples(m, "cnv", 0, x[None]), "unknown layer of corner 'cnv'.*conv"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(corner_network(), np.ones((8, 8, 1), "float32"))


def test_a_network_without_convolutions_says_so():
    model = kzoo.create_model("mlp", (8, 8, 1), 3)
    with pytest.raises(ValueError, match="mlp has no convolution whose kernels are learned"):
        draw_kernels(model)
    with pytest.raises(ValueError, match="mlp has no convolution and no other layer with positions.*occlusion works"):
        grad_cam(model, np.ones((8, 8, 1), "float32"))
    assert occlusion(model, np.ones((8, 8, 1), "float32"), value=0.0).shape == (8, 8)


# -- feature visualization


def test_gradient_ascent_finds_the_wave_that_a_filter_lets_pass():
    model = filter_network(band_pass(0.1))
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(20, 256, 1)).astype("float32")
    found = activation_maximization(model, "stage1", [0], smooth=0.0)
    assert found.shape == (1, 256, 1)
    assert np.mean(found**2) == pytest.approx(1, abs=1e-4)
    answers = [keras.ops.convert_to_numpy(model(x))[:, 1] for x in (found, noise)]
    assert answers[0][0] > 2 * answers[1].max()
    spectrum = np.abs(np.fft.rfft(found[0, :, 0]))
    assert spectrum.argmax() / 256 == pytest.approx(0.1, abs=0.01)


def test_gradient_ascent_of_token_ids_is_refused():
    with pytest.raises(ValueError, match="takes token ids, which are discrete"):
        activation_maximization(word_network(WORDS, "great"), "embedding", [0])


def test_gradient_ascent_asks_for_the_size_of_an_input_of_any_size():
    model = kzoo.create_model("fcn", (None, 1), 2, filters=(4, 4, 4))
    with pytest.raises(ValueError, match="give an input_shape"):
        activation_maximization(model, "stage1", [0])
    assert activation_maximization(model, "stage1", [0, 3], input_shape=(30, 1), steps=2).shape == (2, 30, 1)


def test_the_top_activating_example_has_the_wave_in_it_and_the_map_says_where():
    model, x = filter_network(band_pass(0.1)), 0.1 * np.random.default_rng(0).normal(size=(5, 256, 1))
    x[3, 150:214, 0] += band_pass(0.1) * 30
    best, *others = top_activating_examples(model, "stage1", 0, x.astype("float32"))
    assert best.example == 3
    assert len(others) == 2
    assert best.activation > 2 * others[0].activation >= 2 * others[1].activation
    assert abs(best.heat.argmax() - 182) <= 5
    assert best.heat.max() == 1


# -- kernels


def test_frequency_response_of_a_band_pass():
    frequencies, gains = frequency_response(band_pass(0.1).reshape(-1, 1, 1))
    assert frequencies[gains[:, 0].argmax()] == pytest.approx(0.1, abs=0.002)
    assert gains.max() == pytest.approx(1, abs=0.01)
    assert gains[np.abs(frequencies - 0.1) > 0.05].max() < 0.01


def test_frequency_response_is_scipys():
    from scipy import signal

    kernels = np.random.default_rng(0).normal(size=(9, 2, 3))
    frequencies, gains = frequency_response(kernels)
    for number in range(3):
        parts = [np.abs(signal.freqz(kernels[:, c, number], worN=2 * np.pi * frequencies)[1]) for c in range(2)]
        np.testing.assert_allclose(gains[:, number], np.hypot(*parts), rtol=1e-9)


@pytest.mark.parametrize(
    "name, layer, kernels",
    [
        ("resnet8", None, (3, 3, 3, 16)),
        ("ds_cnn_s", "stage1.dwconv1", (3, 3, 1, 64)),
        ("nf_resnet26", None, (7, 7, 3, 64)),
    ],
)
def test_kernels_of_every_kind_of_convolution(name, layer, kernels):
    from kzoo.analysis.visualize.kernels import kernels_of

    model = kzoo.create_model(name, (40, 32, 3), 3)
    assert kernels_of(model, layer)[1].shape == kernels
    figure = draw_kernels(model, layer)
    assert sum(len(axes.images) for axes in figure.axes) == min(kernels[-1], 64)


def test_kernels_of_series_are_curves_with_their_response_in_hertz():
    figure = draw_kernels(filter_network(band_pass(0.1)), sample_rate=8000)
    weights, gain = figure.axes
    np.testing.assert_array_equal(weights.lines[-1].get_ydata(), band_pass(0.1))
    assert "from 0 to 4000 hertz" in figure.get_suptitle()
    assert gain.get_xlim() == (0, 4000)


# -- examples of every kind


def test_features_are_the_input_of_the_classifier(resnet8):
    model = resnet8
    x = random_batch(model, 40)  # more than are computed at a time
    found = features(model, x)
    logits = model.get_layer("logits")
    np.testing.assert_allclose(found @ logits.kernel + logits.bias, model(x), rtol=1e-4, atol=1e-5)


def test_embedding_map_shows_true_classes_and_mistakes_of_a_dataset(digits):
    model = kzoo.create_model("mlp", digits.input_shape, digits.num_classes)
    figure = draw_embedding(model, digits, most=50)
    points = [len(part.get_offsets()) for part in figure.axes[0].collections]
    assert sum(points[:-1]) == 50  # and the last are rings around those that are taken for another class
    assert 25 < points[-1] <= 50
    assert "true classes" in figure.axes[0].get_title()


def test_feature_maps_have_a_row_for_each_stage():
    data = images()
    model = kzoo.create_model("resnet8", (8, 8, 1), 2)
    figure = draw_feature_maps(model, data, data.examples[3])
    assert [part.get_suptitle() for part in figure.subfigs[1:]] == [
        "stage1: 8 x 8 x 16",
        "stage2: 4 x 4 x 32",
        "stage3: 2 x 2 x 64",
    ]
    assert all(len(axes.images) == 1 for part in figure.subfigs[1:] for axes in part.axes)


def test_an_image_of_another_size_is_drawn_at_the_models():
    raw = np.random.default_rng(0).integers(0, 255, (20, 31, 1)).astype("uint8")
    figure = draw_occlusion(corner_network(), images(), [raw])
    assert [image.get_array().shape for image in figure.axes[0].images] == [(8, 8), (8, 8)]


def test_attribution_says_true_and_predicted_classes_and_has_a_colour_bar(digits):
    model = kzoo.create_model("convnet", digits.input_shape, 10, padding="same", filters=(4, 4))
    labels = digits.examples["validation"].labels[:16]
    for draw in (draw_grad_cam, draw_occlusion):
        *panels, bar = draw(model, digits).axes
        assert len(panels) == 8
        assert bar.get_ylabel().endswith("relative to the panel's largest")
        assert all(re.match(r"true \d, predicted \d \(\d+ %\)", axes.get_title()) for axes in panels)
        assert {int(axes.get_title()[5]) for axes in panels} <= set(labels)
        title = draw(model, Serving.of(digits), output=3).axes[0].get_title()
        assert re.match(r"predicted \d \(\d+ %\)", title)
        assert title.startswith("predicted 3") or ", 3 (" in title


def test_filters_are_drawn_with_examples_and_for_numbers_with_the_input_of_gradient_ascent():
    titles = [axes.get_title() for axes in draw_top_activations(corner_network(), images(), "conv", steps=2).axes[:-1]]
    assert len(titles) == 4
    assert titles[-1].startswith("filter 0, gradient ascent")
    figure = draw_top_activations(word_network(WORDS, "great"), texts())
    titles = [axes.get_title(loc="left") for axes in figure.axes[:-1]]
    assert len(titles) == 6
    assert not any("ascent" in title for title in titles)


def texts_in(folder, **options) -> kzoo.data.Splits:
    rows = "".join(f"{label}\t{text}\n" for _ in range(10) for label, text in zip("ddg", TEXTS, strict=True))
    (folder / "texts.tsv").write_text("label\ttext\n" + rows)
    return kzoo.load_dataset(f"csv:{folder / 'texts.tsv'}", batch_size=8, validation=0.3, **options)


def tones_in(folder, **options) -> kzoo.data.Splits:
    from scipy.io import wavfile

    noise = np.random.default_rng(0).normal(size=(16, 2000))
    for number in range(16):
        path = folder / "sounds" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = np.sin(2 * np.pi * (300 + 900 * (number % 2)) * np.arange(2000) / 8000)
        wavfile.write(path, 8000, (8000 * tone + 300 * noise[number]).astype("int16"))
    return kzoo.load_dataset(
        f"audio_folder:{folder / 'sounds'}", batch_size=8, validation=0.25, seconds=0.25, **options
    )


def images_in(folder, **options) -> kzoo.data.Splits:
    rng = np.random.default_rng(0)
    np.savez(folder / "images.npz", x_train=rng.integers(0, 255, (40, 12, 12, 3), "uint8"), y_train=np.arange(40) % 2)
    return kzoo.load_dataset(f"npz:{folder / 'images.npz'}", batch_size=8, validation=0.25, **options)


def series_in(folder, **options) -> kzoo.data.Splits:
    rng = np.random.default_rng(0)
    rows = [[number % 2 + 1, *np.cumsum(rng.normal(size=30 - number % 5))] for number in range(24)]
    rows = [[*row, *[float("nan")] * (31 - len(row))] for row in rows]
    for split in ("TRAIN", "TEST"):
        np.savetxt(folder / f"Walk_{split}.tsv", rows, delimiter="\t")
    return kzoo.load_dataset(f"series:{folder / 'Walk'}", batch_size=8, validation=0.25, **options)


SMALL = {"filters": (4, 6), "padding": "same", "flatten": False}
RUNS = {
    "image": (images_in, {}, "convnet", SMALL),
    "waveform": (tones_in, {"feature": "waveform"}, "convnet", SMALL),
    "log_mel": (tones_in, {}, "convnet", SMALL),
    "mfcc, frequency_time": (tones_in, {"feature": "mfcc", "layout": "frequency_time"}, "convnet", SMALL),
    "log_mel, time": (tones_in, {"layout": "time", "normalise": "example"}, "convnet", SMALL),
    "words": (texts_in, {}, "textcnn", {"kernels": (2, 3), "filters": 4}),
    "bytes": (texts_in, {"level": "bytes"}, "convnet", SMALL),
    "series": (series_in, {"unequal": "resample"}, "fcn", {"filters": (4, 4, 4)}),
    "padded series with mask": (series_in, {"unequal": "pad", "mask": True}, "fcn", {"filters": (4, 4, 4)}),
}


def untrained_run(kind: str, folder):
    """Write what `visualize` reads of a run: an untrained network with examples of one kind of data."""
    load, options, name, hyperparameters = RUNS[kind]
    splits = load(folder, **options)
    embedding = {} if splits.vocab_size is None else {"vocab_size": splits.vocab_size, "embed_dim": 5}
    model = kzoo.create_model(name, splits.input_shape, splits.num_classes, **embedding, **hyperparameters)
    run = folder / "run"
    run.mkdir()
    runs.save_model(model, run / runs.MODEL)
    Serving.of(splits).save(run / runs.DATA, run / runs.EXAMPLES)
    return run, splits


@pytest.mark.filterwarnings("ignore:.*files are cut to")
@pytest.mark.parametrize("kind", sampled([(kind,) for kind in RUNS], ("image", "log_mel")))
def test_a_run_of_every_kind_of_data_is_drawn(kind, tmp_path):
    run, splits = untrained_run(kind, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert [path.name for path in visualize(run)] == [f"{name}.png" for name in PICTURES]
        model, _ = load_run(run)
        figure = draw_grad_cam(model, splits, splits.examples["test"].inputs[:3])
    assert all((run / "visualize" / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in PICTURES)
    assert sum(bool(axes.images or axes.patches) for axes in figure.axes) == 3


def test_what_cannot_be_drawn_is_left_out_with_a_warning(tmp_path):
    model, data = kzoo.create_model("mlp", (8, 8, 1), 2), images()
    run = tmp_path / "run"
    (run / "visualize").mkdir(parents=True)
    (run / "visualize" / "kernels.png").write_bytes(b"of an earlier model")
    runs.save_model(model, run / runs.MODEL)
    data.save(run / runs.DATA, run / runs.EXAMPLES)
    with pytest.warns(UserWarning, match="no (kernels|grad_cam).png: mlp has no convolution") as remarks:
        written = visualize(run)
    assert len(remarks) == 2
    assert sorted(path.name for path in (run / "visualize").iterdir()) == sorted(path.name for path in written)
    assert [path.stem for path in written] == ["feature_maps", "occlusion", "embedding", "top_activations"]


def test_a_full_disk_ends_drawing_with_one_line(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(errno.ENOSPC, "No space left on device", str(paths[0]))

    run = tmp_path / "run"
    run.mkdir()
    runs.save_model(kzoo.create_model("mlp", (8, 8, 1), 2), run / runs.MODEL)
    images().save(run / runs.DATA, run / runs.EXAMPLES)
    monkeypatch.setattr(os, "replace", full)
    with (
        pytest.warns(UserWarning, match="no kernels.png: mlp has no convolution"),
        pytest.raises(ValueError, match="visualize cannot be written: No space left on device"),
    ):
        visualize(run)
    assert list((run / "visualize").iterdir()) == []


@pytest.mark.slow
def test_a_layer_of_a_run_is_drawn(run):
    written = visualize(run, layer="stage2.conv1")
    assert [path.stem for path in written] == PICTURES
    with pytest.raises(ValueError, match="unknown layer of convnet 'stage2.conv'; did you mean stage2.conv1"):
        visualize(run, layer="stage2.conv")


# -- every network


WITHOUT_KERNELS = ("hog_svm", "dlinear", "nlinear")  # that are learned
IN_CI = ("resnet8", "fcn", "inceptiontime", "densenet121", "mlp", "hog_svm")  # one of each kind; `-m slow` does all
IN_ONE_DIM = [(name, kzoo.model_card(name).dims[-1]) for name in kzoo.list_models()]


@pytest.mark.parametrize("name, dim", sampled(IN_ONE_DIM, IN_CI))
def test_every_network_is_looked_into(name, dim):
    model = smallest_working(name, dim)
    x = random_batch(model)
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    assert features(model, x).shape == (2, last.input.shape[-1])
    size = x.shape[1:-1]
    stride = tuple(-(-length // 2) for length in size)
    if len(model.output_shape) > 2:
        with pytest.raises(ValueError, match="an attribution map"):
            occlusion(model, x[0], window=stride, stride=stride)
        return
    assert occlusion(model, x[0], window=stride, stride=stride).shape == size
    if {name, kzoo.model_card(name).family} & set(WITHOUT_PLACES):
        with pytest.raises(ValueError, match="no other layer with positions"):
            grad_cam(model, x[0])
        return
    heat = grad_cam(model, x[0])
    assert heat.shape == size
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert heat.max() in (0.0, pytest.approx(1, abs=1e-5))
    if name in WITHOUT_KERNELS:
        with pytest.raises(ValueError, match="no convolution whose kernels are learned"):
            draw_kernels(model)
        return
    assert draw_kernels(model).axes
