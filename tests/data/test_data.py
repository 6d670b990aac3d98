"""Datasets: every registered one that needs no download, and the local readers."""

import dataclasses
import gzip
import shutil
import warnings
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data import arrays
from kzoo.data.holdout import HoldOut, complete
from kzoo.data.image.files import read_image
from kzoo.data.image.preprocess import statistics
from kzoo.data.splits import MODALITIES, DatasetRow, Examples, RawData, Splits, register_datasets
from kzoo.tasks import Classification


def batches(dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(x), np.asarray(y)) for x, y in dataset]


def sizes(examples) -> dict[str, int]:
    return {split: len(part) for split, part in examples.items()}


def write_images(folder, classes=("cat", "dog"), count=10, mode="RGB", suffix=".png", size=(12, 10)):
    """Write noise images into class folders; return the folder."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, size=(size[1], size[0], 3), dtype="uint8")
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{number}{suffix}")
    return folder


@pytest.fixture
def pictures(tmp_path):
    return write_images(tmp_path / "pictures")


class TestSplits:
    def test_two_classes_of_one_name_are_refused(self, digits):
        names = ("0", "1", "cat", "3", "4", "cat", *"6789")
        with pytest.raises(ValueError, match=r"digits has two classes named 'cat' \(indices 2 and 5\)"):
            dataclasses.replace(digits, task=Classification(names))

    def test_the_splits_of_digits_share_no_example_and_hold_them_all(self, digits):
        assert sizes(digits.examples) == {"train": 1293, "validation": 144, "test": 360}
        pixels = np.concatenate([examples.inputs.reshape(len(examples), -1) for examples in digits.examples.values()])
        whole = kzoo.dataset_card("digits").load().train
        assert len(np.unique(pixels, axis=0)) == len({row.tobytes() for row in pixels}) > 1700
        assert len(pixels) == 1797
        assert len(whole) == 1437

    def test_nothing_held_out_validates_on_the_train_split(self, tmp_path):
        rng = np.random.default_rng(0)
        images, labels = rng.integers(0, 256, (20, 8, 8, 1), dtype="uint8"), np.arange(20, dtype="int32") % 2
        np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
        splits = kzoo.load_dataset(f"npz:{tmp_path / 'a.npz'}", validation=0)
        assert len(splits.examples["train"]) == len(splits.examples["validation"]) == 20
        with pytest.raises(ValueError, match="test fraction must lie between 0 and 1, got 0"):
            kzoo.load_dataset(f"folder:{write_images(tmp_path / 'pictures')}", validation=0)

    def test_a_place_of_the_set_goes_to_one_split_only(self):
        places = np.arange(100, dtype="float32").reshape(100, 1, 1)
        raw = RawData(Examples(places, np.arange(100, dtype="int32") % 2), None, None, ("a", "b"))
        splits = complete(raw, HoldOut())
        assert sorted(np.concatenate([s.inputs.ravel() for s in splits.values()])) == list(range(100))
        assert {split: len(examples) for split, examples in splits.items()} == {
            "train": 81,
            "validation": 9,
            "test": 10,
        }

    def test_what_is_held_out_does_not_change_with_the_seed(self, digits):
        other = kzoo.load_dataset("digits", seed=7)
        np.testing.assert_array_equal(other.examples["validation"].inputs, digits.examples["validation"].inputs)

    def test_order_is_a_function_of_seed_and_epoch(self):
        first = batches(kzoo.load_dataset("digits", seed=3).train)
        again = batches(kzoo.load_dataset("digits", seed=3).train_batches(0).take(len(first)))
        for (x, y), (other_x, other_y) in zip(first, again, strict=True):
            np.testing.assert_array_equal(x, other_x)
            np.testing.assert_array_equal(y, other_y)

    def test_each_epoch_has_an_order_of_its_own_and_every_example_once(self):
        splits = kzoo.load_dataset("digits", seed=3)
        epochs = [np.concatenate([y for _, y in batches(splits.train)]) for _ in range(2)]
        assert (epochs[0] != epochs[1]).any()
        labels = splits.examples["train"].labels
        assert all((np.bincount(epoch) == np.bincount(labels)).all() for epoch in epochs)
        resumed = splits.train_batches(splits.steps_per_epoch).take(splits.steps_per_epoch)
        np.testing.assert_array_equal(np.concatenate([y for _, y in batches(resumed)]), epochs[1])

    def test_another_seed_gives_another_order(self):
        labels = [np.concatenate([y for _, y in batches(kzoo.load_dataset("digits", seed=s).train)]) for s in (0, 1)]
        assert (labels[0] != labels[1]).any()

    def test_input_is_normalised_by_the_training_split_alone(self, digits):
        x = np.concatenate([x for x, _ in batches(digits.train)])
        assert abs(x.mean()) < 1e-5
        assert abs(x.std() - 1) < 1e-5
        np.testing.assert_allclose(digits.preprocess.mean, digits.examples["train"].inputs.mean(), rtol=1e-9)

    def test_keras_fits_the_splits_without_kzoo(self, digits):
        model = kzoo.models.lenet5((28, 28, 1), 10)
        splits = kzoo.load_dataset("digits", image_size=28)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        history = model.fit(splits.train, validation_data=splits.validation, epochs=2, verbose=0).history
        assert history["val_accuracy"][-1] > 0.5

    @pytest.mark.parametrize("channels", [1, 3])
    def test_statistics_of_8_bit_images_are_those_of_their_pixels(self, channels):
        images = np.random.default_rng(0).integers(0, 256, (250, 7, 5, channels)).astype("uint8")
        images[..., 0] //= 3
        mean, std = statistics(images)
        np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(std, images.std(axis=(0, 1, 2)), rtol=1e-12)
        assert statistics(np.full_like(images, 9)) == ((9.0,) * channels, (1.0,) * channels)
        exact = statistics(images.astype("float32"))
        np.testing.assert_allclose(exact, (mean, std), rtol=1e-12)

    def test_large_arrays_are_mapped_from_a_file(self, monkeypatch, pictures):
        in_memory = kzoo.load_dataset(f"folder:{pictures}")
        monkeypatch.setattr(arrays, "MEMORY_LIMIT", 1000)
        raw = kzoo.dataset_card("image_folder:x").load(str(pictures)).train
        raw = Examples(raw.inputs.load("reading"), raw.labels)
        assert isinstance(raw.inputs, np.memmap)
        mapped = Splits("mapped", "image", {"test": raw}, in_memory.task, in_memory.preprocess)
        expected = np.asarray(in_memory.preprocess(np.asarray(raw.inputs)))
        np.testing.assert_array_equal(np.concatenate([x for x, _ in batches(mapped.test)]), expected)


class TestOptions:
    @pytest.mark.parametrize(
        "options, message",
        [
            ({"name": "digit"}, "unknown dataset 'digit'; did you mean digits"),
            ({"name": "fodler:x"}, "unknown dataset 'fodler:x'; did you mean folder:"),
            ({"name": "folder:"}, "needs a path"),
            ({"name": "tfds:"}, "needs an argument"),
            ({"name": "tfds:mnits"}, "unknown dataset 'tfds:mnits'; did you mean"),
            ({"image_siez": 9}, "unknown option of dataset 'digits', 'image_siez'; did you mean image_size"),
            ({"download": True}, "unknown option"),
            ({"image_size": 0}, "image_size must be"),
            ({"image_size": (3, 4, 5)}, "image_size must be"),
            ({"batch_size": 0}, "batch_size must be a positive integer, at most 1,000,000, got 0"),
            ({"validation": 1.5}, "the validation fraction must lie between 0 and 1, got 1.5"),
            ({"augment": {"flop": True}}, "unknown augmentation of image data, 'flop'; did you mean flip"),
            ({"augment": {"shift": -1}}, "augment.shift must lie between 0"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(**{"name": "digits"} | options)

    def test_image_size_resizes_every_split(self):
        splits = kzoo.load_dataset("digits", image_size=(16, 12))
        assert splits.input_shape == (16, 12, 1)
        assert next(iter(splits.test))[0].shape[1:] == (16, 12, 1)

    def test_every_dataset_describes_itself(self):
        for name in kzoo.list_datasets():
            card = kzoo.dataset_card(f"{name}..." if name.endswith(":") else name)
            assert card.description.endswith((".", ",", "?"))
            assert card.source
            assert set(card.modality.split(", ")) <= MODALITIES.keys()

    def test_a_dataset_is_registered_by_a_row(self):
        def load(name, *, count: int = 10) -> RawData:
            examples = Examples(np.zeros((count, 4, 4, 1), "uint8"), np.arange(count, dtype="int32") % 2)
            return RawData(examples, examples, examples, (name, "other"))

        register_datasets("image", load, DatasetRow("blank", "Nothing.", "drawn here", {"count": 6}))
        try:
            assert kzoo.dataset_card("blank").description == "Nothing."
            assert kzoo.load_dataset("blank").class_names == ("blank", "other")
            assert [len(kzoo.load_dataset("blank", **o).examples["test"]) for o in ({}, {"count": 8})] == [6, 8]
            with pytest.raises(ValueError, match="unknown option of dataset 'blank', 'counts'; did you mean count"):
                kzoo.load_dataset("blank", counts=8)
        finally:
            del kzoo.data.splits.DATASETS["blank"]


class TestFolder:
    def test_classes_are_the_folders(self, pictures):
        splits = kzoo.load_dataset(f"folder:{pictures}", validation=0.2)
        assert splits.class_names == ("cat", "dog")
        assert splits.input_shape == (10, 12, 3)
        assert sizes(splits.examples) == {"train": 12, "validation": 4, "test": 4}

    def test_given_splits_are_kept(self, tmp_path):
        for split, count in (("train", 8), ("val", 3), ("test", 5)):
            write_images(tmp_path / split, count=count)
        splits = kzoo.load_dataset(f"folder:{tmp_path}")
        assert sizes(splits.examples) == {"train": 16, "validation": 6, "test": 10}

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif", ".jp2", ".ppm", ".JPEG"])
    def test_formats(self, tmp_path, suffix):
        splits = kzoo.load_dataset(f"folder:{write_images(tmp_path, suffix=suffix)}", validation=0.2)
        assert splits.input_shape[-1] == 3

    def test_grey_images_have_one_channel(self, tmp_path):
        assert kzoo.load_dataset(f"folder:{write_images(tmp_path, mode='L')}").input_shape == (10, 12, 1)

    def test_images_of_several_sizes_need_image_size(self, pictures):
        write_images(pictures, classes=("fox",), size=(20, 20))
        with pytest.raises(ValueError, match="differ in size .* give image_size"):
            kzoo.load_dataset(f"folder:{pictures}")
        assert kzoo.load_dataset(f"folder:{pictures}", image_size=8, validation=0.2).input_shape == (8, 8, 3)

    def test_16_bit_cmyk_palette_and_transparent_images_are_converted(self, tmp_path):
        grey16 = np.full((4, 4), 257 * 100, "uint16")
        Image.fromarray(grey16).save(tmp_path / "grey16.png")
        assert read_image(tmp_path / "grey16.png", 1).tolist() == np.full((4, 4, 1), 100).tolist()
        red = Image.new("RGB", (4, 4), (200, 0, 0))
        red.convert("P").save(tmp_path / "palette.png")
        red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
        red.convert("RGBA").save(tmp_path / "alpha.png")
        for name in ("palette.png", "cmyk.jpg", "alpha.png"):
            pixel = read_image(tmp_path / name, 3)[0, 0].astype(int)
            assert np.abs(pixel - [200, 0, 0]).max() < 8, name

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
    def test_transparency_is_composed_on_the_background(self, tmp_path, mode):
        image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
        image.putpixel((1, 0), (0, 0, 0, 255))
        image.convert(mode).save(tmp_path / "clear.tif" if mode == "PA" else tmp_path / "clear.png")
        path = next(tmp_path.iterdir())
        assert read_image(path, 3)[0].tolist() == [[255, 255, 255], [0, 0, 0]]
        assert read_image(path, 1)[0].tolist() == [[255], [0]]
        assert read_image(path, 3, background=(9, 8, 7))[0].tolist() == [[9, 8, 7], [0, 0, 0]]

    def test_half_transparent_pixels_are_mixed(self, tmp_path):
        Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "half.png")
        assert read_image(tmp_path / "half.png", 1).item() == 127

    def test_twelve_bits_keep_their_grey_levels(self, tmp_path):
        for name, largest in (("dark", 2100), ("bright", 4095)):
            (tmp_path / name).mkdir()
            for number in range(10):
                ramp = np.linspace(0, largest, 400).astype("uint16").reshape(20, 20)
                Image.fromarray(ramp).save(tmp_path / name / f"{number}.png")
        with pytest.warns(UserWarning, match="values up to 4095 and are read with value_range=4095; another"):
            splits = kzoo.load_dataset(f"folder:{tmp_path}", validation=0.2)
        levels = [len(np.unique(image)) for image in splits.examples["train"].inputs]
        assert (min(levels), max(levels)) == (132, 256)
        assert splits.preprocess.value_range == 4095
        assert splits.preprocess.read(tmp_path / "bright" / "0.png").max() == 255
        with pytest.raises(ValueError, match="bright/0.png .* it has the value 4095, expected 0 to value_range=4000"):
            kzoo.load_dataset(f"folder:{tmp_path}", value_range=4000)

    def test_float_images_keep_their_grey_levels(self, tmp_path):
        Image.fromarray(np.array([[0.0, 0.5, 1.0]], "float32")).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif", 1, value_range=1).ravel().tolist() == [0, 128, 255]

    def test_the_background_is_an_option_that_is_remembered(self, tmp_path):
        path = f"folder:{write_images(tmp_path, mode='LA')}"
        splits = kzoo.load_dataset(path, validation=0.2, background=7)
        assert splits.preprocess.background == (7, 7, 7)
        with pytest.raises(ValueError, match=r"background must be a grey level or \[red, green, blue\] .* got 256"):
            kzoo.load_dataset(path, background=256)

    def test_broken_images_can_be_skipped(self, pictures):
        (pictures / "cat" / "text.png").write_text("not an image")
        with pytest.warns(UserWarning, match="skipped 1 broken files: .*cat/text.png cannot be read as an image"):
            splits = kzoo.load_dataset(f"folder:{pictures}", skip_broken=True, validation=0.2, image_size=8)
        assert sum(map(len, splits.examples.values())) == 20
        model = kzoo.create_model("mlp", splits.input_shape, splits.num_classes)
        kzoo.fit(model, splits, epochs=1, run_dir=pictures / "run", verbose=False)
        (line,) = (pictures / "run" / "skipped_files.txt").read_text().splitlines()
        assert "cat/text.png cannot be read as an image" in line

    def test_a_message_names_five_of_many_broken_images(self, pictures):
        for number in range(9):
            (pictures / "cat" / f"broken{number}.png").write_text("not an image")
        with pytest.warns(UserWarning, match=r"skipped 9 broken files: [^;]*(;[^;]*){4} \(and 4 more files\)$"):
            splits = kzoo.load_dataset(f"folder:{pictures}", skip_broken=True, validation=0.2)
        assert len(splits.skipped) == 9
        assert not kzoo.load_dataset("digits").skipped

    def test_images_are_rotated_by_their_exif_orientation(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # rotated by a quarter
        Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
        assert read_image(tmp_path / "turned.jpg", 3).shape == (8, 4, 3)

    def test_broken_files_are_all_named(self, pictures):
        whole = (pictures / "cat" / "0.png").read_bytes()
        Image.fromarray(np.zeros((40, 40, 3), "uint8")).save(pictures / "dog" / "cut.jpg")
        cut = (pictures / "dog" / "cut.jpg").read_bytes()
        (pictures / "dog" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
        (pictures / "cat" / "text.png").write_text("not an image")
        (pictures / "cat" / "short.png").write_bytes(whole[:60])
        with pytest.raises(ValueError, match="cannot be read as an image") as error:
            kzoo.load_dataset(f"folder:{pictures}", image_size=10)
        assert all(name in str(error.value) for name in ("cut.jpg", "text.png", "short.png"))

    def test_other_files_are_skipped_with_a_warning(self, pictures):
        (pictures / "cat" / "notes.txt").write_text("x")
        with pytest.warns(UserWarning, match=r"skipped 1 files that are no images, e.g. .*notes.txt"):
            kzoo.load_dataset(f"folder:{pictures}", validation=0.2)

    def test_missing_empty_and_single_class_folders(self, tmp_path):
        with pytest.raises(ValueError, match="there is no folder"):
            kzoo.load_dataset(f"folder:{tmp_path / 'nowhere'}")
        (tmp_path / "empty" / "cat").mkdir(parents=True)
        with pytest.raises(ValueError, match="no images"):
            kzoo.load_dataset(f"folder:{tmp_path / 'empty'}")
        write_images(tmp_path / "one", classes=("cat",))
        with pytest.raises(
            ValueError, match="expected at least 2 class folders below .*, found cat; the first file is cat/0.png"
        ):
            kzoo.load_dataset(f"folder:{tmp_path / 'one'}")

    def test_a_class_too_small_to_divide_is_explained(self, tmp_path):
        with pytest.raises(ValueError, match="cannot hold out"):
            kzoo.load_dataset(f"folder:{write_images(tmp_path, count=1)}")


def zipped(folder, *, top=""):
    """Write a .zip file of a folder's content, below a folder `top`; return its path."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, top + str(file.relative_to(folder)))
    return path


