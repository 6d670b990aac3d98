"""GoogLeNet (Inception v1): parallel convolutions of several kernel sizes behind 1x1 reductions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kzoo.core.lazy import keras
from kzoo.core.registry import IMAGENET, PYTORCH, Paper, register_model
from kzoo.nn.blocks import block_sequence, conv_sequence, stage_sequence
from kzoo.nn.layers import conv_norm_act, dropout, global_avg_pool, max_pool, scope
from kzoo.nn.naming import Rule, logits_to

SZEGEDY_2015 = Paper(
    "Szegedy, Christian and Liu, Wei and Jia, Yangqing and Sermanet, Pierre and Reed, Scott and Anguelov, Dragomir "
    "and Erhan, Dumitru and Vanhoucke, Vincent and Rabinovich, Andrew",
    2015,
    "Going Deeper with Convolutions",
    "https://arxiv.org/abs/1409.4842",
    "CVPR",
)


def module_of_paper(match: re.Match, layers: Sequence[str]) -> str:
    """Return the paper's name of a module: those of our first stage are 3a and 3b."""
    return f"inception{int(match[1]) + 2}{'abcde'[int(match[2])]}"


KEY_MAPPING = (
    Rule(r"^stem\.(conv|norm)(\d)$", r"conv\2.\1"),
    Rule(r"^stage(\d)\.block(\d)", module_of_paper),
    Rule(r"\.point\.(conv|norm)1$", r".branch1.\1"),
    Rule(r"\.conv3\.(conv|norm)1$", r".branch2.0.\1"),
    Rule(r"\.conv3\.(conv|norm)2$", r".branch2.1.\1"),
    Rule(r"\.conv5\.(conv|norm)1$", r".branch3.0.\1"),
    Rule(r"\.conv5\.(conv|norm)2$", r".branch3.1.\1"),
    Rule(r"\.pool\.(conv|norm)1$", r".branch4.1.\1"),
    Rule(r"\.norm$", ".bn"),
    logits_to("fc"),
)
IGNORE_UNEXPECTED = (r"^aux\d\.",)  # two auxiliary classifiers

# A module's row in Table 1 of the paper.
STAGE1 = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
STAGE2 = (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
)
STAGE3 = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


@register_model("googlenet", SZEGEDY_2015, 6_624_904, IMAGENET._replace(dialect=PYTORCH._replace(bn_epsilon=1e-3)))
@dataclass(frozen=True)
class GoogLeNet:
    """Three stages of inception modules with batch normalisation, each begun by max pooling.

    Maps a feature map to a vector. The output of stage n is named `stage<n>`.

    Args:
        filters: filters of each module of each stage: of the 1x1 branch; of the 3x3 branch's reduction and convolution;
            of the 5x5 branch's reduction and convolution; and of the projection after the pooling.
        pools: size of the max pooling before each stage, at stride 2.
        kernels: kernel sizes of the 3x3 and of the 5x5 branch. The paper's second is 5; torchvision's pretrained
            networks have 3.
        stem_width: filters of the stem's first convolution.
        dropout: dropout rate before the classifier, in [0, 1).

    Raises:
        ValueError: if `filters` and `pools` differ in length.
    """

    filters: tuple[tuple[tuple[int, ...], ...], ...] = (STAGE1, STAGE2, STAGE3)
    pools: tuple[int, ...] = (3, 3, 2)
    kernels: tuple[int, int] = (3, 3)
    stem_width: int = 64
    dropout: float = 0.2

    def __call__(self, x):
        with scope("stem"):
            x = max_pool(conv_norm_act(x, self.stem_width, 7, stride=2), 3, stride=2, padding="ceil")
            x = conv_sequence(x, (self.stem_width, 1), (3 * self.stem_width, 3))
        x = stage_sequence(x, self.stage, filters=self.filters, pools=self.pools)
        return dropout(global_avg_pool(x), self.dropout)

    def stage(self, x, modules: tuple[tuple[int, ...], ...], pool: int):
        return block_sequence(max_pool(x, pool, stride=2, padding="ceil"), self.inception, modules)

    def inception(self, x, point: int, reduced3: int, conv3: int, reduced5: int, conv5: int, pooled: int):
        first, second = self.kernels
        branches = {
            "point": (x, (point, 1)),
            "conv3": (x, (reduced3, 1), (conv3, first)),
            "conv5": (x, (reduced5, 1), (conv5, second)),
            "pool": (max_pool(x, 3, stride=1), (pooled, 1)),
        }
        outputs = []
        for name, branch in branches.items():
            with scope(name):
                outputs.append(conv_sequence(*branch))
        return keras.layers.concatenate(outputs)
