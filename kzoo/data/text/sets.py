"""Text datasets by name, from Babel and tensorflow-datasets."""

import collections
import warnings
from collections.abc import Sequence

from kzoo.core.extras import missing_package
from kzoo.core.lazy import lazy_import, np, tfds
from kzoo.core.registry import lookup
from kzoo.data.holdout import SPLIT_SEED
from kzoo.data.splits import DatasetRow, Examples, RawData, register_dataset, register_datasets
from kzoo.data.tfds import Builder, find_builder, input_and_label, official_splits, prepare, targets_of

babel = lazy_import("babel")

LANGUAGES = {
    "Latin": ("cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "ro", "sv", "tr", "vi"),
    "Cyrillic": ("bg", "ru", "sr", "uk"),
}


@register_dataset("language_names", "text", "Unicode CLDR (Unicode licence) in the package Babel (BSD licence)")
def language_names(*, scripts: str | Sequence[str] = tuple(LANGUAGES)) -> RawData:
    """15,000 names of countries, languages, months and currencies, 20 classes: the language; needs no download.

    The names are those of the installed Babel, whose releases follow CLDR's, so they vary slightly between releases.
    A name that two of the languages share is left out, so that each has one label. Every fifth name of a fixed
    random order is a test example.

    Args:
        scripts: of the languages, "Latin" (16) or "Cyrillic" (4) or both.

    Raises:
        ValueError: if Babel is not installed, or for an unknown script.
    """
    scripts = (scripts,) if isinstance(scripts, str) else scripts
    codes = [code for script in scripts for code in lookup("script", script, LANGUAGES)]
    try:
        names = {code: cldr_names(code) for code in codes}
        languages = tuple(babel.Locale("en").languages[code] for code in codes)
    except ImportError as error:
        raise missing_package("language_names", "babel", "text") from error
    times = collections.Counter(key for own in names.values() for key in own)
    rows = [(own[key], label) for label, own in enumerate(names.values()) for key in sorted(own) if times[key] == 1]
    inputs = np.array([name for name, _ in rows], dtype=object)
    examples = Examples(inputs, np.array([label for _, label in rows], "int32"))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    test = np.arange(len(rows)) % 5 == 0
    return RawData(examples.take(order[~test]), None, examples.take(order[test]), languages)


def cldr_names(code: str) -> dict[str, str]:
    """Return the names that CLDR has in one language, by their case-folded form."""
    locale = babel.Locale(code)
    tables = [locale.territories, locale.languages, locale.currencies, locale.months["stand-alone"]["wide"]]
    names = sorted({name for table in tables for name in table.values()})
    return {name.casefold(): name for name in names if sum(map(str.isalpha, name)) >= 3}


def texts_from_tfds(name: str, *, data_dir: str | None = None, download: bool = True) -> RawData:
    """Any text classification dataset of tensorflow-datasets, by its name there.

    Where the labels of the test split are hidden (-1, as in GLUE), the validation split is the test split.

    Args:
        name: e.g. "ag_news_subset" or "glue/sst2".
        data_dir: directory of prepared datasets; that of tensorflow-datasets (~/tensorflow_datasets) if not given.
            Original files in `data_dir/name/` replace the download, once their checksums are verified.
        download: False never uses the network.

    Raises:
        ValueError: for an unknown name, a dataset without text and labels, or files that are missing and cannot be
            downloaded.
    """
    builder = find_builder(name, data_dir)
    _, text_key, label_key = input_and_label(builder, "text")
    warn_of_other_texts(builder, text_key)
    prepare(builder, download)
    return official_splits(builder, label_key, lambda split: read_texts(builder, split, text_key, label_key))


def warn_of_other_texts(builder: Builder, text_key: str) -> None:
    """Warn if the dataset has several texts, such as question and answer, and does not name its input."""
    others = [key for key, feature in builder.info.features.items() if isinstance(feature, tfds.features.Text)]
    others.remove(text_key)
    if others and not builder.info.supervised_keys:
        warnings.warn(f"only {text_key} is read from the examples of {builder.name}, not {others[0]}", stacklevel=3)


def read_texts(builder: Builder, split: str, text_key: str, label_key: str) -> Examples:
    """Read one split into arrays, in the order of the dataset."""
    rows = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
    texts, labels = zip(*((row[text_key].decode(), row[label_key]) for row in rows), strict=True)
    return Examples(np.array(texts, dtype=object), targets_of(builder, label_key, labels))


register_datasets(
    "text",
    texts_from_tfds,
    DatasetRow(
        "ag_news_subset",
        "127,600 descriptions of news articles, 4 topics.",
        "A. Gulli; X. Zhang, J. Zhao, Y. LeCun, 2015; non-commercial",
    ),
    DatasetRow("imdb_reviews", "50,000 film reviews, negative or positive.", "A. Maas and others, 2011, Stanford"),
    DatasetRow(
        "yelp_polarity_reviews",
        "598,000 reviews of businesses, negative or positive.",
        "Yelp; X. Zhang, J. Zhao, Y. LeCun, 2015",
    ),
    DatasetRow(
        "glue/sst2",
        "68,221 phrases and sentences of film reviews, negative or positive; tested on GLUE's validation split.",
        "R. Socher and others, 2013, Stanford; GLUE",
    ),
    DatasetRow("trec", "5,952 questions, 6 types of answer.", "X. Li, D. Roth, 2002; UIUC"),
)
