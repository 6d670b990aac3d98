"""Segmentation: losses and scores against formulas, masks that move with their images, a training with its report."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kzoo
from kzoo.data.image.augment import ImageAugment
from kzoo.data.image.geometry import Geometry, map_back, resized_map, unfitted
from kzoo.data.targets import targets_as
from kzoo.serving.export import write_keras, write_saved_model
from kzoo.serving.serve import from_keras, write_pictures
from kzoo.tasks import Segmentation, Tagging, report_from, task_from
from kzoo.tasks.losses import SegmentationLoss, StepClassificationLoss
from kzoo.tasks.metrics import MeanIoU
from kzoo.tasks.segmentation import VOID, boundary_f1

NAMES = ("sky", "tree", "road")
RNG = np.random.default_rng(0)
LABELS = RNG.integers(-1, 3, (4, 6, 5))
LOGITS = RNG.normal(size=(4, 6, 5, 3)).astype("float32")


def squares(count: int = 24, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return grey images of a bright and a dark square, and their masks, some pixels of which are void."""
    rng = np.random.default_rng(1)
    masks = np.zeros((count, size, size), "uint8")
    for mask in masks:
        for index in (1, 2):
            row, column = rng.integers(1, size - 6, 2)
            mask[row : row + 6, column : column + 6] = index
    images = np.array([90, 250, 10], "uint8")[masks]
    masks[:, 0, 0] = VOID
    return images, masks


