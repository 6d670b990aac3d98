"""Texts of every script, and what is no text."""

import warnings

import numpy as np
import pytest

import kzoo
from kzoo.data.splits import Examples
from kzoo.data.text import ALPHABET, TextPreprocess
from kzoo.data.text.preprocess import split_words


def words(text) -> list[str]:
    return [word.decode() for word in split_words([text])[0].numpy()]


def fitted(texts, **options) -> TextPreprocess:
    return TextPreprocess.fit(Examples(np.array(texts, object), np.zeros(len(texts), "int32")), **options)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("I ❤️ it 🍕🍕!", ["i", "❤️", "it", "🍕", "🍕", "!"]),
        ("👩‍👩‍👧 👍🏽👍", ["👩‍👩‍👧", "👍🏽", "👍"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("5€ ±3° ©", ["5", "€", "±", "3", "°", "©"]),
        ("我爱北京。很好", list("我爱北京很好")),
        ("東京タワー", list("東京タワー")),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("naïve café — don’t", ["naïve", "café", "do", "n't"]),
        (b"a\xffb", ["a", "b"]),
    ],
)
def test_words_of_every_script_and_symbols(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("How did serfdom develop in and then leave Russia ?", "how did serfdom develop in and then leave russia ?"),
        ("What 's the U.S. $5 bill (1990s) & co., isn't it?", "what 's the u s 5 bill ( 1990s ) co , is n't it ?"),
        ('x^2 + y_1 <= `a|b` ~ 3*4/2 #tag @me [1] {2} \\ "q"', "x 2 y 1 a b 3 4 2 tag me 1 2 q"),
        ("they'll we've I'd you're o'clock\ttab", "they 'll we 've i 'd you 're o'clock tab"),
    ],
)
def test_the_words_of_ascii_sentences_are_as_before(text, expected):
    assert " ".join(words(text)) == expected


def test_characters_of_other_scripts_are_learned():
    preprocess = fitted(["Привет мир", "мир"], level="characters", length=12)
    assert preprocess.vocabulary[: len(ALPHABET)] == tuple(ALPHABET)
    assert preprocess.vocabulary[len(ALPHABET) :] == tuple("ирмвепт")  # by frequency, ties in order
    assert "?" not in preprocess.tokens(preprocess(np.array(["привет"]))[0].numpy())


def test_characters_of_english_texts_are_the_published_ones():
    texts = ["plain text " * 50, "a café"]
    assert fitted(texts, level="characters").vocabulary == tuple(ALPHABET)


def test_several_labels_of_one_text_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("__label__a one\n__label__b two\n__label__a __label__b both\n")
    with pytest.raises(
        ValueError, match="line 3 of .*a.txt has several labels, __label__a and more; expected one a text"
    ):
        kzoo.load_dataset(f"labelled:{tmp_path / 'a.txt'}")


def test_nul_characters_and_utf_16_are_named(tmp_path):
    lines = "".join(f"{n % 2} text {n}\n" for n in range(20))
    (tmp_path / "bare.txt").write_bytes(lines.encode("utf-16-le"))
    with pytest.raises(ValueError, match="bare.txt holds NUL characters, in line 1; .*encoding='utf-16'"):
        kzoo.load_dataset(f"labelled:{tmp_path / 'bare.txt'}")
    (tmp_path / "marked.txt").write_bytes(lines.encode("utf-16"))
    with pytest.raises(ValueError, match="marked.txt is not utf-8.* e.g. 'utf-16'"):
        kzoo.load_dataset(f"labelled:{tmp_path / 'marked.txt'}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        splits = kzoo.load_dataset(f"labelled:{tmp_path / 'marked.txt'}", encoding="utf-16", validation=0.2)
    assert splits.class_names == ("0", "1")


def test_classes_of_one_split_are_said(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{n % 3} text {n}\n" for n in range(30)))
    (tmp_path / "b.txt").write_text("0 text\n1 text\n")
    with pytest.warns(UserWarning, match="a.txt has no examples of '2' in .*b.txt"):
        kzoo.load_dataset(f"labelled:{tmp_path / 'a.txt'}", test=str(tmp_path / "b.txt"), validation=0.2)
