"""Tasks: what a model is asked, its loss and its scores."""
