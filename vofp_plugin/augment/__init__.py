"""Augmentation of features and spoiled or noisy utterances."""
