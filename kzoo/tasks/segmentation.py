"""Segmentation: one class at each pixel of an image.

The report has IoU and Dice of each class with intervals over the images, pixel accuracy, boundary F1, confusions, and
the images with the lowest IoU beside their truth.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from kzoo.core.lazy import PIL_Image, figures, keras, lazy_import, np, rich_table
from kzoo.core.numbers import percent
from kzoo.core.ranges import evenly_spaced
from kzoo.core.shown import table
from kzoo.nn.portable import argmax
from kzoo.tasks.classification import CONFUSION, LONG, Classification, draw_confusion
from kzoo.tasks.steps import Steps
from kzoo.tasks.task import Report, Score, Section, Task, bootstrap_weights, keras_losses, keras_metrics

ndimage = lazy_import("scipy.ndimage")

VOID = 255  # of a raw mask: the class of the pixel is not known, and it counts for nothing
MOST_CLASSES = VOID
WORST, LEGEND = "worst.png", "legend.png"
DRAWN = 6  # images with the lowest IoU
TOLERANCE = 0.0075  # of the image's diagonal, for boundaries
OUTLINED = 200  # images of which boundaries are compared
WRONG, UNKNOWN = (220, 30, 30), (255, 255, 255)  # colours of errors, and of void


@dataclass(frozen=True)
class Segmentation(Steps, Classification):
    """One class at each pixel; targets are class indices, 8-bit (n, height, width), 255 where none is known.

    Args:
        class_names: in the order of the class indices.
        colours: (red, green, blue) of each class in pictures; a palette of its own if there are none.
    """

    colours: tuple[tuple[int, ...], ...] = ()
    key: ClassVar[str] = "segmentation"
    dims: ClassVar[tuple[int, ...]] = (2,)
    score: ClassVar[Score] = Score("mean_iou")
    answer: ClassVar[str] = "classes"
    drawn: ClassVar[tuple[str, ...]] = (CONFUSION, WORST)
    position: ClassVar[str] = "pixel"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy", "dice", "focal", "tversky", "lovasz")

    @property
    def output_axes(self):
        return ("batch", "height", "width", "num_classes")

    @property
    def palette(self) -> np.ndarray:
        """The colour of each class, and white for void, 8-bit (256, 3)."""
        found = np.full((VOID + 1, 3), UNKNOWN, "uint8")
        found[: self.outputs] = self.colours or [own_colour(index) for index in range(self.outputs)]
        return found

    def check(self, split, targets):
        masks = np.asarray(targets)
        self.check_shape(split, masks, "(n, height, width)", 3)
        if masks.dtype != "uint8":
            raise ValueError(f"the masks of the {split} split must be 8-bit class indices, got {masks.dtype}")
        wrong = np.argwhere((masks >= self.outputs) & (masks != VOID))
        if len(wrong):
            example, row, column = wrong[0]
            raise ValueError(
                f"example {example} of the {split} split has class {masks[example, row, column]} at row {row}, "
                f"column {column}, expected 0 to {self.outputs - 1}, or {VOID} where none is known"
            )

    def check_some(self, split, targets):
        self.check_known(split, np.asarray(targets) != VOID, VOID)

    def encode(self, targets):
        return np.where(targets == VOID, -1, np.asarray(targets, "int32"))

    def strata(self, targets):
        return None

    def loss(self, targets=None, *, loss="cross_entropy", label_smoothing=0.0, class_weights=None, focal_gamma=0.0):
        entropy = super().loss(
            targets, label_smoothing=label_smoothing, class_weights=class_weights, focal_gamma=focal_gamma
        )
        return keras_losses.SegmentationLoss(tuple(loss.split("+")), **entropy.options)

    def has_loss(self, name):
        return any(part in self.losses for part in name.split("+"))  # a sum

    @property
    def loss_type(self):
        return keras_losses.StepClassificationLoss

    def decisions(self, targets):
        return np.concatenate([mask[mask != VOID] for mask in map(targets.__getitem__, range(len(targets)))])

    def metrics(self):
        return [
            keras_metrics.MeanIoU(self.outputs),
            keras_metrics.StepAccuracy("pixel_accuracy"),
            keras_metrics.StepCrossEntropy(),
        ]

    def decode(self, outputs):
        logits = keras.ops.cast(outputs, "float32")
        seen = keras.ops.logical_not(keras.ops.any(keras.ops.isnan(logits), axis=-1))
        classes = keras.ops.where(seen, argmax(logits), VOID)
        probabilities = keras.ops.where(seen[..., None], keras.ops.softmax(logits), 0.0)
        return {self.answer: keras.ops.cast(classes, "uint8"), "probabilities": probabilities}

    def answers(self, outputs):
        return outputs.argmax(axis=-1).astype("uint8")

    @property
    def vocabulary(self):
        return {}

    def describe(self, answer):
        if answer is None:
            return {self.answer: {}}
        shares = np.bincount(np.ravel(answer), minlength=VOID + 1)[: self.outputs] / np.size(answer)
        return {self.answer: dict(zip(self.names, shares.tolist(), strict=True))}

    def cells(self, described):
        shares = sorted(described[self.answer].items(), key=lambda item: -item[1])
        rest = 1 - sum(share for _, share in shares)
        shares += [("not seen", rest)] if shares and rest > 1e-6 else []
        return {self.answer: ", ".join(f"{name} ({percent(share, 1)})" for name, share in shares if share)}

    def matched(self, other, targets):
        if other.names == self.names:
            return targets
        index = np.full(VOID + 1, VOID, "uint8")
        index[: other.outputs] = [self.names.index(name) for name in other.names]
        return index[np.asarray(targets)]

    def measured(self, targets, answers):
        return Task.measured(self, targets, answers)

    def agreement(self, before, after):
        return float((before == after).mean())

    def difference(self, expected, found):
        return float((expected != found).mean())  # the class of a pixel with two equal logits is a matter of rounding

    def picture(self, answer):
        image = PIL_Image.fromarray(np.asarray(answer, "uint8"), "P")
        image.putpalette(self.palette.tobytes())
        return image

    def legends(self):
        figure = figures.Figure(figsize=(3, 0.3 * self.outputs + 0.3), layout="constrained")
        axes = figure.subplots()
        axes.barh(self.names, 1, color=self.palette[: self.outputs] / 255, edgecolor="black")
        axes.invert_yaxis()
        axes.set(xticks=[], xlim=(0, 1))
        return {LEGEND: figure}

    def over_windows(self, answers, spans):
        """Return the classes of a whole image; where tiles overlap, of the one in which a pixel is furthest inside.

        Args:
            answers: of each tile, (height, width).
            spans: where its rows and its columns begin and end: ((top, bottom), (left, right)).
        """
        if len(answers) == 1 and np.ndim(spans[0]) == 1:
            return answers[0]
        height, width = (max(span[axis][1] for span in spans) for axis in (0, 1))
        found, depth = np.full((height, width), VOID, "uint8"), np.full((height, width), -1)
        for answer, ((top, bottom), (left, right)) in zip(answers, spans, strict=True):
            own = np.minimum(inside(bottom - top)[:, None], inside(right - left))
            place = np.s_[top:bottom, left:right]
            deeper = own > depth[place]
            found[place][deeper] = np.asarray(answer)[: bottom - top, : right - left][deeper]
            depth[place][deeper] = own[deeper]
        return found

    def confidence(self, targets, answers):
        return None

    def report(self, split, targets, answers, speed):
        return segmentation_report(self, split, targets, answers, speed)


def inside(size: int) -> np.ndarray:
    """Return how far each pixel of an axis is from its nearer end."""
    return np.minimum(np.arange(size), np.arange(size)[::-1])


def own_colour(index: int) -> tuple[int, ...]:
    """Return the colour of a class: black for the first, then hues that are far from those before them."""
    hue = index * 0.618034 % 1  # the golden ratio
    value = 0.0 if index == 0 else 0.95 - 0.2 * (index % 3)
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, value))


class Maps(NamedTuple):
    """An image of a report in a picture: its index, its true classes and the predicted ones, 8-bit each."""

    example: int
    truth: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, repr=False, kw_only=True)
class SegmentationReport(Report):
    """Metrics of a segmentation on one split; pixels that are not known count for nothing.

    Attributes:
        mean_iou: mean over the classes of intersection over union, of all pixels of the split together, in [0, 1];
            classes that are neither in a mask nor predicted are left out.
        mean_iou_interval: its 95 % confidence interval, of a bootstrap of the images, whose pixels depend on each
            other.
        mean_dice: mean over the same classes of the Dice coefficient, in [0, 1].
        accuracy: fraction of the pixels whose class is right, in [0, 1].
        accuracy_interval: its interval, likewise.
        boundary_f1: F1 score of the classes' boundaries up to 0.75 % of the image's diagonal (Csurka et al., 2013,
            https://doi.org/10.5244/C.27.32), the mean over the classes of an image, then over at most 200 images.
        per_class: IoU and Dice with intervals, and number of pixels, of each class.
        confusion: number of pixels by true class (row) and predicted class (column).
        worst: the images with the lowest mean IoU, and that.
        maps: of these images, for the picture; None for a report that was read from a file.
        task_of_maps: says their colours.
    """

    task: ClassVar[type[Task]] = Segmentation
    mean_iou: float
    mean_iou_interval: tuple[float, float]
    mean_dice: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    boundary_f1: float
    per_class: dict[str, dict]
    confusion: list[list[int]]
    worst: list[list[float]]
    maps: Sequence[Maps] | None = None
    task_of_maps: Segmentation | None = None

    def to_dict(self):
        found = super().to_dict()
        return {key: found[key] for key in found if key not in ("maps", "task_of_maps")}

    def others(self):
        return {
            "pixel accuracy": percent(self.accuracy),
            "mean Dice": percent(self.mean_dice),
            "boundary F1": percent(self.boundary_f1),
        }

    def tables(self):
        yield self.class_table()

    def class_table(self) -> rich_table.Table:
        """Return IoU and Dice of each class as a table."""
        rows = [
            (name, *(cell for key in ("iou", "dice") for cell in with_interval(row, key)), f"{row['pixels']:,}")
            for name, row in self.per_class.items()
        ]
        return table(("class", "IoU", "95 % interval", "Dice", "95 % interval", "pixels"), rows)

    def sections(self) -> Iterator[Section]:
        folded = f"The {len(self.per_class)} classes" if len(self.per_class) > LONG else ""
        yield Section("Classes", table=self.class_table(), folded=folded)
        alt = "Confusion matrix of the pixels: true classes in rows, predicted classes in columns."
        yield Section("Confusion matrix", "", CONFUSION, alt)
        words = "Image, truth, prediction and error; white pixels are not known."
        yield Section("Images with the lowest IoU", words, WORST, words, True, True)

    def pictures(self, draw):
        return {CONFUSION: draw_confusion(self), WORST: draw_worst(self, draw)}


def with_interval(row: dict, key: str) -> tuple[str, str]:
    """Return a score of a class and its interval as text."""
    return percent(row[key]), " to ".join(map(percent, row[f"{key}_interval"]))


def segmentation_report(
    task: Segmentation, split: str, targets: Sequence[np.ndarray], answers: Sequence[np.ndarray], speed: float
) -> SegmentationReport:
    """Return the report for true and predicted classes, maps of any size, which are read one by one."""
    number, count = task.outputs, len(answers)
    confusions = np.zeros((number, number), "int64")
    sums = np.zeros((count, 3, number), "int64")  # pixels that are right, true and predicted, of each image and class
    outlines, outlined = [], set(evenly_spaced(count, OUTLINED).tolist())
    for index in range(count):
        truth, predicted = np.asarray(targets[index]), np.asarray(answers[index])
        own = confusion_of(truth, predicted, number)
        confusions += own
        sums[index] = np.diag(own), own.sum(axis=1), own.sum(axis=0)
        outlines += [boundary_f1(truth, predicted, number)] if index in outlined else []
    drawn = np.tensordot(bootstrap_weights(count, 1000), sums, 1)
    scores = {"iou": iou_of(drawn), "dice": dice_of(drawn)}
    accuracy = drawn[:, 0].sum(axis=1) / np.maximum(drawn[:, 1].sum(axis=1), 1)
    of_image = mean_of(iou_of(sums))
    worst = [int(index) for index in np.argsort(of_image, kind="stable")[:DRAWN]]
    means = {key: mean_of(values) for key, values in scores.items()}
    return SegmentationReport(
        split=split,
        examples=count,
        mean_iou=float(means["iou"][0]),
        mean_iou_interval=interval(means["iou"]),
        mean_dice=float(means["dice"][0]),
        accuracy=float(accuracy[0]),
        accuracy_interval=interval(accuracy),
        boundary_f1=float(np.nanmean(outlines)) if outlines else 0.0,
        per_class={
            name: {key: float(values[0, column]) for key, values in scores.items()}
            | {f"{key}_interval": interval(values[:, column]) for key, values in scores.items()}
            | {"pixels": int(sums[:, 1, column].sum())}
            for column, name in enumerate(task.names)
        },
        confusion=confusions.tolist(),
        worst=[[index, float(of_image[index])] for index in worst],
        maps=[Maps(index, np.asarray(targets[index]), np.asarray(answers[index])) for index in worst],
        task_of_maps=task,
        examples_per_second=speed,
    )


def confusion_of(truth: np.ndarray, predicted: np.ndarray, number: int) -> np.ndarray:
    """Return the known pixels by true class and predicted class; one that is not predicted is wrong.

    Raises:
        ValueError: for maps of different sizes.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"a mask is {truth.shape}, but the classes that were predicted are {predicted.shape}")
    known = truth != VOID
    pairs = truth[known].astype("int64") * number + np.minimum(predicted[known], number - 1)
    return np.bincount(pairs, minlength=number * number).reshape(number, number)


