"""Settings of Sphinx for the API reference, made from the docstrings; `make docs` builds it."""

import re

project = "vofp_plugin"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "modules"
html_theme = "alabaster"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports = ["gradio", "sounddevice"]  # extras
napoleon_google_docstring = False
napoleon_custom_sections = ["Source"]


def escape_shapes(app, what, name, obj, options, lines):
    """Keeps the asterisk of a shape such as (N, *kernel), which is no emphasis."""
    lines[:] = [re.sub(r"(?<![\w*])\*(?=\w+[,)\].\s]|[,)\]])", r"\*", line) for line in lines]


def setup(app):
    """Called by Sphinx. Numpydoc sections are read first."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)
