"""Weight files: reading, writing, naming, and refusing damaged ones."""

import io
import json
import pickle
import shlex
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from networks import narrow

import kzoo
from kzoo.zoo.weights.files import read_tensors


def small(channels: int = 3, classes: int = 5, name: str = "resnet18", seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return kzoo.create_model(name, (32, 32, channels), classes, depths=(1, 1), width=8)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}


def as_pytorch(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of a model as torchvision would name and lay them out."""
    words = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    names = kzoo.nn.naming.key_mapping(
        list(dict.fromkeys(path.rpartition("/")[0] for path in values(model))),
        kzoo.model_card(model.name).key_mapping,
        ["conv1.weight", "fc.weight"],
    )
    tensors = {}
    for path, value in values(model).items():
        layer, _, word = path.rpartition("/")
        if word == "kernel":
            word, value = "weight", np.moveaxis(value, (-1, -2), (0, 1))
        tensors[f"{names[layer]}.{words.get(word, word)}"] = value
    return tensors


@pytest.mark.parametrize("file", ["w.safetensors", "w.npz", "w.weights.h5"])
def test_what_is_saved_is_loaded(file, tmp_path):
    first, second = small(seed=0), small(seed=1)
    path = tmp_path / file
    if path.suffix == ".safetensors":
        kzoo.save_weights(first, path)
    elif path.suffix == ".npz":
        np.savez(path, **values(first))
    else:
        first.save_weights(path)
    report = kzoo.load_weights(second, path)
    assert len(report.matched) == len(first.weights)
    for name, value in values(first).items():
        np.testing.assert_array_equal(values(second)[name], value)


def test_names_of_pytorch_are_found_out(tmp_path):
    first, second = small(seed=0), small(seed=1)
    safetensors.numpy.save_file(
        {k: np.ascontiguousarray(v) for k, v in as_pytorch(first).items()}, tmp_path / "a.safetensors"
    )
    kzoo.load_weights(second, tmp_path / "a.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    np.testing.assert_allclose(first(x, training=False), second(x, training=False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, size, narrow, heads, other",
    [
        ("googlenet", 32, {"stem_width": 8}, ["aux1.conv.conv.weight", "aux2.fc2.bias"], "aux.fc.bias"),
        ("inception_v3", 75, {"width": 4}, ["AuxLogits.conv0.bn.running_mean", "AuxLogits.fc.bias"], "aux1.fc2.bias"),
    ],
)
def test_heads_for_training_alone_are_left_out_and_reported(name, size, narrow, heads, other):
    first, second = (kzoo.create_model(name, (size, size, 3), 5, **narrow) for _ in range(2))
    published = as_pytorch(first) | {head: np.ones(3, "float32") for head in heads}
    report = kzoo.load_weights(second, published)
    assert len(report.matched) == len(first.weights)
    assert report.adapted == (f"left out {', '.join(heads)}",)
    with pytest.raises(ValueError, match=f"unexpected {other}"):
        kzoo.load_weights(second, published | {other: np.ones(3, "float32")})


def test_half_precision_is_read(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model = small()
    tensors = {name: value.astype(ml_dtypes.bfloat16) for name, value in values(model).items()}
    safetensors.numpy.save_file(tensors, tmp_path / "half.safetensors")
    read = read_tensors(tmp_path / "half.safetensors")
    assert {tensor.dtype.name for tensor in read.values()} == {"float32"}
    np.testing.assert_allclose(read["logits/kernel"], values(model)["logits/kernel"], rtol=1e-2)


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model.", "_orig_mod."])
def test_a_prefix_that_all_names_share_is_stripped_and_said(prefix):
    first, second = small(seed=0), small(seed=1)
    published = {f"{prefix}{name}": value for name, value in as_pytorch(first).items()}
    report = kzoo.load_weights(second, published)
    assert str(report).endswith(f"; stripped the prefix {prefix} of all names")
    for name, value in values(first).items():
        np.testing.assert_array_equal(values(second)[name], value)


def test_a_prefix_that_not_all_names_share_stays():
    published = {f"module.{name}": value for name, value in as_pytorch(small()).items()} | {"epoch": np.ones(1)}
    with pytest.raises(ValueError, match="no tensor fits resnet18: the names given are module.*"):
        kzoo.load_weights(small(), published)


@pytest.mark.parametrize(
    "name, given, expected",
    [
        ("mobilenetv2_100", "blocks.9.9.conv_dwx.weight blocks.8.0.conv_pw.weight", "conv_stem.weight, bn1.weight"),
        (
            "mobilenetv2_100",
            "features.99.conv.0.0.weight features.98.conv.1.weight",
            "features.0.0.weight, features.0.1",
        ),
        (
            "mobilenetv2_100",
            "stage9.block0.conv1/kernel stage9.block0.norm1/gamma",
            "stem.conv1/kernel, stem.norm1/gamma",
        ),
        ("resnet18", "encoder.layer9.0.conv1.weight encoder.layer9.0.bn1.bias", "conv1.weight, bn1.weight, bn1.bias"),
    ],
)
def test_when_nothing_fits_the_networks_own_names_are_listed_in_the_most_similar_naming(name, given, expected):
    model = kzoo.create_model(name, (32, 32, 3), 5)
    with pytest.raises(ValueError, match=f"no tensor fits {name}: .* in the most similar naming, {expected}"):
        kzoo.load_weights(model, {tensor: np.ones(1) for tensor in given.split()})


class TestAdapt:
    @pytest.mark.parametrize("channels, factor", [(1, None), (6, 0.5), (4, 0.75)])
    def test_another_number_of_input_channels(self, channels, factor):
        first, second = small(), small(channels, seed=1)
        with pytest.raises(ValueError, match="mis-shaped conv1.weight"):
            kzoo.load_weights(second, as_pytorch(first))
        report = kzoo.load_weights(second, as_pytorch(first), adapt=True)
        ours, theirs = values(second)["stem.conv1/kernel"], values(first)["stem.conv1/kernel"]
        if factor is None:
            np.testing.assert_allclose(ours[:, :, 0], theirs.sum(axis=2), rtol=1e-6)
        else:
            np.testing.assert_allclose(ours[:, :, 3], theirs[:, :, 0] * factor, rtol=1e-6)
        assert "input channels" in str(report)

    def test_another_number_of_classes_keeps_the_last_layer(self):
        first, second = small(), small(classes=7, seed=1)
        before = values(second)["logits/kernel"]
        report = kzoo.load_weights(second, as_pytorch(first), adapt=True)
        assert "5 classes in place of 7" in str(report)
        np.testing.assert_array_equal(values(second)["logits/kernel"], before)
        np.testing.assert_array_equal(values(second)["stem.conv1/kernel"], values(first)["stem.conv1/kernel"])


def kzoo_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: value for name, value in values(model).items() if "seed_generator" not in name}


def randomised(model: keras.Model) -> keras.Model:
    """Move every weight, since zeros and ones hide what follows from the first layer."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed_generator" not in weight.path:
            weight.assign(keras.ops.convert_to_numpy(weight) + 0.1 * np.abs(rng.normal(size=weight.shape)))
    return model


def logits_of_grey_images(model: keras.Model) -> np.ndarray:
    """Return the logits of two images with equal channels."""
    *size, channels = model.input_shape[1:]
    images = np.random.default_rng(1).normal(size=(2, *size, 1)) * [[[[1]]], [[[3]]]]
    return np.asarray(model(np.repeat(images, channels, axis=-1).astype("float32"), training=False))


# One block of each family with another first layer: several convolutions that see the input, or standardised kernels.
FIRST_LAYERS = {
    "resnet18": {"width": 8},
    "repvgg_a0": {"filters": (8,), "stem_width": 8},
    "mobileone_s0": {"filters": (8,), "stem_width": 8, "se_blocks": (0,)},
    "resnetv2_50x1_bit": {"width": 8, "stem_width": 8},
    "nf_resnet26": {"filters": (16,), "stem_width": 8},
    "dm_nfnet_f0": {"filters": (16,), "stem_width": 16, "group_width": 4},
}


def one_block(name: str, channels: int) -> keras.Model:
    return kzoo.create_model(name, (16, 16, channels), 3, depths=(1,), **FIRST_LAYERS[name])


@pytest.mark.parametrize("name", FIRST_LAYERS)
def test_adapted_networks_have_the_same_logits_on_grey_images(name, tmp_path):
    first = randomised(one_block(name, 3))
    expected = logits_of_grey_images(first)
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * expected.std()
    for channels in (1, 6):
        second = one_block(name, channels)
        report = kzoo.load_weights(second, kzoo_tensors(first), naming="kzoo", adapt=True)
        assert "input channels" in str(report)
        found = logits_of_grey_images(second)
        np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())
    second.save(tmp_path / "model.keras")  # with a gain, if the kernel has got one
    np.testing.assert_array_equal(logits_of_grey_images(keras.models.load_model(tmp_path / "model.keras")), found)


