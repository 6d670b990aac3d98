"""The contract with TensorFlow Serving: what its REST interface, its batching and its warm-up ask of a SavedModel.

No server is run. Its rules are those of json_tensor.cc, batching_session.cc and prediction_log.proto, written anew.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from served import CASES, built

from kzoo.serving.saved_model import varint, write_saved_model

QUICK = [("text", "classification"), ("audio", "transcription")]


class Server:
    """Answers REST requests for a SavedModel by the rules of the server."""

    def __init__(self, path):
        self.signatures = tf.saved_model.load(str(path)).signatures

    def answer(self, body: str) -> dict:
        """Return the answer to a request, which must be JSON as the standard has it: without NaN."""
        request = json.loads(body)
        signature = self.signatures[request.get("signature_name", "serving_default")]
        inputs = signature.structured_input_signature[1]
        assert inputs, "a signature without inputs cannot be asked"
        (kind,) = request.keys() & {"instances", "inputs"}
        given = rows_of(request[kind], inputs) if kind == "instances" else columns_of(request[kind], inputs)
        outputs = {name: values.numpy() for name, values in signature(**given).items()}
        shown = {"predictions": as_rows(outputs)} if kind == "instances" else {"outputs": as_columns(outputs)}
        return json.loads(json.dumps(shown, allow_nan=False))

    def batched(self, requests: list[np.ndarray]) -> list[dict]:
        """Return the answers to several requests that are computed as one batch."""
        signature = self.signatures["serving_default"]
        (name,) = signature.structured_input_signature[1]
        outputs = {key: values.numpy() for key, values in signature(**{name: np.concatenate(requests)}).items()}
        sizes = [len(request) for request in requests]
        for key, values in outputs.items():
            assert values.shape[:1] == (sum(sizes),), f"{key} does not share the batch axis"
        ends = np.cumsum(sizes)[:-1]
        parts = {key: np.split(values, ends) for key, values in outputs.items()}
        return [{key: each[n] for key, each in parts.items()} for n in range(len(requests))]


def tensor(value, spec: tf.TensorSpec) -> tf.Tensor:
    """Return nested lists of JSON as a tensor: no type is converted, and all lists of a level have one length."""
    shape, level = [], [value]
    while isinstance(level[0], list):
        assert len({len(part) for part in level}) == 1, "lists of different lengths"
        shape.append(len(level[0]))
        level = [entry for part in level for entry in part]
    wanted = str if spec.dtype == tf.string else (int, float) if spec.dtype.is_floating else int
    assert all(isinstance(entry, wanted) for entry in level), f"a value is no {spec.dtype.name}"
    return tf.reshape(tf.constant(level, spec.dtype), shape)


def rows_of(instances: list, inputs: dict) -> dict[str, tf.Tensor]:
    """Return the tensors of `instances`: an object with every input each, or the value alone of a single input."""
    assert isinstance(instances, list)
    assert instances
    if not isinstance(instances[0], dict):
        assert len(inputs) == 1
        instances = [{next(iter(inputs)): one} for one in instances]
    assert all(one.keys() == inputs.keys() for one in instances)
    return {name: tensor([one[name] for one in instances], spec) for name, spec in inputs.items()}


def columns_of(content, inputs: dict) -> dict[str, tf.Tensor]:
    """Return the tensors of `inputs`: an object of them, or a single one alone."""
    content = content if isinstance(content, dict) else {next(iter(inputs)): content}
    return {name: tensor(content[name], spec) for name, spec in inputs.items()}


def plain(values: np.ndarray):
    """Return an array as JSON has it."""
    return np.vectorize(bytes.decode, otypes=[object])(values).tolist() if values.dtype == object else values.tolist()


def as_rows(outputs: dict[str, np.ndarray]) -> list:
    """Return an object for each example, or its value alone of a single output; all need the same first axis."""
    sizes = {len(values) if values.ndim else 0 for values in outputs.values()}
    assert len(sizes) == 1, "outputs without a common batch axis"
    assert min(sizes) >= 1
    columns = {name: plain(values) if values.size else [[]] * len(values) for name, values in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_columns(outputs: dict[str, np.ndarray]):
    """Return an object of the outputs, or the value alone of a single one."""
    columns = {name: plain(values) if values.size else [] for name, values in outputs.items()}
    return columns if len(columns) > 1 else next(iter(columns.values()))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function from a modality and a task to its server, its folder, and what was exported."""
    made = {}

    def export(*key):
        if key not in made:
            folder = tmp_path_factory.mktemp("served") / "1"
            _, serving = model_and_serving = built(*key)
            write_saved_model(*model_and_serving, folder)
            made[key] = Server(folder), folder, serving
        return made[key]

    return export


