"""Optional dependencies: the error for a package that is not installed."""


def missing_package(purpose: str, package: str, extra: str) -> ValueError:
    """Return the error for a missing package; kzoo is on no package index, so its extras are installed from a clone.

    Args:
        purpose: what the package is needed for.
        package: its name on PyPI.
        extra: the extra of kzoo that installs it.
    """
    return ValueError(f"{purpose} needs the package {package}; in a clone of kzoo: python -m pip install '.[{extra}]'")