def write_tones(folder, classes=("high", "low"), count=10):
    """Write class folders of WAV files."""
    soundfile = pytest.importorskip("soundfile")
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            wave = 0.5 * np.sin(np.arange(4000) * (0.2 + 0.3 * place + 0.01 * number))
            soundfile.write(folder / name / f"{number}_ann.wav", wave, 8000)
    return folder


def write_texts(folder, classes=("bad", "good"), count=10):
    """Write class folders of .txt files."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{number}.txt").write_text(f"a {name} film, number {number}", encoding="utf-8")
    return folder


class TestDetectedModality:
    """One name for images, audio and text: which it is, is found by looking."""

    def test_a_folder_is_loaded_as_what_it_holds(self, pictures, tmp_path):
        sets = {"image": pictures, "audio": write_tones(tmp_path / "a"), "text": write_texts(tmp_path / "t")}
        for modality, path in sets.items():
            (path / "README.txt").write_text("notes are no examples") if modality != "text" else None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                splits = kzoo.load_dataset(f"folder:{path}", validation=0.2)
                named = kzoo.load_dataset(f"{modality}_folder:{path}", validation=0.2)
            assert kzoo.dataset_card(f"folder:{path}").modality == splits.modality == named.modality == modality
            np.testing.assert_array_equal(splits.examples["test"].inputs, named.examples["test"].inputs)
            assert sizes(splits.examples) == {"train": 12, "validation": 4, "test": 4}
        assert sorted(named.examples["test"].inputs)[0].startswith("a bad film")

    @pytest.mark.parametrize("top", ["", "set/"])
    @pytest.mark.parametrize("write", [write_images, write_tones, write_texts])
    def test_a_zip_file_is_the_same_as_its_folder(self, write, top, tmp_path):
        folder = write(tmp_path / "set")
        plain = kzoo.load_dataset(f"folder:{folder}", validation=0.2)
        packed = kzoo.load_dataset(f"folder:{zipped(folder, top=top)}", validation=0.2)
        assert packed.class_names == plain.class_names
        for split in plain.examples:
            np.testing.assert_array_equal(packed.examples[split].inputs, plain.examples[split].inputs)

    def test_splits_within_a_zip_file(self, tmp_path):
        for split, count in (("train", 8), ("val", 3), ("test", 5)):
            write_images(tmp_path / "set" / split, count=count)
        splits = kzoo.load_dataset(f"folder:{zipped(tmp_path / 'set', top='set/')}")
        assert sizes(splits.examples) == {"train": 16, "validation": 6, "test": 10}

    def test_options_are_those_of_what_is_there(self, pictures, tmp_path):
        path = write_tones(tmp_path / "tones")
        options = {"pattern": "{word}/{index}_{speaker}.wav", "test_rule": "index<2", "seconds": 0.5, "validation": 0.2}
        splits = kzoo.load_dataset(f"folder:{path}", feature="waveform", **options)
        assert splits.input_shape == (4000, 1)
        assert all(set(part.groups) == {"ann"} for part in splits.examples.values())
        with pytest.raises(ValueError, match="unknown option of dataset .* 'pattern'"):
            kzoo.load_dataset(f"folder:{pictures}", pattern="{a}")
        with pytest.raises(ValueError, match="unknown option of dataset .* 'image_size'"):
            kzoo.load_dataset(f"folder:{path}", image_size=8)

    def test_an_experiment_is_checked_against_what_is_there(self, tmp_path):
        path = write_tones(tmp_path / "tones")
        config = tmp_path / "x.yaml"
        config.write_text(f"data: {{name: 'folder:{path}', seconds: 0.5, n_mels: 20}}\nmodel: {{name: mlp}}\n")
        assert kzoo.load_experiment(config)["data"]["n_mels"] == 20
        with pytest.raises(ValueError, match="unknown key 'image_size' in 'data'"):
            kzoo.load_experiment(config, ["data.image_size=8"])
        with pytest.raises(ValueError, match="there is no folder nowhere, and no .zip file"):
            kzoo.load_experiment(config, ["data.name=folder:nowhere"])

    def test_images_and_recordings_in_one_folder(self, pictures):
        write_tones(pictures, classes=("cat",))
        message = r"holds images \(e.g. cat/0.png\) and audio files \(e.g. cat/0_ann.wav\); choose with image_folder:"
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(f"folder:{pictures}")
        with pytest.warns(UserWarning, match="skipped 10 files that are no images, e.g. cat/0_ann.wav"):
            assert kzoo.load_dataset(f"image_folder:{pictures}").modality == "image"

    def test_folders_of_nothing_and_files(self, tmp_path):
        (tmp_path / "notes.md").write_text("x")
        with pytest.raises(ValueError, match=r"no images, audio files, texts or series \(.*.wav, .*\) in"):
            kzoo.load_dataset(f"folder:{tmp_path}")
        with pytest.raises(ValueError, match="there is no folder .*notes.md, and no .zip file"):
            kzoo.load_dataset(f"folder:{tmp_path / 'notes.md'}")
        write_images(tmp_path, classes=(".",))
        with pytest.raises(
            ValueError, match="expected at least 2 class folders below .*, found none; the first file is 0.png"
        ):
            kzoo.load_dataset(f"image_folder:{tmp_path}")

    def test_files_in_no_class_folder_are_reported(self, pictures):
        shutil.copy(pictures / "cat" / "0.png", pictures / "cover.png")
        with pytest.warns(UserWarning, match="skipped 1 files that are in no class folder, e.g. cover.png"):
            kzoo.load_dataset(f"folder:{pictures}", validation=0.2)

    @pytest.mark.parametrize(
        "name, modality",
        [("mnist", "image"), ("crema_d", "audio"), ("imdb_reviews", "text"), ("glue/sst2", "text"), ("trec", "text")],
    )
    def test_a_set_of_tensorflow_datasets_is_what_its_features_say(self, name, modality):
        card = kzoo.dataset_card(f"tfds:{name}")
        assert card.modality == modality
        assert f"Any {modality} classification dataset" in card.description

    def test_its_options_are_those_of_its_modality(self, tmp_path):
        options = {"data_dir": str(tmp_path), "download": False}
        with pytest.raises(ValueError, match="imdb_reviews is not prepared in .* and download=False; put"):
            kzoo.load_dataset("tfds:imdb_reviews", level="bytes", **options)
        with pytest.raises(ValueError, match="unknown option of dataset 'tfds:imdb_reviews', 'image_size'"):
            kzoo.load_dataset("tfds:imdb_reviews", image_size=8, **options)


class TestNpz:
    def arrays(self, **changes):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, size=(40, 6, 6), dtype="uint8")
        return {"x_train": x, "y_train": np.arange(40) % 2, "x_test": x[:10], "y_test": np.arange(10) % 2} | changes

    def save(self, tmp_path, **arrays):
        np.savez(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    def test_images_and_splits(self, tmp_path):
        splits = kzoo.load_dataset(self.save(tmp_path, **self.arrays()))
        assert splits.input_shape == (6, 6, 1)
        assert len(splits.examples["test"]) == 10

    def test_float_arrays_are_series_with_channels(self, tmp_path):
        x = np.random.default_rng(0).normal(size=(40, 50, 3))
        splits = kzoo.load_dataset(self.save(tmp_path, x=x, y=np.arange(40) % 4), validation=0.2)
        assert splits.input_shape == (50, 3)
        assert splits.num_classes == 4

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"y_train": np.full(40, -1)}, "expected at least 2 classes in .*set.npz, found '-1'"),
            ({"class_names": np.array(["a"])}, "has label 1, expected 0 to 0"),
            ({"y_train": np.linspace(0, 1, 40)}, "labels of the train split must be integers"),
            ({"y_train": np.arange(39) % 2}, "40 inputs but 39 labels"),
            ({"x_train": np.full((40, 6, 6), np.nan), "x_test": np.zeros((10, 6, 6))}, "example 0 .* contains NaN"),
            ({"x_train": np.zeros((0, 6, 6), "uint8"), "y_train": np.zeros(0, int)}, "train split .* has no examples"),
            ({"x_train": np.zeros(40)}, "expected \\(n, height, width, channels\\)"),
            ({"x_test": np.zeros((10, 5, 5), "uint8")}, r"x of test is uint8 of shape \(10, 5, 5\), but x of train"),
            ({"x_test": np.zeros((10, 6, 6))}, "x of test is float64 of shape"),
            ({"x_train": np.zeros((40, 32, 32))}, "images or series. say modality='image'"),
            ({"x_Train": np.zeros((40, 6, 6), "uint8")}, "contains x_train and x_Train, both the x of one split"),
        ],
    )
    def test_wrong_content_is_named(self, tmp_path, changes, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(self.save(tmp_path, **self.arrays(**changes)))

    @pytest.mark.parametrize(
        "x, y", [("X_{}", "y_{}"), ("{}_images", "{}_labels"), ("x_{}", "Y_{}"), ("{}_data", "{}_target")]
    )
    @pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev"])
    def test_names_of_arrays_have_many_spellings(self, tmp_path, x, y, validation):
        arrays = self.arrays()
        named = {
            name.format(split): arrays[f"{kind}_{source}"]
            for split, source in (("train", "train"), (validation, "test"), ("test", "test"))
            for name, kind in ((x, "x"), (y, "y"))
        }
        splits = kzoo.load_dataset(self.save(tmp_path, **named))
        assert sizes(splits.examples) == {"train": 40, "validation": 10, "test": 10}

    @pytest.mark.parametrize(
        "labels", [np.array(["a", "b"]), np.array([1.0, 2.0]), np.array([False, True]), np.array([1, 2]), np.eye(2)]
    )
    def test_labels_of_every_kind(self, tmp_path, labels):
        arrays = self.arrays()
        named = {f"y_{split}": labels[arrays[f"y_{split}"]] for split in ("train", "test")}
        splits = kzoo.load_dataset(self.save(tmp_path, **arrays | named))
        assert splits.num_classes == 2
        assert splits.examples["test"].labels.tolist() == arrays["y_test"].tolist()

    def test_channels_first_other_units_and_unused_arrays_are_said(self, tmp_path):
        x = np.random.default_rng(0).random((40, 3, 20, 24)).astype("float32")
        y = np.arange(40) % 2
        path = self.save(tmp_path, x=x, y=y, x_test=x * 255, y_test=y, extra=y)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            splits = kzoo.load_dataset(path, validation=0.2)
        said = " | ".join(str(warning.message) for warning in said)
        assert splits.input_shape == (20, 24, 3)
        assert "is read with channels first" in said
        assert "set.npz contains arrays that are not used: 'extra'" in said
        assert "x of test in " in said
        assert ": other units?" in said

    def test_groups_are_not_divided(self, tmp_path):
        groups = np.repeat(np.arange(10), 4)
        x = np.broadcast_to(groups.astype("uint8")[:, None, None], (40, 6, 6))
        splits = kzoo.load_dataset(self.save(tmp_path, **self.arrays(x_train=x), groups=groups), validation=0.3)
        train, held = (set(splits.examples[split].inputs.ravel().tolist()) for split in ("train", "validation"))
        assert len(train) + len(held) == 10

    def test_series_are_series(self, tmp_path):
        x = np.random.default_rng(0).normal(size=(40, 32, 32))
        y = np.arange(40) % 2
        path = self.save(tmp_path, x=x, y=y)
        splits = kzoo.load_dataset(
            path, modality="timeseries", validation=0.2, normalise="example", augment={"jitter": 0.1}
        )
        assert splits.modality == "timeseries"
        np.savetxt(tmp_path / "one.csv", x[0], delimiter=",")
        np.save(tmp_path / "one.npy", x[0])
        for name in ("one.csv", "one.npy"):
            np.testing.assert_allclose(splits.preprocess.read(tmp_path / name), x[0], rtol=1e-5)
        assert kzoo.load_dataset(path, modality="image", validation=0.2).input_shape == (32, 32, 1)
        assert kzoo.load_dataset(self.save(tmp_path, x=x[:, 0], y=y), validation=0.2).input_shape == (32, 1)

    def test_missing_arrays_are_named(self, tmp_path):
        with pytest.raises(ValueError, match="contains pictures; expected x_train and y_train"):
            kzoo.load_dataset(self.save(tmp_path, pictures=np.zeros(3)))
        with pytest.raises(ValueError, match="contains x_train but not y_train"):
            kzoo.load_dataset(self.save(tmp_path, x_train=np.zeros((3, 2, 1))))

    def test_what_would_unpack_to_too_much_is_refused(self, tmp_path):
        arrays = {"x": np.zeros((6000, 100, 100), "uint8"), "y": np.zeros(6000, "uint8")}
        np.savez_compressed(tmp_path / "bomb.npz", **arrays)
        with pytest.raises(ValueError, match="bytes would unpack to 60,"):
            kzoo.load_dataset(f"npz:{tmp_path / 'bomb.npz'}")
        with pytest.raises(ValueError, match="more than max_bytes=1,000"):
            kzoo.load_dataset(self.save(tmp_path, **self.arrays()), max_bytes=1000)

    def test_pickled_objects_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="pickled objects, which are never loaded"):
            kzoo.load_dataset(self.save(tmp_path, x_train=np.array([{}], dtype=object), y_train=np.zeros(1, int)))

    def test_broken_and_missing_files(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file"):
            kzoo.load_dataset("npz:nowhere.npz")
        (tmp_path / "text.npz").write_text("text")
        with pytest.raises(ValueError, match="cannot be read as an .npz file|pickled objects"):
            kzoo.load_dataset(f"npz:{tmp_path / 'text.npz'}")
        path = self.save(tmp_path, **self.arrays()).removeprefix("npz:")
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="cannot be read as an .npz file"):
            kzoo.load_dataset(f"npz:{path}")


def put_originals(shared, data_dir, name):
    """Put the canonical files of a set where the loader looks for them."""
    (data_dir / name).mkdir(parents=True)
    for file in (shared / name).glob("*.gz"):
        (data_dir / name / file.name).symlink_to(file)


class TestTensorflowDatasets:
    @pytest.mark.slow  # prepares 140,000 images
    def test_mnist_and_fashion_mnist_do_not_mix_up_their_files(self, shared_data, tmp_path):
        sets = {}
        for name in ("mnist", "fashion_mnist"):
            put_originals(shared_data, tmp_path, name)
            sets[name] = kzoo.load_dataset(name, data_dir=str(tmp_path), download=False)
        for name, splits in sets.items():
            assert {k: len(v) for k, v in splits.examples.items()} == {
                "train": 54000,
                "validation": 6000,
                "test": 10000,
            }
            with gzip.open(shared_data / name / "t10k-images-idx3-ubyte.gz") as file:
                original = np.frombuffer(file.read(), "uint8", offset=16).reshape(-1, 28, 28, 1)
            assert checksums(splits.examples["test"].inputs) == checksums(original)
        assert sets["mnist"].class_names == tuple("0123456789")
        assert sets["fashion_mnist"].class_names[0] == "T-shirt/top"

    def test_another_sets_files_are_refused(self, shared_data, tmp_path):
        put_originals(shared_data, tmp_path, "mnist")
        shutil.move(tmp_path / "mnist", tmp_path / "fashion_mnist")
        with pytest.raises(ValueError, match="damaged or of another dataset"):
            kzoo.load_dataset("fashion_mnist", data_dir=str(tmp_path), download=False)

    def test_without_download_the_wanted_files_are_named(self, tmp_path):
        with pytest.raises(ValueError, match="download=False; put cifar-10-binary.tar.gz into .*cifar10") as error:
            kzoo.load_dataset("cifar10", data_dir=str(tmp_path), download=False)
        assert "\n" not in str(error.value)

    def test_without_a_network_the_wanted_files_are_named(self, tmp_path, monkeypatch):
        import requests

        def no_network(*arguments, **options):
            raise requests.ConnectionError("Name or service not known")

        monkeypatch.setattr(requests, "head", no_network)
        with pytest.raises(ValueError, match="cannot be downloaded .*put cifar-100-binary.tar.gz into") as error:
            kzoo.load_dataset("cifar100", data_dir=str(tmp_path))
        assert "\n" not in str(error.value)

    def test_a_set_of_something_else_is_refused(self):
        message = "tfds:iris has no image or audio or text with a class label; its features are features, label"
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset("tfds:iris", download=False)


def checksums(images) -> list[int]:
    return sorted(zlib.crc32(picture.tobytes()) for picture in images)
