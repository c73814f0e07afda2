"""Variational on-the-fly personalization for SpeechBrain."""
