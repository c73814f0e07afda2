"""Settings of Sphinx for the API reference, made from the docstrings; `make docs` builds it."""

project = "vofp_plugin"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "modules"
html_theme = "alabaster"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports = ["gradio", "sounddevice"]  # extras
napoleon_google_docstring = False
napoleon_custom_sections = ["Source"]
