"""The installed version of kzoo."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kzoo")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"
