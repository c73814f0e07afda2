"""Evaluation on unseen speakers: trials, conditions, scores, tables and plots."""
