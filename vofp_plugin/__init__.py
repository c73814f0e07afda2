"""Variational on-the-fly personalization for SpeechBrain."""

__all__ = ["load", "personalize"]


def __getattr__(name):
    """`personalize` and `load`, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vofp_plugin.inference import front_door

    return getattr(front_door, name)