EACH = [pytest.param(*key, marks=() if key in QUICK else pytest.mark.slow) for key in CASES]


@pytest.mark.parametrize("modality, task", EACH)
def test_rows_and_columns_are_answered_alike(modality, task, exported):
    server, _, serving = exported(modality, task)
    raw = serving.examples[:3].tolist()
    rows = server.answer(json.dumps({"instances": raw}))["predictions"]
    assert server.answer(json.dumps({"instances": [{"raw": one} for one in raw]}))["predictions"] == rows
    columns = server.answer(json.dumps({"inputs": {"raw": raw}}))["outputs"]
    assert server.answer(json.dumps({"inputs": raw}))["outputs"] == columns
    for index, row in enumerate(rows):
        row, column = (row, columns) if isinstance(columns, dict) else ({"": row}, {"": columns})
        assert all(column[name] == [] or column[name][index] == value for name, value in row.items())
    found = [row[serving.task.answer] if isinstance(row, dict) else row for row in rows]
    direct = server.signatures["serve"](raw=tf.constant(serving.examples[:3]))[serving.task.answer]
    np.testing.assert_allclose(found, direct, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("modality, task", EACH)
def test_requests_are_batched(modality, task, exported):
    server, _, serving = exported(modality, task)
    one, two = server.batched([serving.examples[:1], serving.examples[1:3]])
    answer = serving.task.answer
    alone = server.signatures["serving_default"](raw=tf.constant(serving.examples[1:3]))[answer].numpy()
    np.testing.assert_allclose(two[answer], alone, rtol=1e-5, atol=1e-4)
    assert len(one[answer]) == 1


@pytest.mark.parametrize("modality, task", EACH)
def test_names_are_asked_by_their_indices(modality, task, exported):
    server, folder, serving = exported(modality, task)
    names = list(serving.task.names)
    body = json.dumps({"signature_name": "class_names", "instances": [*range(len(names))]})
    assert server.answer(body)["predictions"] == names
    assert json.loads((folder / "assets.extra" / "class_names.json").read_text()) == names
    served = server.signatures["serve"](raw=tf.constant(serving.examples[:1]))
    assert [name.decode() for name in served["class_names"].numpy()] == names
    assert served.keys() - server.signatures["serving_default"].structured_outputs.keys() == {"class_names"}


def prediction_log() -> type:
    """Return the class of the server's message of a logged prediction, with the numbers of its fields."""
    file = descriptor_pb2.FileDescriptorProto(name="kzoo_prediction_log.proto", package="kzoo", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")
    text, other = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    rows = [
        ("Entry", "key", 1, text, ""),
        ("Entry", "value", 2, other, ".tensorflow.TensorProto"),
        ("PredictRequest", "inputs", 2, other, ".kzoo.Entry"),
        ("PredictLog", "request", 1, other, ".kzoo.PredictRequest"),
        ("PredictionLog", "predict_log", 6, other, ".kzoo.PredictLog"),
    ]
    for kind in dict.fromkeys(row[0] for row in rows):
        message = file.message_type.add(name=kind)
        for _, name, number, form, of in (row for row in rows if row[0] == kind):
            label = 3 if name == "inputs" else 1
            message.field.add(name=name, number=number, type=form, type_name=of or None, label=label)
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kzoo.PredictionLog"))


def test_the_request_for_the_warm_up_is_one_that_the_model_answers(exported):
    Log = prediction_log()
    for key in QUICK:
        server, folder, serving = exported(*key)
        (record,) = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
        log = Log.FromString(record.numpy())
        assert log.SerializeToString() == record.numpy()
        (entry,) = log.predict_log.request.inputs
        raw = tf.make_ndarray(entry.value)
        assert entry.key == "raw"
        assert server.signatures["serving_default"](raw=tf.constant(raw))[serving.task.answer].shape[0] == 1


@pytest.mark.parametrize("number, expected", [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_whole_numbers_of_messages(number, expected):
    assert varint(number) == expected
