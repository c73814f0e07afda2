"""Variational on-the-fly personalization for SpeechBrain."""

_PLACES = {
    "personalize": "front_door",
    "load": "front_door",
    "Profile": "profile",
    "KeywordSpotter": "keyword_spotter",
    "TargetSpeakerSpotter": "target_speaker_spotter",
    "PersonalKeywordSpotter": "personal_keyword_spotter",
    "PersonalizedVerifier": "personalized_verifier",
    "PersonalVAD": "personal_vad",
}
__all__ = list(_PLACES)


def __getattr__(name):
    """The front door and the inference classes, imported when they are first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.inference.{_PLACES[name]}"), name)
