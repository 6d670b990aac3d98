"""Restoration: from a degraded image, waveform or series to the original one, or from one to itself.

The report has the peak signal-to-noise ratio and the structural similarity with intervals over the images, beside those
of the input, and pictures of the worst examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kzoo.core.bicubic import bicubic
from kzoo.core.lazy import PIL_Image, figures, keras, np, rich_table
from kzoo.core.numbers import significant
from kzoo.core.shown import table
from kzoo.tasks.steps import Steps
from kzoo.tasks.task import Report, Score, Section, Task, bootstrap, keras_losses, keras_metrics

WORST = "worst.png"
SHOWN = 25  # worst examples in a table
PICTURED = 5  # of them in the picture
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # of red, green and blue in [0, 255]; ITU-R BT.601, as in MATLAB
COLUMNS = ("input", "output", "target", "error")


@dataclass(frozen=True)
class Restoration(Steps, Task):
    """A value for each channel at each position; targets are images, waveforms or series, (n, ..., channels).

    Args:
        channels: names of the channels.
        axes: names of the axes of positions.
        mean: of each channel, which is subtracted from targets for the network.
        deviation: of each channel, by which they are divided then; () for those of the training targets.
        peak: range of the values, of which the peak signal-to-noise ratio is; None for that of the training targets.
        limits: smallest and largest value that answers are clipped to; () for none.
        scale: how many times as large as the input the target is.
        border: positions at each end that are not measured, as is usual for super-resolution.
        luminance: measure red, green and blue images by their luminance alone, as is usual for super-resolution.
    """

    channels: tuple[str, ...]
    axes: tuple[str, ...] = ("height", "width")
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    peak: float | None = None
    limits: tuple[float, ...] = ()
    scale: int = 1
    border: int = 0
    luminance: bool = False
    key: ClassVar[str] = "restoration"
    dims: ClassVar[tuple[int, ...]] = (1, 2)
    noun: ClassVar[str] = "channels"
    score: ClassVar[Score] = Score("psnr")
    answer: ClassVar[str] = "restored"
    drawn: ClassVar[tuple[str, ...]] = (WORST,)
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "charbonnier")

    def __post_init__(self):
        if self.luminance and len(self.channels) != 3:
            raise ValueError(f"luminance is that of red, green and blue, got {len(self.channels)} channels")

    @property
    def names(self):
        return self.channels

    def positions(self, sizes):
        return tuple(size and size * self.scale for size in sizes)

    def over_windows(self, answers, spans):
        if len(self.axes) > 1:
            return np.mean(answers, axis=0, dtype="float64")
        return super().over_windows(answers, [(self.scale * start, self.scale * end) for start, end in spans])

    @property
    def output_axes(self):
        return ("batch", *self.axes, "num_outputs")

    def check(self, split, targets):
        rows = np.asarray(targets)
        self.check_shape(split, rows, f"(n, {', '.join(self.axes)}, {self.outputs})", len(self.axes) + 2)
        if rows.shape[-1] != self.outputs:
            raise ValueError(f"the targets of the {split} split have {rows.shape[-1]} channels, not {self.outputs}")
        if rows.dtype.kind not in "iuf":
            raise ValueError(f"the targets of the {split} split are {rows.dtype}; expected numbers")
        finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if not finite.all():
            raise ValueError(f"the target of example {np.argmin(finite)} of the {split} split has NaN or infinity")

    def fitted(self, targets):
        if self.deviation:
            return self
        values = np.asarray(targets, "float64").reshape(-1, self.outputs)
        deviation = np.maximum(values.std(axis=0), 1e-12 * (1 + np.abs(values.mean(axis=0))))
        own = {"mean": tuple(values.mean(axis=0).tolist()), "deviation": tuple(deviation.tolist())}
        return dataclasses.replace(self, peak=self.peak or float(np.ptp(values)) or 1.0, **own)

    def encode(self, targets):
        return ((np.asarray(targets, "float32") - np.float32(self.mean)) / np.float32(self.deviation)).astype("float32")

    def loss(self, targets=None, *, loss=None):
        return keras_losses.RegressionLoss(loss or self.losses[0])

    def metrics(self):
        return [keras_metrics.PeakSignalToNoiseRatio([width / (self.peak or 1) for width in self.deviation])]

    def decode(self, outputs):
        scale, shift = (np.asarray(part, "float32") for part in (self.deviation, self.mean))
        values = keras.ops.cast(outputs, "float32") * scale + shift
        return {self.answer: keras.ops.clip(values, *self.limits) if self.limits else values}

    def describe(self, answer):
        if answer is None:
            return {"size": [], "lowest": None, "highest": None}
        size = list(np.shape(answer)[:-1])
        return {"size": size, "lowest": float(np.min(answer)), "highest": float(np.max(answer))}

    def cells(self, described):
        ends = [significant(described[end]) for end in ("lowest", "highest")]
        return {"size": " x ".join(map(str, described["size"])), "values": " to ".join(ends)}

    def difference(self, expected, found):
        return super().difference(expected, found) / max(self.peak or 1, 1)

    def picture(self, answer):
        pixels = np.clip(np.round(answer), 0, 255).astype("uint8")
        if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
            raise ValueError(
                f"only images of 1 or 3 channels are written as pictures, not values of shape {pixels.shape}"
            )
        return PIL_Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)

    def caption(self, answer, output=None, target=None):
        return "" if target is None else f"PSNR {significant(psnr(self, target, answer))} dB"

    def measured(self, targets, answers):
        return float(np.mean([psnr(self, *pair) for pair in zip(targets, answers, strict=True)]))

    def agreement(self, before, after):
        return float(np.mean(np.abs(after - before)) / self.peak)

    def report(self, split, targets, answers, speed):
        return restoration_report(self, split, targets, answers, speed)

    def compared(self, report, parts, train=None):
        pairs = [(inputs, target) for part in parts for inputs, target in zip(part.inputs, part.labels, strict=True)]
        before = [bicubic(np.asarray(inputs, "float32"), self.scale) for inputs, _ in pairs]
        if any(one.shape != np.shape(target) for one, (_, target) in zip(before, pairs, strict=True)):
            return report
        ratio = np.mean([psnr(self, target, one) for one, (_, target) in zip(before, pairs, strict=True)])
        pictured = [row | {"input": before[row["example"]]} for row in report.pictured]
        return dataclasses.replace(report, input_psnr=float(ratio), pictured=pictured)


def measured_part(task: Restoration, values: np.ndarray) -> np.ndarray:
    """Return what papers measure of an image, float64: its luminance if asked, without the border."""
    values = np.asarray(values, "float64")
    values = values @ np.array(LUMA)[:, None] + 16 if task.luminance else values
    inner = slice(task.border, -task.border or None)
    return values[(inner,) * (values.ndim - 1)]


def psnr(task: Restoration, target: np.ndarray, answer: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of one example in dB; at most 100, for errors of nothing."""
    error = np.mean((measured_part(task, target) - measured_part(task, answer)) ** 2)
    return float(10 * np.log10(task.peak**2 / max(error, task.peak**2 * 1e-10)))


