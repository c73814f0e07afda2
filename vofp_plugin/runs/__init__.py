"""Runs of recipes: configuration, training, run folders and checkpoints."""
