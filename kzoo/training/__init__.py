"""Fit and evaluate, and what survives a crash: recipes, checkpoints, run directories."""
