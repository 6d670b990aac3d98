"""C sources of a network in 8-bit integers, for TensorFlow Lite for Microcontrollers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.core.files import write_text
from kzoo.core.lazy import lazy_import

schema = lazy_import("ai_edge_litert.schema_py_generated")

MODEL = "model.tflite"  # what the C array holds, by which it is verified
ALIGNMENT = 16  # bytes, of tensors in the arena
PER_TENSOR, PER_OPERATOR, PER_CHANNEL = 16, 96, 8  # bytes that the interpreter keeps: descriptions, scales of channels
BYTES_A_LINE = 12


class Tensor(NamedTuple):
    """Input or output of a network in integers: real value = scale * (integer - zero_point).

    Token ids are `int32_t`, and their own values.
    """

    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    type: str = "int32_t"


class Anatomy(NamedTuple):
    """What a program has to know of a LiteRT file.

    Attributes:
        input: of the network.
        output: of the network.
        operators: names of those that it uses, such as CONV_2D, sorted.
        arena: estimate of the memory in bytes: what is alive at a time at most, and what the interpreter keeps.
    """

    input: Tensor
    output: Tensor
    operators: tuple[str, ...]
    arena: int


def anatomy(data: bytes) -> Anatomy:
    """Read a LiteRT file."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    used = {names[codes[operator.opcodeIndex]] for operator in graph.operators}
    kept = PER_TENSOR * len(graph.tensors) + PER_OPERATOR * len(graph.operators) + PER_CHANNEL * channels(graph)
    ends = (tensor_of(graph.tensors[place[0]]) for place in (graph.inputs, graph.outputs))
    return Anatomy(*ends, tuple(sorted(used)), most_alive(model, graph) + kept)


def tensor_of(tensor) -> Tensor:
    """Return a tensor's shape and scale."""
    shape, how = tuple(map(int, tensor.shape)), tensor.quantization
    if tensor.type != schema.TensorType.INT8:
        return Tensor(shape)
    return Tensor(shape, float(how.scale[0]), int(how.zeroPoint[0]), "int8_t")


def channels(graph) -> int:
    """Return how many channels of weights have a scale of their own."""
    scales = (tensor.quantization.scale for tensor in graph.tensors if tensor.quantization is not None)
    return sum(len(scale) for scale in scales if scale is not None and len(scale) > 1)


def most_alive(model, graph) -> int:
    """Return the bytes of the tensors that are alive at a time, at most."""
    order = list(steps(graph))
    first, last = {}, {}
    for step, tensors in enumerate(order):
        for index in tensors:
            first.setdefault(index, step)
            last[index] = step
    varying = [index for index in first if not constant(model, graph.tensors[index])]
    sizes = {index: size(graph.tensors[index]) for index in varying}
    return max(sum(sizes[i] for i in varying if first[i] <= step <= last[i]) for step in range(len(order)))


def steps(graph) -> Iterator[Sequence[int]]:
    """Yield the tensors that are needed before, in and after each operator."""
    yield graph.inputs
    for operator in graph.operators:
        yield [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    yield graph.outputs


def constant(model, tensor) -> bool:
    """Return whether a tensor is part of the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def size(tensor) -> int:
    """Return the bytes of a tensor in the arena."""
    wide = {schema.TensorType.FLOAT32: 4, schema.TensorType.INT32: 4, schema.TensorType.INT64: 8}
    count = math.prod(max(int(extent), 1) for extent in (tensor.shape if tensor.shape is not None else ()))
    return -(-count * wide.get(tensor.type, 1) // ALIGNMENT) * ALIGNMENT


def method(operator: str) -> str:
    """Return the method of TensorFlow Lite Micro's resolver that adds an operator: CONV_2D is AddConv2D."""
    return "Add" + "".join(word.capitalize().replace("2d", "2D").replace("3d", "3D") for word in operator.split("_"))


def write_sources(folder: Path, name: str, class_names: Sequence[str]) -> None:
    """Write model.h and model.c beside the LiteRT file of a folder.

    Args:
        folder: that holds `MODEL`.
        name: of the network, for a comment.
        class_names: of its outputs.
    """
    data = (folder / MODEL).read_bytes()
    write_text(folder / "model.h", header(name, class_names, anatomy(data), len(data)))
    write_text(folder / "model.c", source(data))


HEADER = """\
#ifndef KZOO_MODEL_H_
#define KZOO_MODEL_H_

/* {name} in 8-bit integers, written by kzoo. Real value = scale * (integer - zero point). */
#define KZOO_MODEL_SIZE {size}
{input}
{output}
#define KZOO_CLASSES {classes}
#define KZOO_CLASS_NAMES {{{class_names}}}

/* An estimate: the activations that are alive at a time, and what the interpreter keeps. Begin with more, then
 * take what MicroInterpreter::arena_used_bytes() says. */
#define KZOO_ARENA_SIZE {arena}

/* For MicroMutableOpResolver<KZOO_OPERATORS>. */
#define KZOO_OPERATORS {operators}
#define KZOO_ADD_OPERATORS(resolver) {adds}

#ifdef __cplusplus
extern "C"
#else
extern
#endif
const unsigned char kzoo_model[KZOO_MODEL_SIZE];

#endif
"""


def header(name: str, class_names: Sequence[str], found: Anatomy, size: int) -> str:
    """Return the text of the header: the array, its input and output, the memory and the operators it needs."""
    return HEADER.format(
        name=name.replace("*/", ""),
        size=size,
        input=macros("INPUT", found.input),
        output=macros("OUTPUT", found.output),
        classes=len(class_names),
        class_names=", ".join(map(json.dumps, class_names)),
        arena=found.arena,
        operators=len(found.operators),
        adds=" ".join(f"(resolver).{method(operator)}();" for operator in found.operators),
    )


def macros(which: str, tensor: Tensor) -> str:
    """Return the definitions of an input or output."""
    rows = {
        f"{which}_SIZE": f"{math.prod(tensor.shape)} /* {' x '.join(map(str, tensor.shape))} */",
        f"{which}_TYPE": tensor.type,
        f"{which}_SCALE": f"{tensor.scale!r}f",
        f"{which}_ZERO_POINT": f"({tensor.zero_point})",
    }
    return "\n".join(f"#define KZOO_{key} {value}" for key, value in rows.items())


def source(data: bytes) -> str:
    """Return the text of the C source of a file."""
    numbers = [f"0x{byte:02x}" for byte in data]
    rows = [", ".join(numbers[n : n + BYTES_A_LINE]) for n in range(0, len(numbers), BYTES_A_LINE)]
    body = ",\n  ".join(rows)
    aligned = f"__attribute__((aligned({ALIGNMENT})))"
    return f'#include "model.h"\n\n{aligned} const unsigned char kzoo_model[KZOO_MODEL_SIZE] = {{\n  {body}}};\n'
