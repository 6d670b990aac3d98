"""Time series sets by name, from the files inside sktime or aeon."""

import importlib.util
from pathlib import Path

from kzoo.data.splits import RawData, register_dataset
from kzoo.data.timeseries.files import series_files

PACKAGES = ("sktime", "aeon")  # either ships the sets as .ts files


def bundled(name: str, unequal: str | None, length: int | None) -> RawData:
    """Load a set from the .ts files inside sktime or aeon, without importing either."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in spec.submodule_search_locations or () if spec else ():
            stem = Path(place) / "datasets" / "data" / name / name
            if Path(f"{stem}_TRAIN.ts").is_file():
                return series_files(str(stem), unequal=unequal, length=length)
    raise ValueError(
        f"{name} is read from the files of the package {' or '.join(PACKAGES)}, and neither with it is here; "
        "pip install 'kzoo[timeseries]'"
    )


@register_dataset("ItalyPowerDemand", "timeseries", "UCR archive; E. Keogh, L. Wei; files of sktime or aeon")
def italy_power_demand(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """67 / 1,029 days of electric power, 24 hours, 2 classes: winter or summer half-year."""
    return bundled("ItalyPowerDemand", unequal, length)


@register_dataset("GunPoint", "timeseries", "UCR archive; C. A. Ratanamahatana, E. Keogh; files of sktime or aeon")
def gun_point(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """50 / 150 movements of a hand, 150 steps, 2 classes: drawing a gun or pointing."""
    return bundled("GunPoint", unequal, length)


@register_dataset("ArrowHead", "timeseries", "UCR archive; L. Ye, E. Keogh; files of sktime or aeon")
def arrow_head(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """36 / 175 outlines of arrowheads, 251 steps, 3 classes: their shape."""
    return bundled("ArrowHead", unequal, length)


@register_dataset("OSULeaf", "timeseries", "UCR archive; A. Gandhi; files of sktime or aeon")
def osu_leaf(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """200 / 242 outlines of leaves, 427 steps, 6 classes: the tree."""
    return bundled("OSULeaf", unequal, length)


@register_dataset("ACSF1", "timeseries", "UCR archive; C. Gisler et al.; files of sktime or aeon")
def acsf1(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """100 / 100 power consumptions, 1,460 steps, 10 classes: the kind of appliance."""
    return bundled("ACSF1", unequal, length)


@register_dataset("BasicMotions", "timeseries", "UEA archive; J. Clements; files of sktime or aeon")
def basic_motions(*, unequal: str | None = None, length: int | None = None) -> RawData:
    """40 / 40 movements by a smart watch, 100 steps of 6 channels, 4 classes: standing to badminton."""
    return bundled("BasicMotions", unequal, length)


@register_dataset("JapaneseVowels", "timeseries", "UEA archive; M. Kudo, J. Toyama, M. Shimbo; files of sktime or aeon")
def japanese_vowels(*, unequal: str | None = "resample", length: int | None = None) -> RawData:
    """270 / 370 utterances, 7 to 29 steps of 12 channels, 9 classes: the speaker."""
    return bundled("JapaneseVowels", unequal, length)
