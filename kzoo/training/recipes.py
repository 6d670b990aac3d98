"""Whole recipes for a training by name: "fast", "standard" and "strong".

Each is a set of defaults for the sections `train` and `data` of an experiment, which overrides what it likes. What
they have in common: AdamW, because one learning rate then fits networks with and without normalisation; 0.05 of
decoupled weight decay, which times the learning rate is what ConvNeXt has (Liu et al., 2022,
https://arxiv.org/abs/2201.03545); a warm-up, without which the first steps of AdamW are too long.

- "fast" is for a first look: a tenth of the epochs of "strong" or fewer. The one-cycle schedule makes few epochs count
  (Smith, 2018, https://arxiv.org/abs/1803.09820), and what makes a task harder (augmentation, label smoothing) costs
  more than it brings there.
- "standard" has the usual ingredients: the cosine, label smoothing (Szegedy et al., 2016,
  https://arxiv.org/abs/1512.00567), and augmentation that nearly always keeps the class.
- "strong" is many epochs with much regularisation, after Wightman et al., 2021, ResNet strikes back,
  https://arxiv.org/abs/2110.00476, and torchvision's recipes of the same year: mixup, cutmix, RandAugment, erasing,
  a moving average of the weights and clipped gradients. The average's horizon is 100 steps, short enough for small
  sets; with thousands of steps 0.999 is better. For networks with stochastic depth, also raise `model.drop_path`.

Images are never mirrored, since digits and letters are not what they were: add `data.augment.flip=true` for
photographs. Token ids cannot be mixed: text has no mixup.
"""

import copy

from kzoo.core.registry import lookup

COMMON = {"optimizer": "adamw", "weight_decay": 0.05}
RECIPES: dict[str, dict] = {
    "fast": {
        "train": COMMON | {"epochs": 10, "learning_rate": 4e-3, "schedule": "one_cycle", "warmup_ratio": 0.3},
        "augment": {"image": {}, "audio": {}, "timeseries": {}, "text": {}},
    },
    "standard": {
        "train": COMMON
        | {"epochs": 50, "learning_rate": 2e-3, "schedule": "cosine", "warmup_ratio": 0.1, "label_smoothing": 0.1},
        "augment": {
            "image": {"shift": 2},
            "audio": {"shift": 0.1, "speed": 0.1, "noise": 0.05},
            "timeseries": {"jitter": 0.03, "scale": 0.1},
            "text": {"word_dropout": 0.1},
        },
    },
    "strong": {
        "train": COMMON
        | {"epochs": 200, "learning_rate": 2e-3, "schedule": "cosine", "warmup_ratio": 0.05, "label_smoothing": 0.1}
        | {"global_clipnorm": 1.0, "ema_momentum": 0.99},
        "augment": {
            "image": {"shift": 2, "randaugment": 9, "erase": 0.25, "mixup": 0.2, "cutmix": 1.0},
            "audio": {"shift": 0.1, "speed": 0.1, "gain": 0.3, "noise": 0.1, "time_mask": 10, "frequency_mask": 4}
            | {"mixup": 0.2},
            "timeseries": {"jitter": 0.05, "scale": 0.1, "time_warp": 0.1, "mixup": 0.2},
            "text": {"word_dropout": 0.1, "character_dropout": 0.02},
        },
    },
}


def recipe(name: str, modality: str) -> dict[str, dict]:
    """Return the defaults of the sections `train` and `data` of an experiment.

    Args:
        name: a key of `RECIPES`.
        modality: of the data, which the augmentation is for: "image", "audio", "timeseries" or "text".

    Raises:
        ValueError: for an unknown name or modality.
    """
    chosen = lookup("recipe", name, RECIPES)
    augment = lookup("modality with a recipe", modality, chosen["augment"])
    return copy.deepcopy({"train": chosen["train"], "data": {"augment": augment}})
