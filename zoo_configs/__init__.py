"""Experiments that come with kzoo; each file's head gives the result that was seen."""
