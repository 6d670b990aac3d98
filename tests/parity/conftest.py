"""Comparisons with other libraries: their numbers are the oracle."""

import importlib.util
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def declare_missing_operators():
    """Let torchvision be imported where its compiled part cannot be loaded, as on machines without CUDA."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library  # the operators go when it does
    return None


if all(importlib.util.find_spec(name) for name in ("torch", "torchvision")):
    torchvision_operators = declare_missing_operators()
