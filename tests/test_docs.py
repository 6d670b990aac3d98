"""The documentation: the site is built without a warning, says what the registry says, and its snippets run."""

import ast
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from snippets import blocks, commands, only_parsed, parse_command, run, snippets

import kzoo
from kzoo.training.experiment import find_config, list_configs, load_experiment
from kzoo.zoo import published

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FAMILIES = {kzoo.model_card(name).family for name in kzoo.list_models()}


DRAWN = ("lenet", "squeezenet")  # families whose networks are drawn in the quick build


def build_site(folder: Path, *options: str) -> Path:
    """Build the site from a copy of its sources, with warnings as errors, and return its directory."""
    if not all(map(importlib.util.find_spec, ("sphinx", "myst_parser", "furo"))):
        pytest.skip("needs the extra docs")
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("networks", "api", "__pycache__"))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *options, folder / "docs", folder / "site"]
    paths = os.pathsep.join([str(Path(kzoo.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    built = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site with all its pages, and the diagrams of a few families."""
    return build_site(tmp_path_factory.mktemp("site"), "-D", f"kzoo_pictures={','.join(DRAWN)}")


def links(page: Path) -> list[str]:
    """Return what a page refers to: other pages, files and places of both."""
    return re.findall(r'(?:href|src)="([^"]+)"', page.read_text())


def diagrams(site: Path, family: str) -> list[str]:
    """Return the texts of the diagrams that a family's page shows."""
    page = (site / "networks" / f"{family}.html").read_text()
    return [(site / path).read_text() for path in re.findall(r'<img [^>]*src="\.\./([^"]+\.svg)"', page)]


@pytest.mark.slow
def test_each_family_has_a_page_with_its_variants_and_their_macs(site):
    for family in FAMILIES:
        page = re.sub("<[^>]+>", " ", (site / "networks" / f"{family}.html").read_text())
        for name in kzoo.list_models(family=family):
            documented = published.macs().get(name)  # counted when the site is built, if it is missing in the table
            count = r"[\d,]+" if documented is None else f"{documented:,}"
            assert re.search(rf"\s{name}\s+{kzoo.model_card(name).params:,}\s+{count}\s", page), name


def test_the_table_of_macs_names_only_networks_of_the_zoo():
    assert set(published.macs()) <= set(kzoo.list_models())


@pytest.mark.slow
def test_a_family_page_shows_its_diagram_and_links_to_it_in_full_size(site):
    for family in DRAWN:
        page = (site / "networks" / f"{family}.html").read_text()
        (diagram,) = diagrams(site, family)
        assert "<svg " in diagram
        assert re.search(r'<a [^>]*href="\.\./_images/\w+\.svg"><img', page)


@pytest.mark.slow
def test_each_family_has_its_diagrams(tmp_path):
    complete = build_site(tmp_path)
    for family in FAMILIES:
        found = diagrams(complete, family)
        assert found, family
        assert all("<svg " in text for text in found)


@pytest.mark.parametrize(
    "family, line",
    [
        ("mobilenetv2", "kzoo.models.mobilenetv2_100((224, 224, 3), num_classes=1000)"),
        ("textcnn", "vocab_size="),
    ],
)
@pytest.mark.slow
def test_a_family_page_builds_the_canonical_variant_and_token_ids_where_it_takes_text(site, family, line):
    page = (site / "networks" / f"{family}.html").read_text()
    assert line in re.sub("<[^>]+>", "", page)


@pytest.mark.slow
def test_a_family_page_has_the_results_of_its_configs_and_its_papers(site):
    page = re.sub("<[^>]+>", "", (site / "networks" / "resnet.html").read_text())
    assert "kzoo train image/resnet8_digits" in page
    assert re.search(r"[\d.]+ % test accuracy", find_config("image/resnet8_digits").read_text())[0] in page
    assert "@inproceedings{banbury2021mlperf," in page


@pytest.mark.slow
def test_the_reference_has_every_public_name(site):
    page = (site / "api" / "index.html").read_text()
    assert [name for name in kzoo.__all__ if f'id="kzoo.{name}"' not in page] == ["__version__", "models"]


@pytest.mark.slow
def test_no_internal_link_is_broken(site):
    pages = list(site.rglob("*.html"))
    places = {page.resolve(): set(re.findall(r'id="([^"]+)"', page.read_text())) for page in pages}
    for page in pages:
        for link in links(page):
            path, _, place = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / path.partition("?")[0]).resolve() if path else page.resolve()
            assert target.is_file(), f"{page.name} refers to {link}"
            assert not place or target not in places or place in places[target], f"{page.name} refers to {link}"


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    for page in site.rglob("*.html"):
        assert not re.findall(r'(?:src|<link[^>]+href)="https?:[^"]+"', page.read_text())
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(.?https?:|@import", style.read_text())


@pytest.mark.slow
@pytest.mark.slow
def test_external_links_lead_somewhere(site):
    """`pytest tests/test_docs.py -m slow -k external`, with a network."""
    found = {link.partition("#")[0] for page in site.rglob("*.html") for link in links(page) if link.startswith("http")}
    broken = []
    for link in sorted(found):
        request = urllib.request.Request(link, headers={"User-Agent": "Mozilla/5.0"})
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except OSError as error:
            if getattr(error, "code", None) not in (403, 418, 429):  # some publishers answer browsers alone
                broken.append(f"{link}: {error}")
    assert broken == []


QUICK = ("own_tf_data",)  # the others train for longer: `-m slow`
SNIPPETS = [
    pytest.param(page, marks=() if page.stem in QUICK else pytest.mark.slow) for page in PAGES if snippets(page)
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", SNIPPETS, ids=lambda page: page.stem)
def test_the_snippets_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dict(kzoo.core.registry.MODELS), dict(kzoo.data.splits.DATASETS)
    Image.fromarray(np.full((30, 40, 3), 128, "uint8")).save("photo.jpg")
    try:
        run(page)
    finally:
        for registry, kept in zip((kzoo.core.registry.MODELS, kzoo.data.splits.DATASETS), before, strict=True):
            registry.clear()
            registry.update(kept)


@pytest.mark.parametrize("page", [page for page in PAGES if only_parsed(page)], ids=lambda page: page.stem)
def test_the_other_snippets_are_python(page):
    for snippet in only_parsed(page):
        ast.parse(snippet)


@pytest.mark.parametrize(
    "page", [*PAGES, DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"], ids=lambda p: p.stem
)
def test_the_commands_are_those_of_the_command_line(page):
    found = [arguments for block in blocks(page) if block.language == "sh" for arguments in commands(block.text)]
    for arguments in found:
        parse_command(arguments)
        if arguments[0] == "train" and arguments[1] in list_configs():
            words = [word for before, word in itertools.pairwise(arguments[1:]) if before != "--each"]
            load_experiment(arguments[1], [word for word in words if re.match(r"[a-z.]+=", word)])


def test_every_network_that_the_choice_names_is_there():
    table = re.findall(r"^\|(.+)\|$", (DOCS / "choosing.md").read_text(), re.MULTILINE)[2:]
    named = {name for row in table for name in re.findall(r"`([a-z]+[\w]*\d?)`", row)} - {"weights"}
    assert len(named) > 15
    assert named <= set(kzoo.list_models())