@pytest.mark.parametrize(
    "name, shape, other, options",
    [
        ("mlp", (8, 8, 3), (8, 8, 1), {}),
        ("textcnn", (64,), (64,), {"vocab_size": 20}),
        ("litemv", (64, 3), (64, 1), {}),
    ],
    ids=["dense", "embedding", "depthwise"],
)
def test_a_first_layer_that_sums_no_channels_is_not_adapted(name, shape, other, options):
    first = kzoo.create_model(name, shape, 3, **narrow(name), **options)
    smaller = {key: value // 2 for key, value in options.items()}
    second = kzoo.create_model(name, other, 3, **narrow(name), **smaller)
    with pytest.raises(ValueError, match=r"mis-shaped .*/(kernel|embeddings) "):
        kzoo.load_weights(second, kzoo_tensors(first), naming="kzoo", adapt=True)


def test_what_does_not_fit_is_reported():
    tensors = as_pytorch(small())
    del tensors["bn1.bias"]
    tensors |= {"extra.weight": np.ones(3), "fc.bias": np.ones(9)}
    model = small(seed=1)
    report = kzoo.load_weights(model, tensors, strict=False)
    assert report.missing == ("bn1.bias (our stem.norm1/beta)",)
    assert report.unexpected == ("extra.weight",)
    assert report.mis_shaped[0].startswith("fc.bias (our logits/bias is (5,)")
    np.testing.assert_array_equal(values(model)["stem.conv1/kernel"], values(small())["stem.conv1/kernel"])


def header(content: bytes) -> tuple[dict, bytes]:
    """Return the header of a safetensors file, and what follows it."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(entries: dict, rest: bytes) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + rest


def lying(content: bytes) -> bytes:
    entries, rest = header(content)
    entries["logits/bias"]["shape"] = [500]
    return with_header(entries, rest)


def archive_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(50_000_000, "uint8"))
    return file.getvalue()


def claiming() -> bytes:
    """Return an .npz file whose array has fewer bytes than its shape claims."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**9,)})
    return archive_of({"a.npy": file.getvalue() + b"8 bytes."})


def objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.array([{}], dtype=object))
    return file.getvalue()


