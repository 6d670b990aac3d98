"""Citations of the registered papers."""

import re

import pytest

import kzoo
from kzoo.core.papers import CONFERENCES, JOURNALS, Paper
from kzoo.core.registry import MODELS

PAPERS = sorted({card.paper for card in MODELS.values()})
OTHER_PUBLISHERS = {"", "Keras code examples", "TensorFlow Blog", "TensorFlow Models on GitHub"}


@pytest.mark.parametrize(
    "name, kind, fields",
    [
        (
            "resnet50",
            "inproceedings",
            [
                "author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian}",
                "booktitle = {Conference on Computer Vision and Pattern Recognition (CVPR)}",
                "year = {2016}",
                "eprint = {1512.03385}",
            ],
        ),
        ("lenet5", "article", ["journal = {Proceedings of the IEEE}", "doi = {10.1109/5.726791}"]),
        ("mobilenetv1_100", "misc", ["eprint = {1704.04861}", "archivePrefix = {arXiv}"]),
        ("convnet", "misc", ["howpublished = {Keras code examples}"]),
    ],
)
def test_bibtex_has_given_names_venue_and_the_right_entry_type(name, kind, fields):
    entry = kzoo.model_card(name).paper.bibtex()
    assert entry.startswith(f"@{kind}{{")
    assert [field for field in fields if field not in entry] == []


def test_bibtex_escapes_what_latex_would_read_as_a_command():
    assert r"94\% on CIFAR-10" in kzoo.model_card("airbench94").paper.bibtex()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.key)
def test_every_author_has_a_given_name_and_every_venue_is_known(paper):
    names = [name for name in paper.authors.split(" and ") if name != "others"]
    assert [name for name in names if not re.fullmatch(r"[^,]+, [^,]+", name)] == []
    assert paper.venue in CONFERENCES | JOURNALS or paper.venue in OTHER_PUBLISHERS


def test_citation_keys_are_unique():
    assert len({paper.key for paper in PAPERS}) == len(PAPERS)


@pytest.mark.parametrize(
    "authors, citation",
    [
        ("Chollet, François", "Chollet, 2017"),
        ("Tan, Mingxing and Le, Quoc V.", "Tan and Le, 2017"),
        ("van der Maaten, Laurens and Liu, Zhuang and Weinberger, Kilian Q.", "van der Maaten et al., 2017"),
        ("Banbury, Colby and others", "Banbury et al., 2017"),
    ],
)
def test_citation_is_family_names_and_year(authors, citation):
    assert Paper(authors, 2017, "A Title", "https://example.org").citation == citation


def test_authors_are_written_with_given_names_first():
    paper = Paper("van der Maaten, Laurens and Liu, Zhuang and others", 2017, "A Title", "https://example.org")
    assert paper.author_names == "Laurens van der Maaten, Zhuang Liu et al."