def ssim(task: Restoration, target: np.ndarray, answer: np.ndarray) -> float | None:
    """Return the structural similarity of one image, at most 1; None of what is no image of at least 11 pixels."""
    pair = [measured_part(task, values) for values in (target, answer)]
    if pair[0].ndim != 3 or min(pair[0].shape[:2]) < 11:
        return None
    one, other = (keras.ops.convert_to_tensor(values.astype("float32")) for values in pair)
    return float(keras.ops.image.ssim(one, other, max_val=task.peak, data_format="channels_last"))


@dataclass(frozen=True, repr=False, kw_only=True)
class RestorationReport(Report):
    """Metrics of a restoration on one split.

    Attributes:
        psnr: peak signal-to-noise ratio in dB, the mean over the examples.
        psnr_interval: its 95 % confidence interval, of a bootstrap of the examples.
        ssim: structural similarity (Wang et al., 2004), the mean over the examples; None for what are no images.
        ssim_interval: its 95 % confidence interval.
        input_psnr: that of the inputs, which for super-resolution are enlarged by bicubic interpolation; None where
            they are not known.
        worst: index and PSNR of the examples with the lowest one, in ascending order.
        pictured: some of them with their input, output and target, for the picture; not part of the file.
    """

    task: ClassVar[type[Task]] = Restoration
    psnr: float
    psnr_interval: tuple[float, float]
    ssim: float | None
    ssim_interval: tuple[float, float] | None
    input_psnr: float | None = None
    worst: list[list[float]]
    pictured: Sequence[dict] = ()

    def to_dict(self):
        content = super().to_dict()
        return {key: content[key] for key in content if key != "pictured"}

    def others(self):
        similarity = None if self.ssim is None else f"{self.ssim:.4f}"
        before = None if self.input_psnr is None else f"{self.input_psnr:.2f} dB"
        return {"SSIM": similarity, "PSNR of the input": before}

    def worst_table(self) -> rich_table.Table:
        """Return the examples with the lowest PSNR as a table."""
        return table(("example", "PSNR in dB"), [(f"{int(n)}", f"{value:.2f}") for n, value in self.worst])

    def sections(self) -> Iterator[Section]:
        title = f"The {len(self.worst)} examples with the lowest PSNR"
        words = "Input, output, target and absolute error of the first of them."
        yield Section("Worst examples", words, WORST, title, True, True, self.worst_table(), f"{title} as a table")

    def pictures(self, draw):
        return {WORST: draw_worst(self)}