def iou_of(sums: np.ndarray) -> np.ndarray:
    """Return intersection over union of pixels that are right, true and predicted, (..., 3, classes); NaN for none."""
    right, true, predicted = np.moveaxis(sums, -2, 0)
    return quotient(right, true + predicted - right)


def dice_of(sums: np.ndarray) -> np.ndarray:
    """Return the Dice coefficient of pixels that are right, true and predicted, (..., 3, classes); NaN for none."""
    right, true, predicted = np.moveaxis(sums, -2, 0)
    return quotient(2 * right, true + predicted)


def quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN for nothing of nothing."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def mean_of(scores: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that have a score, 0 where none has."""
    known = ~np.isnan(scores)
    return np.where(known, scores, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a score, given the score and then its values in draws of a bootstrap."""
    known = drawn[1:][~np.isnan(drawn[1:])]
    low, high = np.percentile(known, (2.5, 97.5)).tolist() if len(known) else (float("nan"),) * 2
    return low, high


def boundary_f1(truth: np.ndarray, predicted: np.ndarray, number: int) -> float:
    """Return the mean over the classes of an image of the F1 score of their boundaries; NaN if there is no boundary."""
    near = max(1.0, TOLERANCE * float(np.hypot(*truth.shape)))
    known = truth != VOID
    scores = []
    for index in np.union1d(np.unique(truth[known]), np.unique(predicted[known])):
        one, two = outline(truth == index) & known, outline(predicted == index) & known
        if one.any() and two.any():
            precision, recall = covered(two, one, near), covered(one, two, near)
            scores.append(2 * precision * recall / max(precision + recall, 1e-12))
        elif one.any() or two.any():
            scores.append(0.0)
    return float(np.mean(scores)) if scores else float("nan")


def outline(region: np.ndarray) -> np.ndarray:
    """Return the pixels of a region beside others; the edge of the image is none."""
    return region & ~ndimage.binary_erosion(region, border_value=1)


def covered(points: np.ndarray, by: np.ndarray, near: float) -> float:
    """Return the fraction of points that are at most so many pixels away from others."""
    return float((ndimage.distance_transform_edt(~by)[points] <= near).mean())


def draw_worst(report: SegmentationReport, draw: Callable) -> figures.Figure:
    """Draw the images with the lowest IoU, each beside its truth, its prediction and its errors."""
    rows = report.maps or ()
    figure = figures.Figure(figsize=(9, 2.3 * max(len(rows), 1) + 0.5), layout="constrained")
    figure.suptitle(f"lowest mean IoU of the {report.split} split", fontsize=10)
    grid = figure.subplots(max(len(rows), 1), 4, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for (example, iou), maps, (image, *others) in zip(report.worst, rows, grid, strict=False):
        draw(image, example)
        image.set_title(f"example {example}, {percent(iou, 1)}", fontsize=8)
        found = {"truth": maps.truth, "prediction": np.where(maps.truth == VOID, VOID, maps.predicted)}
        palette = report.task_of_maps.palette
        shown = {name: palette[map_] for name, map_ in found.items()} | {"error": errors(*found.values())}
        for axes, (name, picture) in zip(others, shown.items(), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(name, fontsize=8)
    return figure


def errors(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return wrong pixels in red, right ones in grey, and those that are not known in white, (height, width, 3)."""
    picture = np.full((*truth.shape, 3), 200, "uint8")
    picture[truth != predicted] = WRONG
    picture[truth == VOID] = UNKNOWN
    return picture