PICKLED = ("pth", "PTH", "pt", "ckpt", "bin", "th", "tar", "pth.tar", "pkl")


def test_the_command_for_a_pickle_can_be_pasted(tmp_path):
    file = tmp_path / "my weights.pth.tar"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="kzoo convert") as error:
        read_tensors(file)
    command = shlex.split(str(error.value).rpartition(": ")[2])
    assert command == ["kzoo", "convert", str(file), str(tmp_path / "my weights.safetensors")]


class TestBadFiles:
    @pytest.mark.parametrize(
        "name, change, message",
        [
            ("a.safetensors", lambda content: content[:-7], "a.safetensors is damaged or no safetensors file"),
            ("a.safetensors", lambda content: content + b"more", "a.safetensors is damaged or no safetensors file"),
            ("a.safetensors", lying, "a.safetensors is damaged or no safetensors file"),
            ("a.safetensors", lambda content: b"", "a.safetensors is damaged or no safetensors file"),
            ("a.npz", lambda content: objects(), "pickled objects, which are never loaded"),
            ("a.npz", lambda content: bomb(), "would unpack to 50,000,"),
            ("a.npz", lambda content: b"PK", "cannot be read as an .npz"),
            ("a.npz", lambda content: claiming(), "a.npy in it claims 4,000,000,000 bytes and holds 8"),
            ("a.npz", lambda content: archive_of({"a.txt": b"text"}), "a.txt in it is no array"),
            ("a.h5", lambda content: content, "is damaged or no .h5 file"),
            ("a.weights.h5", lambda content: content, "is damaged or no .h5 file"),
            *(
                (f"a.{suffix}", lambda content: pickle.dumps(print), "is a pickle, .*: kzoo convert ")
                for suffix in PICKLED
            ),
            (
                "a.nemo",
                lambda content: content,
                r"with a pickle, .*: tar -xf .*a.nemo ./model_weights.ckpt && kzoo conv",
            ),
            ("a.onnx", lambda content: content, "unknown type of weights file '.onnx'"),
        ],
    )
    def test_they_are_refused(self, name, change, message, tmp_path):
        model = small()
        kzoo.save_weights(model, tmp_path / "good.safetensors")
        before = values(model)
        (tmp_path / name).write_bytes(change((tmp_path / "good.safetensors").read_bytes()))
        with pytest.raises(ValueError, match=message):
            kzoo.load_weights(model, tmp_path / name)
        for path, value in values(model).items():
            np.testing.assert_array_equal(value, before[path])

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file"):
            kzoo.load_weights(small(), tmp_path / "a.safetensors")

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, wrong, tmp_path):
        tensors = values(small())
        tensors["logits/bias"] = np.full(5, wrong, "float32")
        np.savez(tmp_path / "a.npz", **tensors)
        with pytest.raises(ValueError, match="logits/bias in .*a.npz holds NaN or infinity"):
            kzoo.load_weights(small(), tmp_path / "a.npz")

    def test_weights_of_another_network(self, tmp_path):
        kzoo.save_weights(small(), tmp_path / "a.safetensors")
        other = kzoo.models.lenet5((32, 32, 3), 5)
        with pytest.raises(
            ValueError,
            match="do not fit lenet5: missing stage1.conv1/kernel, .*; unexpected stage1.block0.conv1/kernel",
        ):
            kzoo.load_weights(other, tmp_path / "a.safetensors")

    def test_only_safetensors_are_written(self, tmp_path):
        with pytest.raises(ValueError, match="written as .safetensors, got a.npz"):
            kzoo.save_weights(small(), tmp_path / "a.npz")
        with pytest.raises(ValueError, match="cannot be written"):
            kzoo.save_weights(small(), tmp_path / "no" / "a.safetensors")