def restoration_report(
    task: Restoration, split: str, targets: Sequence[np.ndarray], answers: Sequence[np.ndarray], speed: float
) -> RestorationReport:
    """Return the report for targets and answers, one an example, in the original units; their sizes may differ."""
    pairs = list(zip(targets, answers, strict=True))
    ratios = np.array([psnr(task, *pair) for pair in pairs])
    similar = [ssim(task, *pair) for pair in pairs]
    known = np.array([value for value in similar if value is not None])
    order = np.argsort(ratios, kind="stable")[:SHOWN].tolist()
    return RestorationReport(
        split=split,
        examples=len(pairs),
        psnr=float(ratios.mean()),
        psnr_interval=bootstrap(np.mean, ratios),
        ssim=float(known.mean()) if known.size else None,
        ssim_interval=bootstrap(np.mean, known) if known.size else None,
        worst=[[row, float(ratios[row])] for row in order],
        pictured=[{"example": row, "target": pairs[row][0], "output": pairs[row][1]} for row in order[:PICTURED]],
        examples_per_second=speed,
    )


def draw_worst(report: RestorationReport) -> figures.Figure:
    """Draw input, output, target and error of the examples with the lowest PSNR, a row each."""
    rows = report.pictured
    figure = figures.Figure(figsize=(2.4 * len(COLUMNS), 2.4 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(f"lowest PSNR on the {report.split} split", fontsize=10)
    for line, row in zip(figure.subplots(len(rows), len(COLUMNS), squeeze=False), rows, strict=True):
        error = np.abs(np.asarray(row["output"], "float64") - row["target"])
        for axes, name in zip(line, COLUMNS, strict=True):
            values = error if name == "error" else row.get(name)
            axes.set_title(f"{name} {row['example']}" if name == "input" else name, fontsize=8)
            draw_values(axes, values, row["target"])
    return figure


def draw_values(axes, values: np.ndarray | None, like: np.ndarray) -> None:
    """Draw an image in grey or colour, or a series; nothing for None."""
    axes.set_axis_off()
    if values is None:
        return
    if np.ndim(values) < 3:
        axes.plot(values, linewidth=0.7)
        return
    low, high = float(np.min(like)), float(np.max(like))
    shown = np.clip((np.asarray(values, "float64") - low) / ((high - low) or 1), 0, 1)
    axes.imshow(shown.squeeze(), cmap="gray", vmin=0, vmax=1)
