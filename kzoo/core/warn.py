"""Warnings that point at the user's line."""

import sys
import warnings


def warn_caller(message: str) -> None:
    """Issue a UserWarning at the line outside of kzoo that led here, however deep the call."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "kzoo":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level + 1)
