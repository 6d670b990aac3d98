"""Training recipes: the hyperparameters of a training as one value, and the presets "fast", "standard" and "strong".

The presets are defaults for the sections `train` and `data` of an experiment, which may override any of them. In common
they have AdamW, because one learning rate then suits networks with and without normalisation; decoupled weight decay
of 0.05, which times the learning rate is that of ConvNeXt (Liu et al., 2022, https://arxiv.org/abs/2201.03545); and a
warm-up, without which the first updates of AdamW are too large.

- "fast" is for a first look: a tenth of the epochs of "strong" or fewer. The one-cycle schedule makes few epochs count
  (Smith, 2018, https://arxiv.org/abs/1803.09820); regularisation (augmentation, label smoothing) would cost more than
  it brings in so few.
- "standard" has the usual ingredients: cosine schedule, label smoothing (Szegedy et al., 2016,
  https://arxiv.org/abs/1512.00567), and augmentation that nearly always keeps the class.
- "strong" is many epochs with much regularisation, after Wightman et al., 2021, ResNet strikes back,
  https://arxiv.org/abs/2110.00476, and torchvision's recipes of the same year: mixup, CutMix, RandAugment, random
  erasing, a moving average of the weights and gradient clipping. The average's horizon is 100 steps, short enough for
  small sets; with thousands of steps 0.999 is better. For networks with stochastic depth, also raise
  `model.drop_path`.

No preset mirrors images, since digits and letters would change their meaning: add `data.augment.flip=true` for natural
images. Token ids cannot be mixed, so text has no mixup.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from kzoo.core.arguments import check_arguments
from kzoo.core.ranges import Fraction, NonNegativeFloat, OpenFraction, PositiveFloat, PositiveInt, check_range
from kzoo.core.registry import keywords, lookup
from kzoo.nn.solvers import SOLVERS
from kzoo.tasks import TASKS, Classification
from kzoo.tasks.class_weights import BALANCED

LOSS_OPTIONS = (
    "label_smoothing",
    "class_weights",
    "focal_gamma",
    "huber_delta",
)  # which the loss of a task takes, or refuses


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What defines a training apart from its model and data: the keys of an experiment's section `train`.

    Each field is the argument of `kzoo.fit` of the same name, which explains it.

    Raises:
        ValueError: for a value out of its range, or an unknown solver.
    """

    epochs: PositiveInt = 20
    optimizer: str = "adamw"
    solver: str | None = None
    learning_rate: PositiveFloat = 1e-3
    schedule: str = "cosine"
    warmup_ratio: Fraction = 0.0
    weight_decay: NonNegativeFloat = 0.0
    global_clipnorm: PositiveFloat | None = None
    gradient_accumulation_steps: PositiveInt = 1
    loss: Any = None
    metrics: Sequence = ()
    label_smoothing: Fraction = 0.0
    class_weights: str | Sequence[float] | Mapping[int | str, float] | None = None
    focal_gamma: NonNegativeFloat = 0.0
    huber_delta: PositiveFloat = 1.0
    ema_momentum: OpenFraction | None = None
    swa_epochs: PositiveInt | None = None
    patience: PositiveInt | None = None
    deterministic: bool = False

    def __post_init__(self):
        object.__setattr__(self, "class_weights", checked_class_weights(self.class_weights))
        for name, value in check_arguments(Recipe, vars(self)).items():
            object.__setattr__(self, name, value)
        if self.solver is not None:
            lookup("solver", self.solver, SOLVERS)

    @property
    def learning_rate_is_set_by_callbacks(self) -> bool:
        """Whether the optimizer holds a number for its learning rate, which callbacks may change, not a schedule."""
        return self.schedule == "constant" and not self.warmup_ratio

    def warmup_steps(self, steps_per_epoch: int) -> int:
        """Return the number of steps with a rising learning rate."""
        return int(self.warmup_ratio * self.epochs * steps_per_epoch)

    def loss_options(self) -> dict:
        """Return the options of the loss that differ from their defaults."""
        return {name: value for name, value in self.settings().items() if name in LOSS_OPTIONS}

    def settings(self) -> dict:
        """Return the fields that differ from their defaults, as keyword arguments of `kzoo.fit`."""
        fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if getattr(self, f.name) != f.default}


