"""Serving: export to other runtimes, prediction from files, pretrained models by name."""
