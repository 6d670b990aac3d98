"""Time series datasets by name, from the files inside sktime or aeon."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from kzoo.core.extras import missing_package
from kzoo.core.ranges import Extent
from kzoo.data.splits import DatasetRow, RawData, register_datasets
from kzoo.data.timeseries.files import series_files
from kzoo.data.timeseries.forecast import SPLIT, forecast
from kzoo.tasks import Forecasting, Regression

PACKAGES = ("sktime", "aeon")  # either ships the datasets as .ts files, sktime series to forecast as .csv files


def bundled_file(name: str, ending: str) -> Path:
    """Return the path of a dataset's file inside sktime or aeon, without importing either.

    Raises:
        ValueError: if no package that ships it is installed.
    """
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for root in spec.submodule_search_locations or () if spec else ():
            file = Path(root) / "datasets" / "data" / name / f"{name}{ending}"
            if file.is_file():
                return file
    raise missing_package(name, " or ".join(PACKAGES), "timeseries")


def bundled(name: str, *, unequal: str | None = None, length: Extent | None = None) -> RawData:
    """Load a dataset from the .ts files inside sktime or aeon.

    Args:
        name: of the archive.
        unequal: see `series_files`.
        length: see `series_files`.

    Raises:
        ValueError: if neither package is installed, or a value is out of its range.
    """
    stem = str(bundled_file(name, "_TRAIN.ts")).removesuffix("_TRAIN.ts")
    return series_files(stem, unequal=unequal, length=length)


def bundled_table(
    name: str,
    *,
    lookback: Extent,
    horizon: Extent,
    split: Sequence[float] = SPLIT,
    season: Extent | None = None,
    quantiles: Sequence[float] = (),
) -> RawData:
    """Load a series to forecast from a table inside sktime.

    Args:
        name: of the folder and the file.
        lookback: see `forecast`; so are `horizon`, `split`, `season` and `quantiles`.
        horizon: see `lookback`.
        split: see `lookback`.
        season: see `lookback`.
        quantiles: see `lookback`.

    Raises:
        ValueError: if sktime is not installed, or a value is out of its range.
    """
    windows = {"lookback": lookback, "horizon": horizon, "split": split, "season": season, "quantiles": quantiles}
    return forecast(str(bundled_file(name, ".csv")), **windows)


MONASH = "Monash archive of extrinsic regression; {}; files of {}"
UCR, UEA = "UCR archive; {}; files of sktime or aeon", "UEA archive; {}; files of sktime or aeon"

register_datasets(
    "timeseries",
    bundled,
    DatasetRow(
        "ItalyPowerDemand",
        "67 / 1,029 days of electric power, 24 hours, 2 classes: winter or summer half-year.",
        UCR.format("E. Keogh, L. Wei"),
    ),
    DatasetRow(
        "GunPoint",
        "50 / 150 movements of a hand, 150 steps, 2 classes: drawing a gun or pointing.",
        UCR.format("C. A. Ratanamahatana, E. Keogh"),
    ),
    DatasetRow(
        "ArrowHead",
        "36 / 175 outlines of arrowheads, 251 steps, 3 classes: their shape.",
        UCR.format("L. Ye, E. Keogh"),
    ),
    DatasetRow(
        "OSULeaf", "200 / 242 outlines of leaves, 427 steps, 6 classes: the tree species.", UCR.format("A. Gandhi")
    ),
    DatasetRow(
        "ACSF1",
        "100 / 100 power consumptions, 1,460 steps, 10 classes: the type of appliance.",
        UCR.format("C. Gisler et al."),
    ),
    DatasetRow(
        "BasicMotions",
        "40 / 40 recordings of a smart watch, 100 steps of 6 channels, 4 classes: standing to badminton.",
        UEA.format("J. Clements"),
    ),
    DatasetRow(
        "JapaneseVowels",
        "270 / 370 utterances, 7 to 29 steps of 12 channels, 9 classes: the speaker.",
        UEA.format("M. Kudo, J. Toyama, M. Shimbo"),
        {"unequal": "resample"},
    ),
)

register_datasets(
    "timeseries",
    bundled,
    DatasetRow(
        "Covid3Month",
        "140 / 61 countries, daily COVID-19 cases of 84 days: the death rate on 1 April 2020.",
        MONASH.format("World Health Organization", "sktime or aeon"),
    ),
    DatasetRow(
        "Tecator",
        "172 / 43 pieces of meat, near-infrared absorbance at 100 wavelengths: the fat content in percent.",
        MONASH.format("C. Borggaard, H. H. Thodberg", "sktime"),
    ),
    task=Regression,
)

register_datasets(
    "forecast",
    bundled_table,
    DatasetRow(
        "Airline",
        "144 months of airline passengers, 1949 to 1960, in thousands: forecast a year from two.",
        "G. E. P. Box, G. M. Jenkins, 1976; a file of sktime",
        {"lookback": 24, "horizon": 12, "split": (96, 24, 24)},
    ),
    DatasetRow(
        "solar",
        "289 half-hours of Great Britain's solar power, May 2021, of its capacity: forecast half a day from one.",
        "Sheffield Solar; a file of sktime",
        {"lookback": 48, "horizon": 24},
    ),
    task=Forecasting,
)
