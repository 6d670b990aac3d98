"""Text: token ids against their definitions, the readers, and what is said of bad input."""

import csv
import json
import time
import warnings

import numpy as np
import pytest

import kzoo
from kzoo.core.lazy import lazy_import
from kzoo.data.holdout import HoldOut, complete
from kzoo.data.serving import Serving
from kzoo.data.splits import Examples
from kzoo.data.text import ALPHABET, TextAugment, TextPreprocess, files, sets
from kzoo.data.tfds import find_builder, input_and_label
from kzoo.tasks import Classification

TRAIN = ("It's GOOD, isn\u2019t it?", "good good film", "bad film")
HUGE = "Hello, world's " * 700_000  # 10 MB in one line


def strings(*texts) -> np.ndarray:
    return np.array(texts, dtype=object)


def fitted(*texts, **options) -> TextPreprocess:
    return TextPreprocess.fit(Examples(strings(*texts), np.zeros(len(texts), "int32")), **options)


def read_back(preprocess: TextPreprocess, *texts) -> list[list[str]]:
    return [preprocess.tokens(ids) for ids in np.asarray(preprocess(strings(*texts)))]


def write(path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


class TestWords:
    def test_vocabulary_holds_the_most_frequent_words_first(self):
        assert fitted("b b b a a c", "c d").vocabulary == ("b", "a", "c", "d")
        assert fitted("b b b a a c", "c d", max_tokens=2).vocabulary == ("b", "a")
        assert fitted("b b b a a c", "c d", min_count=2).vocabulary == ("b", "a", "c")

    def test_case_punctuation_and_contractions(self):
        preprocess = fitted("it 's is n't good film été , ? ! ( )", length=12)
        assert read_back(preprocess, "It's GOOD -- isn\u2019t it? (ÉTÉ)", "good/film...good!") == [
            ["it", "'s", "good", "is", "n't", "it", "?", "(", "été", ")"],
            ["good", "film", "good", "!"],
        ]

    def test_ids_are_padding_unknown_and_then_the_vocabulary(self):
        preprocess = fitted("b b a", length=4)
        assert preprocess.vocab_size == 4
        ids = np.asarray(preprocess(strings("a b zzz", "b a b a b a", "zzz yyy", "", "  ")))
        assert ids.tolist() == [[3, 2, 1, 0], [2, 3, 2, 3], [1, 1, 0, 0], [0] * 4, [0] * 4]
        assert ids.dtype == "int32"

    def test_every_word_of_a_large_vocabulary_is_found(self):
        words = [f"w{number}" for number in range(5000)]
        preprocess = fitted(" ".join(words), length=5000)
        assert read_back(preprocess, " ".join(words)) == [words]

    def test_length_is_that_of_the_longest_training_text(self):
        assert fitted("a b c", "a b c d e").input_shape == (5,)
        assert fitted("a " * 1000).input_shape == (256,)

    def test_vocabulary_is_learned_from_the_training_split_alone(self, tmp_path):
        train = write(tmp_path / "train", "".join(f"{i % 2} seen{i % 2}\n" for i in range(40)))
        test = write(tmp_path / "test", "0 unseen\n1 unseen\n")
        splits = kzoo.load_dataset(f"labelled:{train}", test=test, length=6)
        assert splits.preprocess.vocabulary == ("seen0", "seen1")
        assert splits.vocab_size == 4
        assert [np.asarray(ids).tolist() for ids, _ in splits.test] == [[[1, 0, 0, 0, 0, 0]] * 2]

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"level": "word"}, "unknown level 'word'; did you mean words"),
            ({"length": 0}, "length must be a positive integer, at most 1,000,000.*, got 0"),
            ({"max_tokens": None}, "max_tokens must be a positive integer, at most 1,000,000.*, got None"),
            ({"min_count": 1.5}, "min_count must be a positive integer"),
            ({"min_count": 9}, "no word occurs 9 times in the training texts; the most frequent occurs 3"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        with pytest.raises(ValueError, match=message):
            fitted(*TRAIN, **options)


class TestCharactersAndBytes:
    def test_alphabet_has_the_papers_70_letters(self):
        assert len(ALPHABET) == 70
        assert fitted("x", level="characters").vocab_size == 72

    def test_characters_are_their_indices_in_the_alphabet(self):
        preprocess = fitted("x", level="characters", length=6)
        assert np.asarray(preprocess(strings("aZ 9\n\u0436", "", "abcdefghij"))).tolist() == [
            [2, 27, 1, 37, 71, 1],
            [0] * 6,
            [2, 3, 4, 5, 6, 7],
        ]

    def test_every_letter_is_read_back(self):
        assert read_back(fitted(ALPHABET, level="characters"), ALPHABET) == [list(ALPHABET)]

    def test_bytes_are_those_of_utf_8(self):
        preprocess = fitted("x", level="bytes", length=6)
        assert np.asarray(preprocess(strings("Aé\u20ac", "abcdefghij"))).tolist() == [
            [*"Aé\u20ac".encode()],
            [*b"abcdef"],
        ]
        assert preprocess.vocab_size == 256

    def test_length_is_that_of_the_longest_training_text(self):
        assert fitted("é" * 10, level="characters").length == 10
        assert fitted("é" * 10, level="bytes").length == 20
        assert fitted(HUGE, level="characters").length == 1014


@pytest.mark.parametrize("level", ["words", "characters", "bytes"])
class TestEveryLevel:
    def test_texts_that_are_empty_unknown_not_utf_8_or_huge_have_ids(self, level):
        preprocess = fitted(*TRAIN, level=level, length=16)
        start = time.perf_counter()
        ids = np.asarray(
            preprocess(np.array([b"", "\u4e16 \u754c".encode(), b"\xff\xfe ok \xc3", HUGE.encode()], object))
        )
        assert time.perf_counter() - start < 60
        assert ids.shape == (4, 16)
        assert ids.min() >= 0
        assert ids.max() < preprocess.vocab_size
        assert not ids[0].any()
        assert ids[3].all()

    def test_strings_tensors_and_unicode_arrays_are_the_same_to_it(self, level):
        import tensorflow as tf

        preprocess = fitted(*TRAIN, level=level)
        expected = np.asarray(preprocess(strings(*TRAIN)))
        for raw in (np.array(TRAIN), tf.constant(TRAIN), list(TRAIN)):
            np.testing.assert_array_equal(preprocess(raw), expected)
        batches = tf.data.Dataset.from_tensor_slices(list(TRAIN)).batch(3).map(fitted(*TRAIN, level=level))
        np.testing.assert_array_equal(next(iter(batches)), expected)
        assert batches.element_spec.shape[1] == preprocess.length

    def test_a_saved_model_takes_strings_and_holds_the_vocabulary(self, level, tmp_path):
        import tensorflow as tf

        preprocess = fitted(*TRAIN, level=level)
        module = tf.Module()
        module.serve = tf.function(preprocess, input_signature=[tf.TensorSpec((None, *preprocess.raw_shape), "string")])
        tf.saved_model.save(module, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
        np.testing.assert_array_equal(loaded.serve(tf.constant(TRAIN)), preprocess(strings(*TRAIN)))

    def test_it_is_the_same_after_a_way_through_json(self, level, tmp_path):
        preprocess = fitted(*TRAIN, level=level)
        serving = Serving("text", preprocess, Classification(("a", "b")), strings(*TRAIN))
        serving.save(tmp_path / "serving.json", tmp_path / "examples.npz")
        loaded = Serving.load(tmp_path / "serving.json", tmp_path / "examples.npz")
        assert loaded.preprocess == preprocess
        assert json.loads((tmp_path / "serving.json").read_text())["preprocess"]["level"] == level
        np.testing.assert_array_equal(loaded.preprocess(loaded.examples), preprocess(strings(*TRAIN)))


class TestFiles:
    def test_one_file_is_one_text(self, tmp_path):
        preprocess = fitted(*TRAIN)
        raw = preprocess.read(write(tmp_path / "review.txt", "\ufeffgood\nfilm\n"))
        assert (
            np.asarray(preprocess(raw[None])).tolist()[0][:2] == np.asarray(preprocess(["good film"])).tolist()[0][:2]
        )
        assert preprocess.sized(raw) is raw

    @pytest.mark.parametrize("level", ["characters", "bytes"])
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_the_end_of_the_last_line_is_no_token(self, level, end, tmp_path):
        preprocess = fitted("a\nb", level=level, length=8)
        raw = preprocess.read(write(tmp_path / "review.txt", f"a\nb{end}"))
        np.testing.assert_array_equal(preprocess(raw[None]), preprocess(strings("a\nb")))
        for name in "ab":
            (tmp_path / name).mkdir()
            write(tmp_path / name / "0.txt", f"a\nb{end}")
        assert files.text_folder(str(tmp_path)).train.inputs.tolist() == ["a\nb"] * 2

    @pytest.mark.parametrize(
        "content, message",
        [
            (b"", "review.txt contains no text"),
            (b" \n\t\n", "review.txt contains no text"),
            (b"good\ncaf\xe9", r"review.txt is not utf-8: byte 8 \(0xe9, line 2\); convert the file"),
        ],
    )
    def test_files_without_text_are_refused(self, tmp_path, content, message):
        with pytest.raises(ValueError, match=message):
            fitted(*TRAIN).read(write(tmp_path / "review.txt", content))

    def test_a_missing_file_is_named(self):
        with pytest.raises(ValueError, match="there is no file nowhere.txt"):
            fitted(*TRAIN).read("nowhere.txt")

    @pytest.mark.parametrize("raw", ["", "price: $5 and $6", "a b " * 500, b"bytes \xff", HUGE])
    def test_any_text_is_drawn(self, raw):
        from matplotlib.figure import Figure

        figure = Figure()
        fitted(*TRAIN).draw(figure.subplots(), raw)
        figure.draw_without_rendering()


class TestLosses:
    """Of 20 training texts 4 have 6 words."""

    TEXTS = [f"{label} a b c d" + " e" * (label == "x") for label in "xyyyyxyyyy"] * 2

    def load(self, tmp_path, test, **options) -> None:
        train = write(tmp_path / "train", "".join(f"{text[0]} {text}\n" for text in self.TEXTS))
        kzoo.load_dataset(f"labelled:{train}", test=write(tmp_path / "test", test), validation=0, **options)

    def test_cut_training_texts_and_unknown_words_are_said_in_one_line(self, tmp_path):
        said = "^20.0 % of the training texts, 20.0 % of the validation texts are cut to length=5 words; "
        said += "40.0 % of the words of the test texts are not in the vocabulary$"
        with pytest.warns(UserWarning, match=said) as warned:
            self.load(tmp_path, "x a b new\ny word y\n", length=5)
        assert len(warned) == 1

    def test_unknown_characters_are_counted_without_spaces(self, tmp_path):
        with pytest.warns(UserWarning, match="^25.0 % of the characters of the test texts are not in the vocabulary$"):
            self.load(tmp_path, "x b  A \u0436\ny a\n", level="characters")

    @pytest.mark.parametrize(
        "options", [{"level": "words"}, {"level": "characters"}, {"level": "bytes"}, {"length": 6}]
    )
    def test_nothing_is_said_of_texts_that_fit(self, options, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.load(tmp_path, "x a b\ny a\n", **options)


class TestAugment:
    def test_it_is_a_function_of_the_seed(self):
        change = TextAugment(word_dropout=0.3, character_dropout=0.1)
        batch = strings(*["one two three four five"] * 20)
        first, again, other = (np.asarray(change(batch, seed)).tolist() for seed in ([1, 2], [1, 2], [1, 3]))
        assert first == again != other
        assert len(set(first)) > 10

    def test_the_fraction_of_words_is_left_out_in_order(self):
        words = [f"w{number:04}" for number in range(4000)]
        (result,) = np.asarray(TextAugment(word_dropout=0.25)(strings(" ".join(words)), [0, 0])).tolist()
        kept = result.decode().split(" ")
        assert kept == sorted(kept)
        assert abs(len(kept) / 4000 - 0.75) < 0.03

    def test_no_text_is_lost_as_a_whole(self):
        changed = TextAugment(word_dropout=0.9, character_dropout=0.9)(strings(*["ab"] * 200), [0, 0])
        assert all(np.asarray(changed).tolist())
        assert np.asarray(TextAugment(word_dropout=0.5)(strings("", "x"), [0, 0])).tolist() == [b"", b"x"]

    def test_values_out_of_range_are_explained(self):
        with pytest.raises(ValueError, match="augment.word_dropout must be at least 0 and below 1, got 1"):
            TextAugment(word_dropout=1)


class TestLabelled:
    LINES = "".join(f"{i % 3} text number {i}\n" for i in range(60))

    def test_lines_of_label_and_text(self, tmp_path):
        splits = kzoo.load_dataset(f"labelled:{write(tmp_path / 'set', self.LINES)}")
        assert splits.class_names == ("0", "1", "2")
        texts = np.concatenate([examples.inputs for examples in splits.examples.values()])
        assert sorted(texts) == sorted(f"text number {i}" for i in range(60))
        for examples in splits.examples.values():
            assert [int(t.split()[-1]) % 3 for t in examples.inputs] == examples.labels.tolist()

    def test_numbers_are_sorted_as_numbers_and_windows_line_ends_are_dropped(self, tmp_path):
        path = write(tmp_path / "set", "10 ten\r\n9 nine\r\n\r\n9 also\u2028nine \x0b\r\n")
        raw = files.labelled(path)
        assert raw.class_names == ("9", "10")
        assert raw.train.inputs.tolist() == ["ten", "nine", "also\u2028nine \x0b"]
        assert raw.train.labels.tolist() == [1, 0, 0]

    def test_the_folds_are_a_partition(self, tmp_path):
        path = write(tmp_path / "set", self.LINES)
        parts = [kzoo.load_dataset(f"labelled:{path}", fold=[number, 5]).examples["test"] for number in range(5)]
        assert sorted(np.concatenate([part.inputs for part in parts])) == sorted(f"text number {i}" for i in range(60))
        assert all(np.bincount(part.labels).tolist() == [4, 4, 4] for part in parts)

    @pytest.mark.parametrize(
        "content, options, message",
        [
            (b"0 a\n1 caf\xe9\n", {}, r"set is not utf-8: byte 9 \(0xe9, line 2\); .*latin-1"),
            (b"0 a\n1 b\n", {"encoding": "latn"}, "unknown encoding 'latn'; expected 'utf-8'"),
            (b"0 a\n b c\n", {}, "line 2 of .*set begins with a space; expected a label"),
            (b"0 a\n0 b\n", {}, "set holds 2 examples of 1 classes; expected at least 2"),
            (b"", {}, "set holds 0 examples of 0 classes"),
        ],
    )
    def test_mistakes_are_explained(self, tmp_path, content, options, message):
        path = write(tmp_path / "set", content)
        with pytest.raises(ValueError, match=message):
            files.labelled(path, **options)

    def test_another_encoding(self, tmp_path):
        raw = files.labelled(write(tmp_path / "set", b"0 a\n1 caf\xe9\x85x\n"), encoding="latin-1")
        assert raw.train.inputs.tolist() == ["a", "caf\xe9\x85x"]

    def test_a_label_of_the_test_file_alone_is_named(self, tmp_path):
        train, test = write(tmp_path / "train", "0 a\n1 b\n"), write(tmp_path / "test", "0 a\n\n2 b\n")
        with pytest.raises(ValueError, match="line 3 of .*test has label '2', which no training example has: 0, 1"):
            files.labelled(train, test=test)

    def test_a_validation_file(self, tmp_path):
        path, dev = write(tmp_path / "train", self.LINES), write(tmp_path / "dev", "0 dev\n1 other\n2 third\n")
        data = kzoo.load_dataset(f"labelled:{path}", validation=str(dev), test=0.2)
        assert data.examples["validation"].inputs.tolist() == ["dev", "other", "third"]
        assert {name: len(part) for name, part in data.examples.items()} == {"train": 48, "validation": 3, "test": 12}
        with pytest.raises(ValueError, match="digits takes no file for test, got test='x'"):
            kzoo.load_dataset("digits", test="x")

    def test_empty_texts_are_kept_with_a_warning(self, tmp_path):
        with pytest.warns(UserWarning, match="2 of 4 texts of .* are empty, e.g. in line 2"):
            raw = files.labelled(write(tmp_path / "set", "0 a\n1\n1 b\n0 \n"))
        assert raw.train.inputs.tolist() == ["a", "", "b", ""]

    def test_10_mb_in_one_line(self, tmp_path):
        path = write(tmp_path / "set", self.LINES + f"0 {HUGE}\n")
        start = time.perf_counter()
        splits = kzoo.load_dataset(f"labelled:{path}", validation=0.2)
        assert next(iter(splits.train))[0].shape[1] == 256
        assert time.perf_counter() - start < 120

    def test_trec_and_mr(self, shared_data):
        trec = shared_data / "text" / "TREC.train.all", shared_data / "text" / "TREC.test.all"
        raw = files.labelled(str(trec[0]), test=str(trec[1]), encoding="latin-1")
        assert (len(raw.train), len(raw.test), len(raw.class_names)) == (5452, 500, 6)
        assert raw.train.inputs[0] == "How did serfdom develop in and then leave Russia ?"
        whole = files.labelled(str(shared_data / "text" / "mr.all"), encoding="latin-1")
        reviews = complete(whole, HoldOut(validation=0, fold=(0, 10)))
        assert len(reviews["train"]) + len(reviews["test"]) == 10662
        assert np.bincount(reviews["test"].labels).tolist() in ([533, 534], [534, 533], [533, 533], [534, 534])


class TestFolder:
    def test_an_empty_text_and_another_encoding(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(4):
                write(tmp_path / name / f"{number}.txt", f"caf\xe9 {name} {number}".encode("latin-1"))
        write(tmp_path / "b" / "3.txt", "")
        with pytest.warns(UserWarning, match="1 of 8 files contain no text, e.g. .*3.txt"):
            raw = files.text_folder(str(tmp_path), encoding="latin-1")
        assert raw.train.inputs.tolist()[:2] == ["caf\xe9 a 0", "caf\xe9 a 1"]
        assert raw.train.labels.tolist() == [0] * 4 + [1] * 4
        with pytest.raises(ValueError, match=r"0.txt is not utf-8: byte 3 .*latin-1.*and 2 more files"):
            files.text_folder(str(tmp_path))


class TestCsv:
    HEADER = "label,text\n"

    def test_quoted_texts_may_hold_separators_and_line_ends(self, tmp_path):
        path = write(tmp_path / "set.csv", '\ufeffid,label,text\r\n1,pos,"a, ""b""\r\nc"\r\n\r\n2,neg,d\r\n')
        raw = files.csv_file(path)
        assert raw.train.inputs.tolist() == ['a, "b"\r\nc', "d"]
        assert raw.class_names == ("neg", "pos")
        assert raw.train.labels.tolist() == [1, 0]

    def test_tabs_other_columns_and_plain_quotation_marks(self, tmp_path):
        path = write(tmp_path / "set.tsv", 'sentence\tclass\n"a, b\t1\nc"\t0\n')
        raw = files.csv_file(path, text_column="sentence", label_column="class", quoting=False)
        assert raw.train.inputs.tolist() == ['"a, b', 'c"']

    def test_a_text_of_10_mb_leaves_the_limit_of_other_readers_alone(self, tmp_path):
        limit = csv.field_size_limit()
        raw = files.csv_file(write(tmp_path / "set.csv", f'{self.HEADER}0,"{HUGE}"\n1,b\n'))
        assert raw.train.inputs[0] == HUGE
        assert csv.field_size_limit() == limit

    @pytest.mark.parametrize(
        "content, options, message",
        [
            (b"label,txt\n0,a\n", {}, "unknown column of .*set.csv, 'text'; did you mean txt"),
            (b"label,text\n0,a\n", {"label_column": "lable"}, "unknown column of .*, 'lable'; did you mean label"),
            (b'label,text\n0,"a\nb"\n1,b,c\n', {}, "line 4 of .*set.csv has 3 columns, the header has 2"),
            (b"label,text\n0,a\n1\n", {}, "line 3 of .*set.csv has 1 columns, the header has 2"),
            (b'label,text\n0,a\n1,"b\n2,c\n', {}, "row that begins in line 3 of .*set.csv cannot be read"),
            (b"label,text\n0,a\n ,b\n", {}, "line 3 of .*set.csv has no label"),
            (b"label,text\n0,a\n1,caf\xe9\n", {}, r"set.csv is not utf-8: byte 20 \(0xe9, line 3\)"),
            (b"", {}, "set.csv holds 0 examples"),
        ],
    )
    def test_mistakes_are_explained(self, tmp_path, content, options, message):
        with pytest.raises(ValueError, match=message):
            files.csv_file(write(tmp_path / "set.csv", content), **options)

    def test_a_label_of_the_test_file_alone_is_named(self, tmp_path):
        train = write(tmp_path / "train.csv", self.HEADER + "pos,a\nneg,b\n")
        test = write(tmp_path / "test.csv", self.HEADER + "pos,a\nneutral,b\n")
        with pytest.raises(ValueError, match="line 3 of .*test.csv has label 'neutral', which no training example has"):
            kzoo.load_dataset(f"csv:{train}", test=test)

    def test_other_suffixes_and_options_are_explained(self, tmp_path):
        with pytest.raises(ValueError, match=r"unknown kind of table, .*set.xls, '.xls'; did you mean .csv"):
            kzoo.load_dataset(f"csv:{tmp_path / 'set.xls'}")
        with pytest.raises(ValueError, match="'text_colum'; did you mean text_column"):
            kzoo.load_dataset("csv:x.csv", text_colum="a")


class TestLanguageNames:
    def test_each_name_has_one_language(self):
        pytest.importorskip("babel")
        raw = sets.language_names()
        assert len(raw.class_names) == 20
        names = [name.casefold() for examples in (raw.train, raw.test) for name in examples.inputs]
        assert len(set(names)) == len(names) > 10_000
        assert np.bincount(raw.train.labels).min() > 200
        known = dict(zip(raw.train.inputs, raw.train.labels, strict=True)) | dict(
            zip(raw.test.inputs, raw.test.labels, strict=True)
        )
        assert raw.class_names[known["Deutschland"]] == "German"
        assert raw.class_names[known["heinäkuu"]] == "Finnish"

    def test_it_is_always_the_same(self):
        pytest.importorskip("babel")
        first, again = sets.language_names(), sets.language_names()
        assert first.train.inputs.tolist() == again.train.inputs.tolist()
        assert first.test.inputs.tolist() == again.test.inputs.tolist()

    def test_languages_of_one_script(self):
        pytest.importorskip("babel")
        assert sets.language_names(scripts="Cyrillic").class_names == ("Bulgarian", "Russian", "Serbian", "Ukrainian")
        with pytest.raises(ValueError, match="unknown script 'latin'; did you mean Latin"):
            sets.language_names(scripts=["latin"])

    def test_without_babel_the_error_names_what_to_install(self, monkeypatch):
        monkeypatch.setattr(sets, "babel", lazy_import("package_that_is_not_installed"))
        with pytest.raises(ValueError, match=r"needs the package babel; .*pip install '\.\[text\]'"):
            sets.language_names()

    def test_a_network_learns_it_and_its_mistakes_are_drawn(self, tmp_path):
        pytest.importorskip("babel")
        splits = kzoo.load_dataset("language_names", scripts="Cyrillic", level="bytes", length=32, batch_size=64)
        shape, classes = splits.input_shape, splits.num_classes
        model = kzoo.create_model("textcnn", shape, classes, vocab_size=splits.vocab_size, embed_dim=16, filters=16)
        kzoo.fit(model, splits, epochs=3, learning_rate=1e-2, verbose=False)
        assert kzoo.evaluate(model, splits, run_dir=tmp_path).accuracy > 0.5
        assert (tmp_path / "mistakes.png").exists()


class TestTensorflowDatasets:
    SETS = ("ag_news_subset", "imdb_reviews", "yelp_polarity_reviews", "glue/sst2", "trec")

    @pytest.mark.parametrize("name", SETS)
    def test_without_download_the_wanted_files_are_named(self, name, tmp_path):
        with pytest.raises(ValueError, match="is not prepared in .* and download=False; put .* into") as error:
            kzoo.load_dataset(name, data_dir=str(tmp_path), download=False)
        assert "\n" not in str(error.value)

    def test_of_a_set_in_variants_only_the_variants_own_file_is_wanted(self, tmp_path):
        with pytest.raises(ValueError, match=r"download=False; put SST-2.zip into .*glue$"):
            kzoo.load_dataset("glue/sst2", data_dir=str(tmp_path), download=False)
        (tmp_path / "glue").mkdir(exist_ok=True)
        (tmp_path / "glue" / "SST-2.zip").write_text("text")
        with pytest.raises(ValueError, match="a file of glue in .* is damaged or of another dataset"):
            kzoo.load_dataset("glue/sst2", data_dir=str(tmp_path), download=False)

    def test_a_set_of_several_texts_says_which_is_read(self, tmp_path):
        with (
            pytest.warns(UserWarning, match="only sentence1 is read from the examples of glue, not sentence2"),
            pytest.raises(ValueError, match="put MRPC|is not prepared"),
        ):
            kzoo.load_dataset("tfds:glue/mrpc", data_dir=str(tmp_path), download=False)

    def test_files_that_the_user_put_in_place_are_found_by_the_names_in_their_addresses(self, tmp_path):
        with pytest.raises(ValueError, match=r"put TREC_10.label, train_5500.label into .*trec"):
            kzoo.load_dataset("trec", data_dir=str(tmp_path), download=False)
        (tmp_path / "trec").mkdir(exist_ok=True)
        for name in ("TREC_10.label", "train_5500.label"):
            (tmp_path / "trec" / name).write_text("DESC:manner What ?\n")
        with pytest.raises(ValueError, match="a file of trec in .* is damaged or of another dataset"):
            kzoo.load_dataset("trec", data_dir=str(tmp_path), download=False)

    @pytest.mark.parametrize(
        "name, keys",
        zip(
            SETS,
            [
                ("description", "label"),
                ("text", "label"),
                ("text", "label"),
                ("sentence", "label"),
                ("text", "label-coarse"),
            ],
            strict=True,
        ),
    )
    def test_text_and_label_are_found(self, name, keys, tmp_path):
        assert input_and_label(find_builder(name, str(tmp_path)), "text") == ("text", *keys)

    def test_a_set_without_text_is_refused(self, tmp_path):
        with pytest.raises(
            ValueError, match="tfds:mnist has no text with a class label; its features are image, label"
        ):
            sets.texts_from_tfds("mnist", data_dir=str(tmp_path), download=False)

    @pytest.mark.parametrize("hidden", [False, True])
    def test_a_prepared_set_is_read(self, hidden, tmp_path, monkeypatch):
        builder = tiny_builder(str(tmp_path), hidden)
        monkeypatch.setattr(sets, "find_builder", lambda name, data_dir: builder)
        monkeypatch.setattr(sets, "prepare", lambda builder, download: builder.download_and_prepare())
        raw = sets.texts_from_tfds("tiny")
        assert raw.class_names == ("bad", "good")
        assert sorted(raw.train.inputs) == [f"train \u00e9 {number}" for number in range(4)]
        assert [int(name[-1]) % 2 for name in raw.train.inputs] == raw.train.labels.tolist()
        assert (raw.validation is None) == hidden
        assert raw.test.inputs[0].startswith("validation" if hidden else "test")


def tiny_builder(data_dir: str, hidden: bool):
    """Return a builder of three splits of four texts; with `hidden`, the labels of the test split are -1."""
    import tensorflow_datasets as tfds

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            label = tfds.features.ClassLabel(names=["bad", "good"])
            features = tfds.features.FeaturesDict({"sentence": tfds.features.Text(), "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

        def _generate_examples(self, split):
            for number in range(4):
                label = -1 if hidden and split == "test" else number % 2
                yield number, {"sentence": f"{split} \u00e9 {number}", "label": label}

    return Tiny(data_dir=data_dir)
