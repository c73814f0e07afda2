"""Files, seeds and cost: nothing of the plugin."""
