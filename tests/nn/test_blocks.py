"""Tests of the building blocks that architectures share: stages, blocks in stages, and their hyperparameters."""

import keras
import pytest

from kzoo.nn.blocks import block_sequence, doubling, residual_stages, rising_rates, stage_sequence, stages
from kzoo.nn.layers import conv


def layer_names(outputs, inputs):
    return [layer.name for layer in keras.Model(inputs, outputs).layers[1:]]


def test_a_stage_sequence_names_the_layers_and_the_output_of_each_stage():
    x = keras.Input((8, 3))
    y = stage_sequence(x, lambda x, filters, kernel: conv(x, filters, kernel), filters=(4, 5), kernels=(3, 1))
    assert layer_names(y, x) == ["stage1.conv1", "stage1", "stage2.conv1", "stage2"]
    assert y.shape[-1] == 5


def test_a_block_sequence_counts_from_zero():
    x = keras.Input((8, 3))
    assert layer_names(block_sequence(x, conv, [(4,), (5, 1)]), x) == ["block0.conv1", "block1.conv1"]


def seen_by_blocks(**options):
    seen = []

    def block(x, *arguments):
        seen.append(arguments)
        return x

    stages(keras.Input((8, 3)), block, **options)
    return seen


def test_the_first_block_of_a_stage_has_its_stride():
    assert seen_by_blocks(depths=(1, 2), strides=(2, 3)) == [(2,), (3,), (1,)]


def test_the_last_block_of_a_stage_can_have_its_stride():
    assert seen_by_blocks(depths=(1, 2), strides=(2, 3), stride_in_last=True) == [(2,), (1,), (3,)]


def test_the_last_entry_of_a_tuple_stands_for_all_blocks_after_it():
    assert seen_by_blocks(depths=(1, 3), strides=(1, 1), kernels=(7, (5, 3))) == [(1, 7), (1, 5), (1, 3), (1, 3)]


def test_hyperparameters_of_stages_must_agree_in_length():
    with pytest.raises(ValueError, match=r"depths and strides must have equally many entries, got .* and \(1,\)"):
        seen_by_blocks(depths=(1, 2), strides=(1,))


def test_residual_stages_halve_the_resolution_and_double_the_filters():
    seen = []

    def block(x, stride, filters, drop_rate):
        seen.append((stride, filters, drop_rate))
        return x

    residual_stages(keras.Input((8, 3)), block, depths=(1, 2), width=16, drop_path=0.3)
    assert seen == [(1, 16, 0.0), (2, 32, pytest.approx(0.1)), (1, 32, pytest.approx(0.2))]
    assert doubling(16, (1, 2)) == [16, 32]
    assert rising_rates(0.0, (1, 2)) == ((0.0,), (0.0, 0.0))