def dataset(**options):
    images, masks = squares()
    return kzoo.from_arrays(
        images, masks, task="segmentation", class_names=NAMES, void=VOID, **{"batch_size": 8, "test": 0.25} | options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data, run = dataset(augment={"flip": True}), tmp_path_factory.mktemp("run") / "run"
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("fcn", data.input_shape, 3, head="positions", filters=(8,), kernels=(3,))
    kzoo.fit(model, data, epochs=30, learning_rate=1e-1, loss="cross_entropy+dice", run_dir=run, verbose=False)
    return model, data, run, kzoo.evaluate(model, data, run_dir=run)


def test_it_is_trained_and_what_it_learned_is_reported(trained):
    _, data, run, report = trained
    assert data.input_shape == (16, 16, 1)
    assert report.mean_iou > 0.9
    assert report.interval[0] <= report.mean_iou <= report.interval[1]
    assert np.sum(report.confusion) == 6 * (256 - 1)  # the void pixels are left out
    assert all((run / name).exists() for name in data.task.drawn)
    written = json.loads((run / "metrics.json").read_text())
    again = report_from(written)
    assert (again.per_class["tree"]["dice"], again.maps) == (report.per_class["tree"]["dice"], None)
    assert "maps" not in written
    assert task_from(json.loads((run / "data.json").read_text())["task"]) == data.task
    assert "pixel accuracy" in str(report)
    assert "Images with the lowest IoU" in (run / "report.html").read_text()


def test_the_report_is_what_validation_measured(trained):
    model, data, _, _ = trained
    measured = model.evaluate(data.validation, return_dict=True, verbose=0)
    report = kzoo.evaluate(model, data, split="validation")
    assert measured["mean_iou"] == pytest.approx(report.mean_iou, rel=1e-5)
    assert measured["pixel_accuracy"] == pytest.approx(report.accuracy, rel=1e-5)


# -- scores


def test_iou_and_dice_are_those_of_the_sets_of_pixels():
    truth = np.array([[[0, 0, 1], [1, 1, VOID]], [[0, 0, 0], [1, 0, 0]]], "uint8")
    found = np.array([[[0, 1, 1], [1, 0, 2]], [[0, 0, 0], [0, 0, 0]]], "uint8")
    report = Segmentation(NAMES).report("test", truth, found, 1.0)
    zero, one = 6 / (6 + 1 + 2), 2 / (2 + 1 + 2)
    assert report.per_class["sky"]["iou"] == pytest.approx(zero)
    assert report.per_class["tree"]["iou"] == pytest.approx(one)
    assert np.isnan(report.per_class["road"]["iou"])  # neither there nor predicted
    assert report.mean_iou == pytest.approx((zero + one) / 2)
    assert report.per_class["tree"]["dice"] == pytest.approx(2 * one / (1 + one))
    assert report.accuracy == pytest.approx(8 / 11)
    assert report.confusion == [[6, 1, 0], [2, 2, 0], [0, 0, 0]]
    assert report.worst[0][0] == 0


def test_boundaries_agree_up_to_a_tolerance():
    one, moved, gone = np.zeros((3, 40, 40), "uint8")
    one[10:30, 10:30], moved[11:31, 10:30] = 1, 1
    assert boundary_f1(one, one, 2) == 1
    assert boundary_f1(one, moved, 2) == 1
    assert boundary_f1(one, np.roll(one, 8, 0), 2) < 0.7
    assert boundary_f1(one, gone, 2) == 0


def test_the_metric_is_the_mean_iou_of_all_batches():
    metric = MeanIoU(3)
    metric.update_state(LABELS[:2], LOGITS[:2])
    metric.update_state(LABELS[2:], LOGITS[2:])
    masks = np.where(LABELS < 0, VOID, LABELS).astype("uint8")
    report = Segmentation(NAMES).report("test", masks, LOGITS.argmax(-1).astype("uint8"), 1.0)
    assert float(metric.result()) == pytest.approx(report.mean_iou, rel=1e-6)


# -- losses


def softmax() -> np.ndarray:
    return np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def loss(*kinds, **options) -> np.ndarray:
    return keras.ops.convert_to_numpy(SegmentationLoss(kinds, **options).call(LABELS, LOGITS))


@pytest.mark.parametrize("kind, positives, negatives", [("dice", 0.5, 0.5), ("tversky", 0.3, 0.7)])
def test_dice_and_tversky_are_means_over_the_classes_of_an_image(kind, positives, negatives):
    p, known = softmax(), (LABELS >= 0)[..., None]
    truth = (LABELS[..., None] == np.arange(3)) * known
    right, true, given = ((part * known).sum((1, 2)) for part in (truth * p, truth, p))
    expected = 1 - right / (right + positives * (given - right) + negatives * (true - right))
    np.testing.assert_allclose(loss(kind), expected.mean(-1), rtol=1e-5)


def test_the_lovasz_loss_is_that_of_its_authors():
    """The algorithm of https://github.com/bermanmaxim/LovaszSoftmax, for one image at a time."""
    expected = []
    for labels, p in zip(LABELS.reshape(4, -1), softmax().reshape(4, -1, 3), strict=True):
        known, losses = labels >= 0, []
        for index in np.unique(labels[known]):
            truth = (labels[known] == index).astype("float64")
            errors = np.abs(truth - p[known, index])
            order = np.argsort(-errors, kind="stable")
            intersection = truth.sum() - truth[order].cumsum()
            union = truth.sum() + (1 - truth[order]).cumsum()
            jaccard = 1 - intersection / union
            jaccard[1:] = jaccard[1:] - jaccard[:-1]
            losses.append(errors[order] @ jaccard)
        expected.append(np.mean(losses))
    np.testing.assert_allclose(loss("lovasz"), expected, rtol=1e-4)


def test_a_sum_of_losses_is_their_sum_and_is_saved():
    entropy = keras.ops.convert_to_numpy(StepClassificationLoss(label_smoothing=0.1).call(LABELS, LOGITS))
    np.testing.assert_allclose(loss("cross_entropy", label_smoothing=0.1), entropy, rtol=1e-6)
    both = SegmentationLoss(("cross_entropy", "lovasz"), label_smoothing=0.1)
    np.testing.assert_allclose(both.call(LABELS, LOGITS), entropy + loss("lovasz"), rtol=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(both))
    np.testing.assert_array_equal(again(LABELS, LOGITS), both(LABELS, LOGITS))
    focal = keras.ops.convert_to_numpy(StepClassificationLoss(focal_gamma=2.0).call(LABELS, LOGITS))
    np.testing.assert_allclose(loss("focal"), focal, rtol=1e-6)


@pytest.mark.parametrize("kind", Segmentation.losses)
def test_each_loss_has_finite_gradients_and_none_for_void(kind):
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(SegmentationLoss((kind,)).call(LABELS, logits))
    gradient = tape.gradient(value, logits).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[LABELS < 0] == 0).all()
    assert np.abs(gradient[LABELS >= 0]).max() > 0
    assert np.isfinite(SegmentationLoss((kind,)).call(np.full_like(LABELS, -1), LOGITS)).all()


def test_unknown_losses_and_options_of_others_are_refused(trained):
    model, data, _, _ = trained
    with pytest.raises(ValueError, match="unknown loss 'dise'; did you mean dice"):
        kzoo.fit(model, data, loss="cross_entropy+dise", verbose=False)
    with pytest.raises(ValueError, match="label_smoothing: options of cross_entropy and focal, not of dice"):
        kzoo.fit(model, data, loss="dice", label_smoothing=0.1, verbose=False)


def test_an_ensemble_averages_probabilities_at_each_pixel():
    parts = [LOGITS, LOGITS[..., ::-1]]
    mean = np.mean([np.exp(part) / np.exp(part).sum(-1, keepdims=True) for part in parts], axis=0)
    found = keras.ops.softmax(Segmentation(NAMES).averaged([keras.ops.convert_to_tensor(part) for part in parts]))
    np.testing.assert_allclose(found, mean, rtol=1e-5)


# -- masks that move with their images

