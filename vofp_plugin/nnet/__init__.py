"""Torch-only building blocks: weight-injected layers, injection, forms, posteriors, losses."""
