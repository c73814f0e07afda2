"""Main models."""
