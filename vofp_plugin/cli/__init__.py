"""The ``vofp`` command."""
