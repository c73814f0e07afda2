"""Manifests, episodes and the synthetic corpus."""
