"""Personalization of one speaker in use: the profile, from enrollment to a file and back."""