MOVES = {"flip": True, "shift": 3, "rotation": 30, "zoom": 0.3, "elastic": 2.0, "resized_crop": {}}


@pytest.mark.parametrize("name", MOVES)
def test_a_mask_moves_as_its_image(name):
    """The grey levels of the images are those of the classes, so that each says what the other has to be."""
    assert MOVES.keys() == set(ImageAugment.followed)
    images, masks = squares(12)
    levels = np.array([90, 250, 10])
    augment, seed = ImageAugment(**{name: MOVES[name]}), tf.constant([0, 7], tf.int64)
    moved = augment(images[..., None], seed).numpy()[..., 0].astype(int)
    encoded = Segmentation(NAMES).encode(np.where(masks == VOID, 0, masks))
    followed = augment.follow(encoded, seed).numpy()
    assert followed.dtype == encoded.dtype
    assert followed.shape == encoded.shape
    assert (followed != encoded).any()
    known = followed >= 0
    inside = known & (np.abs(moved - levels[followed]) < 40)  # others are between two classes
    assert inside.sum() > 0.85 * known.sum()
    if name in ("flip", "shift"):
        assert inside.sum() == known.sum()
        assert (moved[~known] == 0).all()


def test_an_image_as_target_moves_as_its_image():
    images, _ = squares(6)
    seed = tf.constant([0, 7], tf.int64)
    augment = ImageAugment(flip=True, rotation=20, elastic=1.0, shift=2)
    moved = augment(images[..., None], seed).numpy().astype("float32")
    followed = augment.follow(images[..., None].astype("float32"), seed).numpy()
    np.testing.assert_allclose(followed, moved, atol=1)


def test_batches_of_masks_are_those_of_their_images():
    data = dataset(augment={"flip": True, "shift": 2}, seed=3)
    for epoch in (list(data.train.as_numpy_iterator()), list(data.train.as_numpy_iterator())):
        for x, y in epoch:
            raw = x[..., 0] * data.preprocess.std[0] + data.preprocess.mean[0]
            np.testing.assert_allclose(raw[y >= 0], np.array([90, 250, 10])[y[y >= 0]], atol=0.1)
    assert {y.dtype for _, y in epoch} == {np.dtype("int32")}


@pytest.mark.parametrize("change", [{"mixup": 0.2}, {"cutmix": 1.0}, {"randaugment": 5}, {"trivialaugment": True}])
def test_what_masks_cannot_follow_is_refused(change):
    with pytest.raises(ValueError, match=f"augment.{next(iter(change))} moves or mixes them; flip, shift"):
        dataset(augment=change)


# -- arrays


def test_masks_are_resized_with_their_images():
    images, masks = squares()
    options = {"task": "segmentation", "class_names": NAMES, "void": VOID, "batch_size": 8}
    data = kzoo.from_arrays(images, masks, image_size=32, resize="squash", **options)
    assert data.input_shape == (32, 32, 1)
    found, truth = data.examples["train"].labels, data.examples["train"].inputs[..., 0]
    assert found.shape == truth.shape
    np.testing.assert_array_equal(found[:, ::2, ::2], found[:, 1::2, 1::2])
    wide = kzoo.from_arrays(images[:, :8], masks[:, :8], image_size=16, resize="pad", **options)
    assert (wide.examples["train"].labels[:, :4] == VOID).all()
    with pytest.raises(ValueError, match="images of x of train are 16 x 16, but their targets 8 x 16"):
        kzoo.from_arrays(images, masks[:, :8], image_size=32, **options)
    with pytest.raises(ValueError, match="targets at 8 x 16 positions, but inputs of 16 x 16"):
        kzoo.from_arrays(images, masks[:, :8], **options)


def test_names_are_class_indices_unless_given():
    task, read = targets_as("segmentation", {"train": LABELS})
    assert task.names == ("0", "1", "2")
    np.testing.assert_array_equal(read["train"] == VOID, LABELS < 0)
    np.testing.assert_array_equal(task.encode(read["train"]), LABELS)


@pytest.mark.parametrize(
    "masks, message",
    [
        (np.full((3, 4, 4), 7), "example 0 of the train split of the data has 7 at row 0, column 0, expected a class"),
        (
            np.zeros((3, 4)),
            r"masks of the train split of the data are float64 of shape \(3, 4\); expected whole numbers",
        ),
        (np.full((3, 4, 4), 0.5), "expected whole numbers"),
    ],
)
def test_other_arrays_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        targets_as("segmentation", {"train": masks}, NAMES)


def test_masks_without_a_known_pixel_are_refused():
    images, masks = squares()
    with pytest.raises(ValueError, match="no pixel of the train split has classes: all of its targets are 255"):
        kzoo.from_arrays(images, np.full_like(masks, VOID), task="segmentation", class_names=NAMES, void=VOID)