class TestH5:
    """What an .h5 file can point at outside itself, and what it can claim, is refused before anything is read."""

    def soft_link(self, file, secret):
        file["a"] = h5py.SoftLink("/b")

    def external_link(self, file, secret):
        file.create_group("deep")["a"] = h5py.ExternalLink(secret, "/b")

    def external_storage(self, file, secret):
        file.create_dataset("deep/a", (4,), "uint8", external=[(secret, 0, 4)])

    def virtual_dataset(self, file, secret):
        layout = h5py.VirtualLayout((4,), "float32")
        layout[:] = h5py.VirtualSource(secret, "b", (4,))
        file.create_virtual_dataset("a", layout)

    def shape_without_content(self, file, secret):
        file.create_dataset("a", (10**12,), "float32", chunks=(1000,))

    def text(self, file, secret):
        file["a"] = ["text"]

    @pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
    @pytest.mark.parametrize(
        "kind, reason",
        [
            ("soft_link", "a is a soft link, to /b"),
            ("external_link", "deep/a is an external link, to .*secret:/b"),
            ("external_storage", "deep/a has external storage, in .*secret"),
            ("virtual_dataset", "a is a virtual dataset, of .*secret"),
            ("shape_without_content", ".* would unpack to 4,000,000,000,016"),
            ("text", "a holds object in place of numbers"),
        ],
    )
    def test_it_is_refused_by_name(self, kind, reason, suffix, tmp_path):
        secret, path = tmp_path / "secret", tmp_path / f"a{suffix}"
        with h5py.File(secret, "w") as file:
            file["b"] = np.ones(4, "float32")
        with h5py.File(path, "w") as file:
            file["b"] = np.ones(4, "float32")
            getattr(self, kind)(file, str(secret))
        with pytest.raises(ValueError, match=f"a{suffix} is refused: {reason}"):
            kzoo.load_weights(small(), path)

    def test_groups_that_contain_each_other_are_read_once(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["deep/a"] = np.ones(4, "float32")
            file["deep/again"] = file
        assert len(read_tensors(tmp_path / "a.h5")) == 1


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".weights.h5"])
def test_the_limit_on_memory_is_an_argument(suffix, tmp_path):
    model, path = small(), tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **values(model))
    else:
        model.save_weights(path) if suffix == ".weights.h5" else kzoo.save_weights(model, path)
    needed = sum(value.nbytes for value in values(model).values())
    with pytest.raises(ValueError, match="more than max_bytes=1,000; raise that if you trust it"):
        kzoo.load_weights(model, path, max_bytes=1000)
    kzoo.load_weights(model, path, max_bytes=2 * needed)
