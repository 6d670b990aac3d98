"""Time series: the sets inside sktime or aeon, the local readers, the step to the model's input, augmentation."""

import dataclasses
import importlib.util
import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.data.serving import Serving
from kzoo.data.splits import Examples
from kzoo.data.timeseries import SeriesAugment, SeriesExamples, SeriesPreprocess
from kzoo.data.timeseries.files import UNEQUAL, at_length
from kzoo.data.timeseries.preprocess import NORMALISE, pad, resample
from kzoo.data.timeseries.sets import PACKAGES
from kzoo.serving.export import write_saved_model
from kzoo.serving.formats import serving_model
from kzoo.tasks import Classification

packaged = pytest.mark.skipif(
    not any(importlib.util.find_spec(package) for package in PACKAGES),
    reason="neither sktime nor aeon is here",
)
SEED = (3, 4)

HEADER = "# a comment\n@problemName Waves\n@timeStamps false\n@univariate true\n@classLabel true up down\n@data\n"


def ts_rows(rng, count=20, lengths=(12,), channels=1) -> list[str]:
    """Return lines of a .ts file, whose series rise or fall, of the lengths in turn."""
    lines = []
    for number in range(count):
        slope = (1, -1)[number % 2]
        steps = np.linspace(-slope, slope, lengths[number // 2 % len(lengths)])
        series = steps[None] + 0.1 * rng.normal(size=(channels, len(steps)))
        lines.append(
            ":".join(",".join(f"{value:.6f}" for value in row) for row in series) + (":up", ":down")[number % 2]
        )
    return lines


def write_ts(folder, header=HEADER, end="\n", encoding="utf-8", **rows):
    """Write Waves_TRAIN.ts and Waves_TEST.ts; return the name of the set."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for split in ("TRAIN", "TEST"):
        text = header + "\n".join(ts_rows(rng, **rows)) + "\n"
        (folder / f"Waves_{split}.ts").write_bytes(text.replace("\n", end).encode(encoding))
    return f"series:{folder}"


def batch(lengths=(5, 9, 12), channels=2, length=12) -> np.ndarray:
    """Return noise without zeros, padded with zeros from the given lengths on."""
    series = np.random.default_rng(1).normal(3, 2, size=(len(lengths), length, channels)).astype("float32")
    for one, steps in zip(series, lengths, strict=True):
        one[steps:] = 0
    return series


class TestPackagedSets:
    @packaged
    @pytest.mark.parametrize(
        "name, train, test, shape, classes",
        [
            ("ItalyPowerDemand", 67, 1029, (24, 1), 2),
            ("GunPoint", 50, 150, (150, 1), 2),
            ("ArrowHead", 36, 175, (251, 1), 3),
            ("OSULeaf", 200, 242, (427, 1), 6),
            ("ACSF1", 100, 100, (1460, 1), 10),
            ("BasicMotions", 40, 40, (100, 6), 4),
            ("JapaneseVowels", 270, 370, (29, 12), 9),
        ],
    )
    def test_sets_have_the_published_sizes(self, name, train, test, shape, classes):
        splits = kzoo.load_dataset(name)
        assert len(splits.examples["train"]) + len(splits.examples["validation"]) == train
        assert len(splits.examples["test"]) == test
        assert splits.input_shape == shape
        assert splits.num_classes == classes
        assert splits.modality == "timeseries"
        assert next(iter(splits.train))[0].shape[1:] == shape

    @packaged
    def test_values_and_labels_are_those_of_the_file(self):
        raw = kzoo.dataset_card("ItalyPowerDemand").load()
        np.testing.assert_allclose(raw.train.inputs[0, :3, 0], [-0.71051757, -1.1833204, -1.3724416], rtol=1e-6)
        assert raw.train.labels[-1] == 1
        assert raw.class_names == ("1", "2")

    @packaged
    def test_series_of_a_package_are_not_read_by_importing_it(self):
        import sys

        kzoo.load_dataset("GunPoint")
        assert not {"sktime", "aeon"} & set(sys.modules)

    @packaged
    def test_unequal_utterances_are_resampled_or_padded(self):
        stretched, padded = (kzoo.load_dataset("JapaneseVowels", unequal=how) for how in ("resample", "pad"))
        first, filled = (splits.examples["train"].inputs[0] for splits in (stretched, padded))
        steps = (filled != 0).any(axis=-1).sum()
        assert 7 <= steps < 29
        np.testing.assert_array_equal(first[[0, -1]], filled[[0, steps - 1]])
        assert kzoo.load_dataset("JapaneseVowels", length=40).input_shape == (40, 12)

    def test_without_the_package_the_error_names_what_to_install(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            ValueError, match=r"GunPoint needs the package sktime or aeon; .*pip install '\.\[timeseries\]'"
        ):
            kzoo.load_dataset("GunPoint")


class TestTsFiles:
    def test_splits_and_classes(self, tmp_path):
        splits = kzoo.load_dataset(write_ts(tmp_path))
        assert {name: len(part) for name, part in splits.examples.items()} == {"train": 18, "validation": 2, "test": 20}
        assert splits.class_names == ("up", "down")
        assert splits.input_shape == (12, 1)

    @pytest.mark.parametrize("path", ["", "/Waves", "/Waves_TRAIN.ts", "/Waves.ts"])
    def test_a_set_is_named_by_folder_stem_or_file(self, tmp_path, path):
        splits = kzoo.load_dataset(write_ts(tmp_path) + path)
        assert len(splits.examples["test"]) == 20

    def test_a_set_that_is_not_split(self, tmp_path):
        write_ts(tmp_path, count=40)
        (tmp_path / "Waves_TRAIN.ts").rename(tmp_path / "all.ts")
        splits = kzoo.load_dataset(f"series:{tmp_path / 'all.ts'}", validation=0.2)
        assert {name: len(part) for name, part in splits.examples.items()} == {"train": 25, "validation": 7, "test": 8}

    def test_channels_are_the_last_axis(self, tmp_path):
        name = write_ts(tmp_path, HEADER + "1,2,3:4,5,6:up\n1,2,3:4,5,6:down\n", channels=2, lengths=(3,))
        raw = kzoo.dataset_card(name).load(str(tmp_path))
        assert raw.train.inputs[0].tolist() == [[1, 4], [2, 5], [3, 6]]

    @pytest.mark.parametrize("end, encoding", [("\r\n", "utf-8"), ("\n", "utf-8-sig"), ("\r\n", "utf-8-sig")])
    def test_windows_line_ends_and_a_byte_order_mark_are_accepted(self, tmp_path, end, encoding):
        expected = kzoo.load_dataset(write_ts(tmp_path / "unix"))
        splits = kzoo.load_dataset(write_ts(tmp_path / "windows", end=end, encoding=encoding))
        assert splits.class_names == expected.class_names
        np.testing.assert_array_equal(splits.examples["test"].inputs, expected.examples["test"].inputs)

    def test_unequal_lengths_need_a_decision(self, tmp_path):
        name = write_ts(tmp_path, lengths=(7, 12, 9))
        with pytest.raises(ValueError, match="Waves_TRAIN.ts have 7 to 12 steps.*unequal='resample' or unequal='pad'"):
            kzoo.load_dataset(name)
        for how in UNEQUAL:
            splits = kzoo.load_dataset(name, unequal=how)
            assert splits.input_shape == (12, 1)
            assert splits.preprocess.unequal == how
            assert splits.preprocess.raw_shape == (None, 1)
        assert kzoo.load_dataset(name, length=20).examples["test"].inputs.shape == (20, 20, 1)

    def test_options_of_the_preprocessing_are_options_of_the_set(self, tmp_path):
        name = write_ts(tmp_path, lengths=(7, 12))
        splits = kzoo.load_dataset(name, unequal="pad", normalise="example", mask=True)
        assert splits.input_shape == (12, 2)
        x = np.concatenate([x for x, _ in splits.test])
        assert set(x[..., 1].sum(axis=1).tolist()) == {7, 12}
        np.testing.assert_allclose(x[..., 0].sum(axis=1), 0, atol=1e-4)

    def test_padding_to_less_than_the_longest_says_what_is_cut(self, tmp_path):
        name = write_ts(tmp_path, lengths=(7, 12))
        with pytest.warns(UserWarning, match="10 series of .*Waves_TRAIN.ts are cut to 9 steps, e.g. line 9"):
            kzoo.load_dataset(name, unequal="pad", length=9)

    @pytest.mark.parametrize(
        "header, message",
        [
            ("", "Waves_TRAIN.ts, line 1: the header is missing or has no end; expected @ lines up to @data"),
            (HEADER.replace("@data\n", ""), "line 6: the header is missing or has no end"),
            (
                HEADER.replace("@classLabel true up down\n", ""),
                "the header has no line '@classLabel true NAME NAME ...'",
            ),
            (HEADER.replace("@timeStamps false", "@timeStamps true"), "has time stamps"),
            (HEADER.replace("up down", "up"), "line 8: label 'down' is not one of up"),
            (HEADER + "1,2,NaN:up\n", "line 7: value 3 is 'NaN', expected a finite number; fill in missing values"),
            (HEADER + "1,?,3:up\n", "line 7: value 2 is '\\?'"),
            (HEADER + "1,2,inf:up\n", "line 7: value 3 is 'inf'"),
            (HEADER + "1,2,1e50:up\n", "line 7: value 3 is '1e50'"),
            (HEADER + "1,two,3:up\n", "line 7: value 2 is 'two'"),
            (HEADER + "1,2,3\n", "line 7: label '1,2,3' is not one of up down"),
            (HEADER + "up\n", "line 7: expected values and a label"),
            (HEADER + ":up\n", "line 7: value 1 is ''"),
            (HEADER + "1,2:1,2,3:up\n", "line 7: channels of 2 and 3 steps in one series"),
            (HEADER + "1,2:1,2:up\n", "line 8: 1 channels, but the first series has 2"),
        ],
    )
    def test_wrong_content_is_named_with_file_and_line(self, tmp_path, header, message):
        with pytest.raises(ValueError, match=message) as error:
            kzoo.load_dataset(write_ts(tmp_path, header))
        assert "\n" not in str(error.value)
        assert "Waves_TRAIN.ts" in str(error.value)

    def test_series_without_labels_are_refused(self, tmp_path):
        (tmp_path / "bare.ts").write_text("% a comment\n@classLabel false\n@data\n1,2,3\n")
        with pytest.raises(ValueError, match="bare.ts has no labels; expected a line '@classLabel true NAME"):
            kzoo.load_dataset(f"series:{tmp_path / 'bare.ts'}")

    def test_a_class_that_is_seen_in_test_only_is_refused(self, tmp_path):
        name = write_ts(tmp_path, HEADER.replace("up down", "up down flat"))
        test = tmp_path / "Waves_TEST.ts"
        test.write_text(test.read_text() + "0,0,0:flat\n")
        with pytest.raises(ValueError, match="Waves_TEST.ts, line 27: label 'flat' is in no training series of"):
            kzoo.load_dataset(name)

    def test_splits_of_different_channels_are_refused(self, tmp_path):
        name = write_ts(tmp_path)
        write_ts(tmp_path / "other", channels=3)
        (tmp_path / "other" / "Waves_TEST.ts").replace(tmp_path / "Waves_TEST.ts")
        with pytest.raises(ValueError, match="differ in channels: 1 in train, 3 in test"):
            kzoo.load_dataset(name)

    def test_missing_and_empty_files_are_named(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file .*nowhere_TRAIN.ts, nor with .tsv"):
            kzoo.load_dataset(f"series:{tmp_path / 'nowhere'}")
        with pytest.raises(ValueError, match="there is no file .*nowhere.ts"):
            kzoo.load_dataset(f"series:{tmp_path / 'nowhere.ts'}")
        with pytest.raises(ValueError, match="holds no series; expected NAME_TRAIN.ts"):
            kzoo.load_dataset(f"series:{tmp_path}")
        (tmp_path / "empty.ts").write_text(HEADER)
        with pytest.raises(ValueError, match="empty.ts holds no series"):
            kzoo.load_dataset(f"series:{tmp_path / 'empty.ts'}")
        (tmp_path / "nothing.ts").write_text("")
        with pytest.raises(ValueError, match="nothing.ts, line end: the header is missing"):
            kzoo.load_dataset(f"series:{tmp_path / 'nothing.ts'}")
        with pytest.raises(ValueError, match="holds several sets .empty.ts, nothing.ts"):
            kzoo.load_dataset(f"series:{tmp_path}")

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"unequal": "stretch"}, "unequal must be one of resample, pad, got 'stretch'"),
            ({"length": 0}, "length must be a positive integer, at most 1,000,000.*, got 0"),
            ({"lenght": 9}, "unknown option of dataset .* 'lenght'; did you mean length"),
            ({"augment": {"jiter": 1}}, "unknown augmentation of timeseries data, 'jiter'; did you mean jitter"),
            ({"augment": {"time_warp": 2}}, "augment.time_warp must lie between 0 and 1, got 2"),
        ],
    )
    def test_wrong_options_are_explained(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            kzoo.load_dataset(write_ts(tmp_path), **options)


class TestTables:
    def write(self, folder, divider="\t", suffix=".tsv", first="", label="{}", short=""):
        rows = [[label.format(number % 3 + 1), *(f"{number + step}" for step in range(6))] for number in range(30)]
        if short:
            rows[4][-2:] = [short, short]
        text = first + "\n".join(divider.join(row) for row in rows)
        for split in ("TRAIN", "TEST"):
            (folder / f"Waves_{split}{suffix}").write_text(text)
        return f"series:{folder}"

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"divider": ",", "suffix": ".csv"},
            {"divider": ",", "suffix": ".csv", "first": "label,t0,t1,t2,t3,t4,t5\n"},
            {"divider": ";", "suffix": ".csv"},
            {"divider": "  ", "suffix": ".txt", "label": "{}.0000000e+00"},
        ],
    )
    def test_forms_of_tables_give_the_same(self, tmp_path, form):
        splits = kzoo.load_dataset(self.write(tmp_path, **form))
        assert splits.class_names == ("1", "2", "3")
        assert splits.examples["test"].inputs[4, :, 0].tolist() == [4, 5, 6, 7, 8, 9]
        assert splits.examples["test"].labels[:4].tolist() == [0, 1, 2, 0]

    def test_labels_are_sorted_as_numbers(self, tmp_path):
        name = self.write(tmp_path, label="1{}")
        text = (tmp_path / "Waves_TRAIN.tsv").read_text().replace("13\t", "-1\t")
        for split in ("TRAIN", "TEST"):
            (tmp_path / f"Waves_{split}.tsv").write_text(text)
        assert kzoo.load_dataset(name).class_names == ("-1", "11", "12")

    def test_nan_at_the_end_is_a_shorter_series(self, tmp_path):
        name = self.write(tmp_path, short="NaN")
        with pytest.raises(ValueError, match="have 4 to 6 steps"):
            kzoo.load_dataset(name)
        splits = kzoo.load_dataset(name, unequal="pad")
        assert splits.examples["test"].inputs[4, :, 0].tolist() == [4, 5, 6, 7, 0, 0]

    def test_nan_within_a_series_is_refused(self, tmp_path):
        name = self.write(tmp_path)
        file = tmp_path / "Waves_TRAIN.tsv"
        file.write_text(file.read_text().replace("\t9\t", "\tNaN\t", 1))
        with pytest.raises(ValueError, match="Waves_TRAIN.tsv, line 6: value 5 is 'NaN'"):
            kzoo.load_dataset(name)

    def test_a_row_without_values_and_a_single_class_are_refused(self, tmp_path):
        (tmp_path / "a.csv").write_text("1,2,3\n2\n")
        with pytest.raises(ValueError, match="a.csv, line 2: a series without values"):
            kzoo.load_dataset(f"series:{tmp_path / 'a.csv'}")
        (tmp_path / "b.csv").write_text("1,2,3\n1,2,3\n")
        with pytest.raises(ValueError, match="b.csv has 1 classes; expected at least 2"):
            kzoo.load_dataset(f"series:{tmp_path / 'b.csv'}")


class TestPreprocess:
    def test_the_training_set_normalises_every_channel(self):
        raw = batch((12,) * 40, channels=3)
        x = np.asarray(SeriesPreprocess.fit(Examples(raw, np.zeros(40, "int32")))(raw))
        np.testing.assert_allclose(x.mean(axis=(0, 1)), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(axis=(0, 1)), 1, atol=1e-5)

    def test_z_normalisation_is_that_of_numpy(self):
        raw = batch((12,) * 4)
        raw[0, :, 0] = 2.5  # a constant channel
        x = np.asarray(SeriesPreprocess.fit(Examples(raw, np.zeros(4, "int32")), normalise="example")(raw))
        expected = (raw - raw.mean(axis=1, keepdims=True)) / np.maximum(raw.std(axis=1, keepdims=True), 1e-9)
        expected[0, :, 0] = 0
        np.testing.assert_allclose(x, expected, atol=1e-5)

    @pytest.mark.parametrize("normalise", ["set", "example"])
    def test_padding_has_no_part_in_the_statistics(self, normalise):
        raw, lengths = batch(), (5, 9, 12)
        preprocess = SeriesPreprocess.fit(SeriesExamples(raw, np.zeros(3, "int32"), "pad"), normalise=normalise)
        x = np.asarray(preprocess(raw))
        steps = [one[:length] for one, length in zip(raw, lengths, strict=True)]
        for one, own, length in zip(x, steps, lengths, strict=True):
            over = np.concatenate(steps) if normalise == "set" else own
            np.testing.assert_allclose(one[:length], (own - over.mean(axis=0)) / over.std(axis=0), atol=1e-5)
            assert not one[length:].any()

    def test_a_mask_tells_padding_from_values(self):
        preprocess = SeriesPreprocess(12, (0.0, 0.0), (1.0, 1.0), unequal="pad", mask=True)
        x = np.asarray(preprocess(batch()))
        assert preprocess.input_shape == x.shape[1:] == (12, 3)
        assert x[..., 2].sum(axis=1).tolist() == [5, 9, 12]

    def test_nothing_is_normalised_on_request(self):
        raw = batch()
        np.testing.assert_array_equal(SeriesPreprocess(12, (1.0, 2.0), (2.0, 2.0), "none")(raw), raw)

    @pytest.mark.parametrize("length", [1, 2, 7, 12, 30])
    def test_resampling_is_numpys_interpolation(self, length):
        raw = batch((12, 12))
        expected = np.stack([at_length(series, length, "resample") for series in raw])
        np.testing.assert_allclose(resample(raw, length), expected, atol=1e-5)
        np.testing.assert_array_equal(expected[:, 0], raw[:, 0])
        if length > 1:
            np.testing.assert_array_equal(expected[:, -1], raw[:, -1])

    @pytest.mark.parametrize("length", [4, 12, 15])
    def test_padding_in_the_graph_is_padding_ahead(self, length):
        raw = batch((12, 12))
        expected = np.stack([at_length(series, length, "pad") for series in raw])
        x, own = pad(raw, length)
        np.testing.assert_array_equal(x, expected)
        assert np.asarray(own).sum(axis=(1, 2)).tolist() == [min(length, 12)] * 2

    def test_a_fixed_length_is_refused_at_another_and_no_longer_when_asked_for(self, tmp_path):
        np.save(tmp_path / "short.npy", np.arange(1, 9.0))
        fixed = SeriesPreprocess(12, (0.0,), (1.0,))
        assert fixed.raw_shape == (12, 1)
        with pytest.raises(
            ValueError, match="short.npy has 8 steps; this model takes 12. .*unequal='resample' or 'pad'"
        ):
            fixed.read(tmp_path / "short.npy")
        for how, said in (("resample", "of another length, resampled to 12"), ("pad", "padded to 12")):
            free = dataclasses.replace(fixed, unequal=how)
            with pytest.warns(UserWarning, match=f"1 file {said} steps, e.g. .*short.npy"):
                raw = free.read(tmp_path / "short.npy")
            assert free.sized(raw).shape == (12, 1)
            np.testing.assert_allclose(free(raw[None])[0], free(free.sized(raw)[None])[0], atol=1e-5)

    @pytest.mark.parametrize("normalise", NORMALISE)
    @pytest.mark.parametrize("unequal", [None, "resample", "pad"])
    def test_array_pipeline_keras_model_and_saved_model_agree(self, unequal, normalise, tmp_path):
        raw = batch((9, 9, 9), length=9 if unequal else 12)
        preprocess = SeriesPreprocess(12, (3.0, 2.5), (2.0, 1.5), normalise, unequal, mask=True)
        inputs = keras.Input(preprocess.input_shape)
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(preprocess(raw))))
        piped = next(iter(tf.data.Dataset.from_tensors(raw).map(preprocess)))
        np.testing.assert_allclose(piped, preprocess(raw), atol=1e-6)
        serving = Serving("timeseries", preprocess, Classification(("a", "b", "c")), raw)
        serving_model(model, serving).save(tmp_path / "m.keras")
        np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(raw), expected, atol=1e-5)
        if normalise == "example" and unequal:
            write_saved_model(model, serving, tmp_path / "saved")
            served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serve"](raw=tf.constant(raw))
            np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)

    def test_all_fields_survive_as_json(self, tmp_path):
        raw = batch()
        preprocess = SeriesPreprocess.fit(SeriesExamples(raw, np.zeros(3, "int32"), "pad"), mask=True)
        Serving("timeseries", preprocess, Classification(("a", "b")), raw).save(
            tmp_path / "data.json", tmp_path / "examples.npz"
        )
        assert Serving.load(tmp_path / "data.json", tmp_path / "examples.npz").preprocess == preprocess
        assert json.loads((tmp_path / "data.json").read_text())["modality"] == "timeseries"

    def test_an_unknown_normalisation_is_refused(self):
        with pytest.raises(ValueError, match="normalise must be one of set, example, none, got 'z'"):
            SeriesPreprocess.fit(Examples(batch(), np.zeros(3, "int32")), normalise="z")

    def test_one_series_is_drawn_without_its_padding(self):
        from matplotlib.figure import Figure

        axes = Figure().subplots()
        SeriesPreprocess(12, (0.0, 0.0), (1.0, 1.0), unequal="pad").draw(axes, batch()[0])
        assert [len(line.get_xdata()) for line in axes.lines] == [5, 5]


class TestReadOne:
    def test_every_form_of_one_series(self, tmp_path):
        preprocess = SeriesPreprocess(3, (0.0,), (1.0,))
        expected = [[1.5], [2], [3]]
        np.save(tmp_path / "a.npy", np.array([1.5, 2, 3]))
        (tmp_path / "a.csv").write_text("1.5\r\n2\r\n3\r\n")
        (tmp_path / "b.csv").write_text("power\n1.5\n2\n3\n")
        (tmp_path / "row.csv").write_text("1.5,2,3\n")
        (tmp_path / "row.txt").write_text("1.5 2 3")
        (tmp_path / "one.ts").write_text(HEADER + "1.5,2,3:up\n")
        (tmp_path / "bare.ts").write_text("@classLabel false\n@data\n1.5,2,3\n")
        for file in ("a.npy", "a.csv", "b.csv", "row.csv", "row.txt", "one.ts", "bare.ts"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert preprocess.read(tmp_path / file).tolist() == expected, file

    def test_columns_are_channels(self, tmp_path):
        (tmp_path / "a.tsv").write_text("x\ty\n1\t2\n3\t4\n5\t6\n")
        raw = SeriesPreprocess(3, (0.0, 0.0), (1.0, 1.0)).read(tmp_path / "a.tsv")
        assert raw.tolist() == [[1, 2], [3, 4], [5, 6]]
        assert raw.dtype == "float32"

    @pytest.mark.parametrize(
        "file, content, message",
        [
            ("a.csv", "1\nNaN\n3\n", "a.csv, line 2: value 1 is 'NaN'"),
            ("a.csv", "1,2\n3\n", "a.csv, line 2: 1 values, expected 2"),
            ("a.csv", "1,2\n3,4\n5,6\n", "a.csv has 2 channels; this model takes 1"),
            ("a.csv", "", "a.csv holds no series"),
            ("a.ts", HEADER + "1,2,3:up\n1,2,3:up\n", "a.ts holds 2 series; expected one"),
            ("a.npy", "text", "a.npy cannot be read as an .npy file"),
            ("a.png", "text", "a.png cannot be read as a series; expected .npy or one of .ts"),
            ("nowhere.csv", None, "there is no file .*nowhere.csv"),
        ],
    )
    def test_files_that_are_not_one_series_are_refused(self, tmp_path, file, content, message):
        if content is not None:
            (tmp_path / file).write_text(content)
        with pytest.raises(ValueError, match=message):
            SeriesPreprocess(3, (0.0,), (1.0,)).read(tmp_path / file)

    def test_arrays_of_other_ranks_or_with_nan_are_refused(self, tmp_path):
        for array, message in ((np.zeros((2, 3, 1)), "has shape"), (np.array([1, np.nan]), "contains NaN or infinity")):
            np.save(tmp_path / "a.npy", array)
            with pytest.raises(ValueError, match=message):
                SeriesPreprocess(3, (0.0,), (1.0,)).read(tmp_path / "a.npy")


class TestAugment:
    @pytest.mark.parametrize("change", [{"jitter": 0.1}, {"scale": 0.2}, {"time_warp": 0.5}])
    def test_a_change_is_a_function_of_the_seed_and_keeps_padding(self, change):
        raw, augment = batch(), SeriesAugment(**change)
        changed = augment(raw, SEED).numpy()
        np.testing.assert_array_equal(changed, augment(raw, SEED))
        assert (changed != augment(raw, (3, 5)).numpy()).any()
        assert (changed != raw).any(axis=(1, 2)).all()
        np.testing.assert_array_equal((changed != 0).any(axis=-1), (raw != 0).any(axis=-1))

    def test_no_change_changes_nothing(self):
        np.testing.assert_allclose(SeriesAugment()(batch(), SEED), batch())

    def test_jitter_is_in_units_of_the_channels_deviation(self):
        raw = np.random.default_rng(0).normal(size=(50, 400, 2)).astype("float32") * [1, 100]
        noise = SeriesAugment(jitter=0.1)(raw, SEED).numpy() - raw
        np.testing.assert_allclose(noise.std(axis=(0, 1)), [0.1, 10], rtol=0.02)

    def test_scale_is_one_factor_for_each_channel_within_its_range(self):
        raw = batch((12,) * 200)
        factors = SeriesAugment(scale=0.3)(raw, SEED).numpy() / raw
        np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-5)
        assert 0.7 <= factors.min() < 0.72
        assert 1.28 < factors.max() <= 1.3

    def test_time_warp_keeps_the_order_the_ends_and_its_greatest_speed(self):
        ramp = np.broadcast_to(np.arange(1, 101, dtype="float32")[None, :, None], (200, 100, 1))
        warped = SeriesAugment(time_warp=0.6)(ramp, SEED).numpy()
        speed = np.diff(warped, axis=1)
        assert 0.399 < speed.min() < 0.7
        assert 1.3 < speed.max() < 1.601
        np.testing.assert_allclose(warped[:, [0, -1], 0], np.broadcast_to([1, 100], (200, 2)), atol=1e-3)

    def test_time_warp_of_a_padded_series_is_that_of_the_series_alone(self):
        raw = batch((9, 9), length=12)
        augment = SeriesAugment(time_warp=0.5)
        np.testing.assert_allclose(augment(raw, SEED)[:, :9], augment(raw[:, :9], SEED), atol=1e-5)

    @pytest.mark.parametrize("change", [{"jitter": -1}, {"scale": 1.5}, {"time_warp": "fast"}])
    def test_values_out_of_range_are_refused(self, change):
        with pytest.raises(ValueError, match=f"augment.{next(iter(change))} must (lie between 0 and|be a number)"):
            SeriesAugment(**change)


def test_a_network_learns_series_of_unequal_lengths(tmp_path):
    name = write_ts(tmp_path, lengths=(7, 12, 9))
    splits = kzoo.load_dataset(name, unequal="pad", validation=0.2, augment={"jitter": 0.1, "time_warp": 0.2})
    keras.utils.set_random_seed(0)
    model = kzoo.create_model("mlp", splits.input_shape, splits.num_classes)
    kzoo.fit(model, splits, epochs=8, learning_rate=1e-2, verbose=False)
    assert kzoo.evaluate(model, splits).accuracy > 0.9


def test_the_adding_problem_asks_for_the_sum_of_two_marked_numbers():
    data = kzoo.load_dataset("adding_problem", length=7, examples=50, normalise="none")
    x, y = data.examples["train"].inputs, data.examples["train"].labels
    assert x.shape == (50, 7, 2)
    assert (x[..., 1].sum(axis=1) == 2).all()
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(axis=1), y[:, 0], rtol=1e-6)
    again = kzoo.load_dataset("adding_problem", length=7, examples=50)
    np.testing.assert_array_equal(again.examples["test"].inputs, data.examples["test"].inputs)
    with pytest.raises(ValueError, match="length must be at least 2, two marked steps, got 1"):
        kzoo.load_dataset("adding_problem", length=1)