def test_classes_of_other_data_are_matched_in_their_order():
    masks = np.array([[[0, 1, VOID]]], "uint8")
    found = Segmentation(("b", "a")).matched(Segmentation(("a", "b")), masks)
    np.testing.assert_array_equal(found, [[[1, 0, VOID]]])


# -- served


def test_each_pixel_of_an_image_of_any_size_is_answered(trained, tmp_path):
    """The photo is twice as large as in training, and wider: what its centre crop does not show has no class."""
    _, _, run, _ = trained
    images, masks = squares(30)
    photo = np.full((32, 48), 90, "uint8")
    photo[:, 8:40] = images[29].repeat(2, 0).repeat(2, 1)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    predictor = kzoo.load_predictor(run)
    found = predictor.predict(tmp_path / "photo.png")
    assert found.array.shape == (32, 48)
    assert found.array.dtype == "uint8"
    assert (found.array[:, :8] == VOID).all()
    assert (found.array[:, 40:] == VOID).all()
    seen = found.array[:, 8:40]
    truth = masks[29].repeat(2, 0).repeat(2, 1)
    assert (seen == truth)[truth != VOID].mean() > 0.9
    assert found.classes["sky"] == (seen == 0).sum() / photo.size
    assert "not seen (33.3 %)" in predictor.task.cells(found.answer)["classes"]
    assert write_pictures([found], predictor.task, tmp_path / "masks") == 1
    with Image.open(tmp_path / "masks" / "photo.png") as written:
        np.testing.assert_array_equal(np.asarray(written), found.array)  # palette indices
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), predictor.task.palette[found.array])
    assert (tmp_path / "masks" / "legend.png").exists()
    assert write_pictures([found], predictor.task, tmp_path / "masks") == 1  # its own files are replaced
    (tmp_path / "masks" / "legend.png").unlink()
    original = (tmp_path / "photo.png").read_bytes()
    with pytest.raises(ValueError, match="photo.png is there already, and kzoo did not write it; choose another"):
        write_pictures([found], predictor.task, tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == original


def test_answers_that_are_no_images_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="answers of tagging are no images; leave out the folder"):
        write_pictures([], Tagging(NAMES), tmp_path)


@pytest.mark.parametrize("resize", ["squash", "pad", "crop"])
def test_a_map_is_brought_back_to_the_pixels_it_was_made_of(resize):
    geometry, values = Geometry((8, 8), resize=resize), np.arange(64, dtype="uint8").reshape(8, 8)
    for size in ((8, 8), (16, 16), (16, 24), (12, 4)):
        back = map_back(values, geometry, size)
        assert back.shape == size
        one_hot = np.eye(64, dtype="float32")[values][None]
        outputs = keras.ops.convert_to_numpy(unfitted(keras.ops, one_hot, geometry, *size))[0]
        np.testing.assert_array_equal(np.isnan(outputs).any(-1), back == VOID)
        assert (resize == "crop") or (back != VOID).all()
        forth = resized_map(back, geometry)
        inside = forth != VOID
        if min(size) >= 8:
            np.testing.assert_array_equal(forth[inside], values[inside])
            assert (outputs.argmax(-1) == back)[back != VOID].mean() > 0.9


def test_exports_answer_as_the_network_does(trained, tmp_path):
    _, _, run, _ = trained
    model, serving = kzoo.load_run(run)
    raw = np.pad(serving.examples, ((0, 0), (4, 4), (2, 2), (0, 0)), mode="edge")
    expected = kzoo.load_predictor(run).answers(raw)
    assert expected.shape == raw.shape[:3]
    write_saved_model(model, serving, tmp_path / "export")
    answers = tf.saved_model.load(str(tmp_path / "export")).signatures["serve"](raw=tf.constant(raw))
    np.testing.assert_array_equal(answers["classes"], expected)
    assert answers["classes"].dtype == tf.uint8
    assert answers["probabilities"].shape == (*raw.shape[:3], 3)
    assert answers["class_names"].numpy().tolist() == [name.encode() for name in NAMES]
    write_keras(model, serving, tmp_path / "serving.keras")
    np.testing.assert_array_equal(from_keras(tmp_path / "serving.keras")(raw, "classes"), expected)


def test_exports_for_one_size_answer_at_the_size_of_the_image(trained, tmp_path):
    _, data, run, _ = trained
    predictor = kzoo.load_predictor(run)._replace(any_size=False)
    Image.fromarray(np.full((32, 48), 90, "uint8")).save(tmp_path / "photo.png")
    found = predictor.predict(tmp_path / "photo.png")
    assert found.array.shape == (32, 48)
    assert (found.array[:, 8:40] == 0).all()
    assert (found.array[:, :8] == VOID).all()
    task = data.task
    assert task.difference(np.zeros((1, 2, 2)), np.array([[[0, 0], [0, 3]]])) == 0.25
