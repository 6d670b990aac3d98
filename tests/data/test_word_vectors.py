"""Pretrained word vectors: the formats of their files, what is refused, and the networks that take them."""

import gzip
import struct

import keras
import numpy as np
import pytest

import kzoo
from kzoo.core.yaml import write_yaml
from kzoo.data.text.vectors import read_vectors
from kzoo.training.identity import identity

VECTORS = {"good": (0.5, -1.0, 2.0), "bad": (1.0, 0.25, -0.125), "elsewhere": (7.0, 7.0, 7.0)}
LINES = [" ".join([word, *map(str, values)]) for word, values in VECTORS.items()]
HEADER = "3 3\n"
GLOVE = "\n".join(LINES) + "\n"
FASTTEXT = HEADER + "".join(f"{line} \n" for line in LINES)  # a blank ends each line
BINARY = HEADER.encode() + b"".join(f"{w} ".encode() + struct.pack("<3f", *v) for w, v in VECTORS.items())
TEXTS = ["good film", "bad film", "good good", "bad bad"] * 5


def write(folder, content: str | bytes, name: str = "vectors.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def reviews():
    return kzoo.from_arrays(TEXTS, [0, 1, 0, 1] * 5, validation=0.2, test=0.2, batch_size=4, length=4)


@pytest.mark.filterwarnings("ignore:.*others are random")
class TestFormats:
    @pytest.mark.parametrize(
        "content",
        [
            GLOVE,
            GLOVE.replace("\n", "\r\n"),
            GLOVE.replace(" ", "\t"),
            HEADER + GLOVE,
            FASTTEXT,
            BINARY,
            BINARY.replace(b"bad ", b"\nbad ").replace(b"elsewhere ", b"\nelsewhere ") + b"\n",
        ],
        ids=["glove", "windows", "tabs", "word2vec", "fasttext", "binary", "binary_with_line_ends"],
    )
    @pytest.mark.parametrize("packed", [False, True])
    def test_each_format_gives_the_rows_of_its_words(self, content, packed, reviews, tmp_path):
        path = write(tmp_path, content)
        if packed:
            path = write(tmp_path, gzip.compress(path.read_bytes()), "vectors.gz")
        rows = kzoo.load_word_vectors(path, reviews)
        words = (None, None, *reviews.preprocess.vocabulary)
        assert rows.shape == (reviews.vocab_size, 3)
        assert rows.dtype == np.float32
        for word in ("good", "bad"):
            np.testing.assert_array_equal(rows[words.index(word)], np.float32(VECTORS[word]))

    def test_only_words_of_the_vocabulary_are_kept(self, tmp_path):
        assert read_vectors(write(tmp_path, BINARY), {"bad", "film"}).keys() == {"bad"}

    def test_a_binary_file_of_several_chunks(self, tmp_path, monkeypatch):
        monkeypatch.setattr("kzoo.data.text.vectors.CHUNK", 7)
        found = read_vectors(write(tmp_path, BINARY), set(VECTORS))
        assert {word: tuple(values) for word, values in found.items()} == VECTORS

    def test_lower_case_comes_before_the_first_spelling_with_capitals(self, tmp_path):
        path = write(tmp_path, "Good 1 1\nGOOD 2 2\nBad 3 3\nbad 4 4\nbad 5 5\n")
        found = read_vectors(path, {"good", "bad"})
        assert {word: values.tolist() for word, values in found.items()} == {"good": [1, 1], "bad": [4, 4]}

    def test_a_word_may_hold_spaces(self, tmp_path):
        path = write(tmp_path, "the 1 2\n. . . 3 4\nat name@domain.com 5 6\ngood 7 8\n")
        assert read_vectors(path, {"good", ".", "at"})["good"].tolist() == [7, 8]


class TestWordsThatAreNotFound:
    def test_they_have_the_variance_of_the_others_and_padding_is_zero(self, tmp_path):
        rng = np.random.default_rng(0)
        names = [f"w{index}" for index in range(400)]
        texts = [" ".join(names)] * 8
        data = kzoo.from_arrays(texts, [0, 1] * 4, validation=0.25, test=0.25, length=400)
        lines = [f"{name} {' '.join(map(str, rng.normal(0, 0.3, 20)))}\n" for name in names[:200]]
        with pytest.warns(UserWarning, match="has vectors for 50.0 % of the 400 words of .*; others are random"):
            rows = kzoo.load_word_vectors(write(tmp_path, "".join(lines)), data)
        words = np.array([None, "?", *data.preprocess.vocabulary])
        random = rows[[word not in names[:200] and word is not None for word in words]]
        assert len(random) == 201
        assert np.all(rows[0] == 0)
        assert random.std() == pytest.approx(0.3, rel=0.05)
        assert np.abs(random).max() <= 0.3 * 3**0.5 * 1.05

    def test_they_depend_on_the_seed_alone(self, reviews, tmp_path):
        path = write(tmp_path, GLOVE)
        with pytest.warns(UserWarning, match=r"66.7 % of the 3 words"):
            once, again = (kzoo.load_word_vectors(path, reviews) for _ in range(2))
        np.testing.assert_array_equal(once, again)

    def test_nothing_is_said_where_all_are_found(self, reviews, tmp_path, recwarn):
        kzoo.load_word_vectors(write(tmp_path, GLOVE + "film 0 0 1\n"), reviews)
        assert not recwarn.list


class TestMistakes:
    @pytest.mark.parametrize(
        "content, message",
        [
            (GLOVE + "film 1 2\n", "line 4 has 2 numbers, expected 3"),
            (HEADER + GLOVE.replace("-1.0", "-1.0 3"), "line 2 has 4 numbers, expected 3"),
            (GLOVE.replace("0.25", "nan"), "line 2 contains NaN or infinity"),
            (GLOVE.replace("0.25", "1e39"), "line 2 contains NaN or infinity"),
            (GLOVE.replace("0.25", "0,25"), "line 2 is no word with 3 numbers"),
            ("4" + HEADER[1:] + GLOVE, "line 1 states 4 vectors, but there are 3; is it cut short"),
            (BINARY[:-2], "vector 3 is cut short"),
            (BINARY[: BINARY.index(b"elsewhere")], "line 1 states 3 vectors, but there are 2"),
            (BINARY.replace(struct.pack("<f", -0.125), struct.pack("<f", np.nan)), "vector 2 contains NaN or infinity"),
            (b"2 3\n" + b"\0" * 9000, "vector 1 has a word of more than 4,096 bytes"),
            ("An essay on words,\nand no vectors.\n", "line 1 is no word with 3 numbers"),
            ("", "line 1 is no word with its numbers"),
            ("3 99999\n" + GLOVE, "line 1 is no word with its numbers .1 to 4,096."),
            ("a" * 2**20, "line 1 is longer than 1,048,576 bytes"),
            (struct.pack("<i", 793712314) + b"\x0c\0\0\0", "it is a model of fastText; give the .vec file"),
        ],
    )
    def test_the_file_and_the_line_are_named(self, content, message, reviews, tmp_path):
        with pytest.raises(ValueError, match=rf"vectors.txt cannot be read as word vectors: {message}") as error:
            kzoo.load_word_vectors(write(tmp_path, content), reviews)
        assert "\n" not in str(error.value)

    def test_a_packed_file_that_is_cut_short(self, reviews, tmp_path):
        path = write(tmp_path, gzip.compress(GLOVE.encode())[:-12], "vectors.txt.gz")
        with pytest.raises(ValueError, match="vectors.txt.gz cannot be read as word vectors: "):
            kzoo.load_word_vectors(path, reviews)

    def test_a_missing_file(self, reviews, tmp_path):
        with pytest.raises(ValueError, match="there is no file .*none.txt"):
            kzoo.load_word_vectors(tmp_path / "none.txt", reviews)

    def test_a_file_with_none_of_the_words(self, reviews, tmp_path):
        with pytest.raises(ValueError, match="a vector for none of the 3 words"):
            kzoo.load_word_vectors(write(tmp_path, "gut 1 2\nschlecht 3 4\n"), reviews)

    def test_a_vocabulary_of_characters(self, tmp_path):
        data = kzoo.from_arrays(TEXTS, [0, 1, 0, 1] * 5, level="characters")
        with pytest.raises(ValueError, match="need level='words', but .* is read with 'characters'"):
            kzoo.load_word_vectors(write(tmp_path, GLOVE), data)

    def test_images(self, digits, tmp_path):
        with pytest.raises(ValueError, match="word vectors are for texts, but digits is image data"):
            kzoo.load_word_vectors(write(tmp_path, GLOVE), digits)


def network(reviews, name="textcnn", **options):
    small = {"kernels": (2, 3), "filters": 4} if name == "textcnn" else {}
    shape, classes = reviews.input_shape, reviews.num_classes
    return kzoo.create_model(name, shape, classes, vocab_size=reviews.vocab_size, **small | options)


@pytest.fixture
def rows(reviews):
    return np.random.default_rng(0).normal(size=(reviews.vocab_size, 6)).astype("float32")


def table(model, name="embedding") -> np.ndarray:
    return keras.ops.convert_to_numpy(model.get_layer(name).weights[0])


class TestNetworks:
    @pytest.mark.parametrize("name", ["textcnn", "fasttext"])
    @pytest.mark.parametrize("trainable", [True, False])
    def test_a_static_embedding_keeps_the_vectors_and_a_trained_one_does_not(self, name, trainable, reviews, rows):
        model = network(reviews, name, embedding=rows, trainable_embedding=trainable)
        np.testing.assert_array_equal(table(model), rows)
        kzoo.fit(model, reviews, epochs=1, verbose=False)
        assert np.array_equal(table(model), rows) is not trainable

    def test_one_of_two_channels_is_trained(self, reviews, rows):
        model = network(reviews, embedding=rows, multichannel=True)
        kzoo.fit(model, reviews, epochs=1, verbose=False)
        np.testing.assert_array_equal(table(model, "static.embedding1"), rows)
        assert not np.array_equal(table(model), rows)

    def test_filters_are_applied_to_both_channels_and_added(self, reviews, rows):
        model = network(reviews, embedding=rows, multichannel=True)
        model.get_layer("embedding").set_weights([rows[::-1]])
        ids = np.array([[2, 3, 4, 1]])
        got = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("ngrams.conv1").output)(ids))
        kernel, bias = model.get_layer("ngrams.conv1").get_weights()

        def filtered(x):
            return np.stack([np.tensordot(x[t : t + 2], kernel, 2) for t in range(3)])

        wanted = np.maximum(filtered(rows[ids[0]]) + filtered(rows[::-1][ids[0]]) + bias, 0)
        np.testing.assert_allclose(got[0], wanted, rtol=1e-5, atol=1e-5)

    def test_a_second_channel_adds_its_table_alone(self, reviews, rows):
        one, two = (network(reviews, embedding=rows, multichannel=several) for several in (False, True))
        assert two.count_params() - one.count_params() == rows.size

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"embedding": "vectors.txt"}, r"write embedding=kzoo.load_word_vectors\('vectors.txt', data\)"),
            ({"embedding": np.zeros((4, 6))}, r"a row for each token id, shape \(5, dimensions\), got \(4, 6\)"),
            ({"embedding": np.zeros((5, 6)), "embed_dim": 7}, "embed_dim is 7, but the vectors .* have 6 dimensions"),
            ({"embedding": np.zeros((5, 6)), "weights": "a.npz"}, "give embedding or weights='a.npz', not both"),
            ({"embedding": np.zeros((5, 6)), "vocab_size": None}, "are for token ids, which need vocab_size"),
            ({"trainable_embedding": False, "vocab_size": None}, "are for token ids, which need vocab_size"),
        ],
    )
    def test_mistakes_are_explained(self, options, message):
        shape = (8,) if "vocab_size" not in options else (8, 3)
        with pytest.raises(ValueError, match=message):
            kzoo.create_model("textcnn", shape, 2, **{"vocab_size": 5} | options)

    def test_networks_without_an_embedding_refuse_vectors(self):
        with pytest.raises(ValueError, match="tfidf takes token ids without an embedding"):
            kzoo.create_model("tfidf", (8,), 2, vocab_size=5, embedding=np.zeros((5, 6)))

    def test_two_channels_of_a_feature_map_are_refused(self):
        with pytest.raises(ValueError, match="multichannel=True is for token ids"):
            kzoo.models.textcnn((8, 3), 2, multichannel=True)

    def test_other_vectors_are_another_training(self, reviews, rows):
        one, same, other = (network(reviews, embedding=values) for values in (rows, rows.copy(), rows + 1))
        assert identity(one, reviews, {}) == identity(same, reviews, {})
        assert identity(one, reviews, {})["word_vectors"] != identity(other, reviews, {})["word_vectors"]


@pytest.mark.filterwarnings("ignore:.*others are random")
def test_an_experiment_names_the_file_and_its_run_needs_it_no_more(tmp_path):
    lines = "".join(f"{label} {text}\n" for text, label in zip(TEXTS, [0, 1, 0, 1] * 5, strict=True))
    vectors = write(tmp_path, GLOVE)
    model = {"name": "textcnn", "kernels": [2], "filters": 2, "embedding": str(vectors), "trainable_embedding": False}
    data = {"name": f"labelled:{write(tmp_path, lines, 'reviews.all')}", "batch_size": 4}
    write_yaml(tmp_path / "reviews.yaml", {"data": data, "model": model, "train": {"epochs": 1}})
    kzoo.run_experiment(kzoo.load_experiment(tmp_path / "reviews.yaml"), tmp_path / "run", verbose=False)
    vectors.unlink()
    trained, serving = kzoo.load_run(tmp_path / "run")
    words = (None, None, *serving.preprocess.vocabulary)
    np.testing.assert_array_equal(table(trained)[words.index("bad")], np.float32(VECTORS["bad"]))
    kzoo.evaluate_run(tmp_path / "run")
