"""Statistics, reports and the recipe runner."""