def checked_class_weights(given) -> str | tuple[float, ...] | dict[int | str, float] | None:
    """Return the argument `class_weights` as plain numbers in a tuple or a dictionary.

    Raises:
        ValueError: for another string than "balanced", a weight that is no number from 0, a key that is neither a class
            index nor a class name, or another type.
    """
    if given is None:
        return None
    if isinstance(given, str):
        lookup("class_weights", given, {BALANCED: None})
        return given
    if isinstance(given, Mapping):
        wrong = [key for key in given if isinstance(key, bool) or not isinstance(key, (Integral, str))]
        if wrong:
            raise ValueError(f"a key of class_weights must be a class index or a class name, got {wrong[0]!r}")
        return {key if isinstance(key, str) else int(key): checked_weight(weight) for key, weight in given.items()}
    if isinstance(given, Sequence) or getattr(given, "ndim", None) == 1:
        return tuple(checked_weight(weight) for weight in given)
    raise ValueError(
        'class_weights must be "balanced", one number for each class, or {class index or name: number}, '
        f"got {type(given).__name__} {given!r}"
    )


def checked_weight(weight) -> float:
    """Return the loss weight of one class; raise a ValueError unless it is a number from 0."""
    check_range("class_weights", weight, "a number from 0")
    return float(weight)


class Preset(NamedTuple):
    """A recipe with the augmentation that belongs to it, by modality."""

    train: Recipe
    augment: dict[str, dict]


COMMON = Recipe(weight_decay=0.05)
STANDARD = dataclasses.replace(COMMON, epochs=50, learning_rate=2e-3, warmup_ratio=0.1, label_smoothing=0.1)
PRESETS = {
    "fast": Preset(
        dataclasses.replace(COMMON, epochs=10, learning_rate=4e-3, schedule="one_cycle", warmup_ratio=0.3),
        {"image": {}, "audio": {}, "timeseries": {}, "forecast": {}, "text": {}},
    ),
    "standard": Preset(
        STANDARD,
        {
            "image": {"shift": 2},
            "audio": {"shift": 0.1, "speed": 0.1, "noise": 0.05},
            "timeseries": {"jitter": 0.03, "scale": 0.1},
            "forecast": {},
            "text": {"word_dropout": 0.1},
        },
    ),
    "strong": Preset(
        dataclasses.replace(STANDARD, epochs=200, warmup_ratio=0.05, global_clipnorm=1.0, ema_momentum=0.99),
        {
            "image": {"shift": 2, "randaugment": 9, "erase": 0.25, "mixup": 0.2, "cutmix": 1.0},
            "audio": {"shift": 0.1, "speed": 0.1, "gain": 0.3, "noise": 0.1, "time_mask": 10, "frequency_mask": 4}
            | {"mixup": 0.2},
            "timeseries": {"jitter": 0.05, "scale": 0.1, "time_warp": 0.1, "mixup": 0.2},
            "forecast": {},
            "text": {"word_dropout": 0.1, "character_dropout": 0.02},
        },
    ),
}


def preset(name: str, modality: str, task: str = Classification.key) -> dict[str, dict]:
    """Return the settings of a preset for the sections `train` and `data` of an experiment.

    Options that the loss of the task does not have, such as label smoothing for numbers, are left out.

    Args:
        name: a key of `PRESETS`.
        modality: of the data, which selects the augmentation, a key of `MODALITIES`.
        task: of the data, a key of `kzoo.tasks.TASKS`.

    Raises:
        ValueError: for an unknown name, modality or task.
    """
    chosen = lookup("recipe", name, PRESETS)
    augment = lookup("modality with a recipe", modality, chosen.augment)
    taken = keywords(lookup("task", task, TASKS).loss)
    settings = chosen.train.settings()
    train = {key: value for key, value in settings.items() if key not in LOSS_OPTIONS or key in taken}
    return {"train": train, "data": {"augment": copy.deepcopy(augment)}}
