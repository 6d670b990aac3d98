"""SavedModels with the preprocessing inside, laid out for TensorFlow Serving.

`serving_default` has only outputs that share the batch axis, as the row format of REST requests and batching need;
class names have a signature of their own, whose input and output share one, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from kzoo.core.lazy import keras, np, tf
from kzoo.data.serving import INPUT, Serving, network_outputs
from kzoo.tasks import Task

EXTRA, WARMUP, NAMES = "assets.extra", "tf_serving_warmup_requests", "class_names.json"
AFTER = -1.0  # seconds, after the last word of a text; JSON has no NaN


def write_saved_model(model: keras.Model, serving: Serving, path: Path) -> None:
    """Write a TensorFlow SavedModel with the signatures `serving_default`, `serve` and `class_names`."""
    answers, names = tf.function(served_answers(model, serving)), serving.task.names
    raw = tf.TensorSpec((None, *serving.preprocess.raw_shape), serving.preprocess.raw_dtype, name=INPUT)
    indices = tf.TensorSpec((None,), "int32", name="indices")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", answers, input_signature=[raw])
    archive.add_endpoint("serve", lambda raw: answers(raw) | {"class_names": tf.constant(names)}, [raw])
    archive.add_endpoint(
        "class_names", lambda indices: {"class_names": tf.gather(tf.constant(names), indices)}, [indices]
    )
    archive.write_out(str(path), verbose=False)
    write_extra(serving, path / EXTRA)


def served_answers(model: keras.Model, serving: Serving) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Return the function from a raw batch to the answers by their names, all of which share the batch axis."""
    task = serving.task

    def served(raw):
        check_raw(raw, serving.preprocess.raw_shape)
        answers = task.decode(network_outputs(model, serving.preprocess, raw))
        known = finite(raw)
        named = {name: names for name, names in task.vocabulary.items() if name in answers}
        answers |= {name: tf.gather(tf.constant(names), answers[name]) for name, names in named.items()}
        answers |= spelled(answers[task.answer], task) if task.spelling else {}
        return {name: as_served(values, known) for name, values in answers.items()}

    return served


def spelled(tokens: tf.Tensor, task: Task) -> dict[str, tf.Tensor]:
    """Return the texts of tokens, their words, and the seconds at which each word begins and ends.

    Args:
        tokens: int32 (batch, positions), -1 where none begins.
        task: that spells them.

    Returns:
        `text`, strings (batch,); `words`, strings (batch, most words), "" after the last one; `starts` and `ends`,
        float32 of the same shape, -1 after the last one.
    """
    parts = tf.gather(tf.constant([*task.spelling, ""]), tokens % (len(task.spelling) + 1))
    text = tf.strings.strip(tf.strings.reduce_join(parts, axis=-1))
    heard = tf.logical_and(tokens >= 0, parts != " ")
    number = tf.cumsum(tf.cast(tf.strings.regex_full_match(parts, ".* "), tf.int32), axis=1, exclusive=True)  # of words
    places = tf.where(heard)
    keys = places[:, 0] * tokens.shape[1] + tf.cast(tf.boolean_mask(number, heard), tf.int64)
    changes = keys[1:] != keys[:-1]
    first, stride = task.places(tokens.shape[1])

    def times(chosen: tf.Tensor, later: int) -> tf.Tensor:
        """Return the times of the chosen tokens of each example."""
        rows, positions = tf.unstack(tf.boolean_mask(places, chosen), num=2, axis=1)
        seconds = (tf.cast(positions + later, tf.float32) * stride + first) / task.rate
        ragged = tf.RaggedTensor.from_value_rowids(seconds, rows, tf.shape(tokens, tf.int64)[0])
        return ragged.to_tensor(AFTER)

    edge = tf.ones([tf.minimum(tf.size(keys), 1)], tf.bool)
    starts, ends = times(tf.concat([edge, changes], 0), 0), times(tf.concat([changes, edge], 0), 1)
    return {"text": text, "words": tf.strings.split(text).to_tensor(""), "starts": starts, "ends": ends}


def as_served(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Return an answer with NaN, "" or, of integers, the largest value for examples that are not known."""
    known = tf.reshape(known, [-1] + [1] * (len(values.shape) - 1))
    unknown = "" if values.dtype == tf.string else math.nan if values.dtype.is_floating else values.dtype.max
    return tf.where(known, values, unknown)


def check_raw(raw: tf.Tensor, shape: Sequence[int | None]) -> None:
    """Let a graph refuse a batch of another shape, or of examples without values; signatures check the type alone."""
    expected = tf.constant([-1 if size is None else size for size in shape], tf.int32)
    found = tf.shape(raw)[1:]
    fits = tf.reduce_all((found > 0) & ((expected < 0) | (found == expected)))
    tf.debugging.Assert(fits, ["raw must be a batch of examples of shape", expected, "(-1: any size), got", found])


def finite(raw: tf.Tensor) -> tf.Tensor:
    """Return which examples of a batch have finite values alone, (batch,)."""
    if not raw.dtype.is_floating:
        return tf.ones(tf.shape(raw)[:1], tf.bool)
    return tf.reduce_all(tf.math.is_finite(raw), axis=list(range(1, raw.shape.rank)))


def write_extra(serving: Serving, folder: Path) -> None:
    """Write what is not in the graph: the names of the outputs, and a request by which a server warms up."""
    folder.mkdir()
    (folder / NAMES).write_text(json.dumps(serving.task.names, indent=1))
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as records:
        records.write(predict_log({INPUT: tf.make_tensor_proto(blank(serving)).SerializeToString()}))


def blank(serving: Serving) -> np.ndarray:
    """Return a batch of one empty example of the training's size: no data become part of an export."""
    text = serving.preprocess.raw_dtype == "string"
    return np.array([""]) if text else np.zeros_like(serving.examples[:1])


def predict_log(inputs: dict[str, bytes]) -> bytes:
    """Return a `PredictionLog` of TensorFlow Serving that holds a request to `serving_default`.

    The numbers of its fields are those of prediction_log.proto and predict.proto (tensorflow_serving/apis).

    Args:
        inputs: a serialised `TensorProto` by the name of each input.
    """
    entries = [message((1, name.encode()), (2, tensor)) for name, tensor in inputs.items()]
    request = message(*[(2, entry) for entry in entries])
    return message((6, message((1, request))))


def message(*fields: tuple[int, bytes]) -> bytes:
    """Return a protocol buffer message of numbered fields that are strings or messages themselves."""
    return b"".join(varint(number << 3 | 2) + varint(len(content)) + content for number, content in fields)


def varint(number: int) -> bytes:
    """Return a whole number in groups of seven bits, the lowest first; all but the last have the highest bit set."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)
