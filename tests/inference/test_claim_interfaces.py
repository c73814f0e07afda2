"""Claims: one threshold accepts them, one by one, in batches and among many speakers."""

import pytest
import torch
from spotters import random_detector, random_spotter
from voices import utter

from vofp_plugin.inference.personal_keyword_spotter import PersonalKeywordSpotter
from vofp_plugin.inference.personalized_verifier import PersonalizedVerifier
from vofp_plugin.inference.target_speaker_spotter import TargetSpeakerSpotter
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.lobes.soft_and import SoftAnd

VOICES = {"anna": (120.0, 1.0), "bert": (230.0, 1.3), "cleo": (170.0, 0.8)}


WORD, BOTH = (PersonalKeywordSpotter, 1), (PersonalKeywordSpotter, 2)
KINDS = [(PersonalizedVerifier, 1), (TargetSpeakerSpotter, 2), WORD, BOTH]


@pytest.fixture(params=KINDS)
def judge(request):
    return random_detector(*request.param)


@pytest.fixture
def profiles(judge):
    return {name: judge.enroll([utter(*voice)]) for name, voice in VOICES.items()}


@pytest.fixture
def wavs():
    return [utter(*voice, take=1) for voice in VOICES.values()]


def test_every_clip_is_offered_with_its_own_profile(judge, profiles, wavs):
    scores, accepted = judge.verify_batch(wavs, profiles=list(profiles.values()))
    alone = [judge.verify(wav, p) for wav, p in zip(wavs, profiles.values(), strict=True)]
    torch.testing.assert_close(scores, torch.tensor([score for score, _ in alone]))
    assert accepted.tolist() == [score >= 0 for score in scores] == [a for _, a in alone]


def test_the_best_of_many_profiles_is_that_of_its_own_claim(judge, profiles, wavs):
    for wav in wavs:
        claims = {name: judge.verify(wav, profile)[0] for name, profile in profiles.items()}
        name, score = judge.identify(wav, profiles, far=0.05)
        assert name == max(claims, key=claims.get)
        assert score == pytest.approx(max(claims.values()), abs=1e-4)


def test_an_operating_point_rejects_all(judge, profiles, wavs):
    assert not judge.verify_batch(wavs, profiles=profiles["anna"], far=0.01)[1].any()
    assert judge.identify(wavs[0], profiles, far=0.01)[0] is None


def test_nobody_to_identify_is_refused(judge, wavs):
    with pytest.raises(ValueError, match="Got no profiles to identify a speaker by"):
        judge.identify(wavs[0], {})


def test_a_model_that_detects_nobody_is_refused():
    hparams = vars(random_spotter().hparams) | {"decision": Decision(SoftAnd(1), 0.0)}
    with pytest.raises(TypeError, match="Got a PersonalizedModel; expected a Detector"):
        PersonalizedVerifier({"model": random_spotter().mods.model}, hparams)


def test_rejected_words_are_unknown(wavs):
    spotter = random_detector(TargetSpeakerSpotter, 2)
    profile = spotter.enroll(wavs[:1])
    log_probs, score, index, text = spotter.classify_batch(wavs, profiles=profile, far=0.01)
    assert text == ["unknown"] * 3 and log_probs.shape == (3, 3)
    assert set(spotter.classify_batch(wavs, profiles=profile, far=0.05)[3]) <= {"no", "yes", "stop"}


def test_personal_words_are_told_by_name(wavs):
    spotter = random_detector(*BOTH)
    words = {name: spotter.enroll([wav]) for name, wav in zip(VOICES, wavs, strict=True)}
    assert spotter.spot(wavs, words, far=0.05) == [
        spotter.identify(wav, words, far=0.05)[0] for wav in wavs
    ]
    assert spotter.spot(wavs, words, far=0.01) == ["unknown"] * 3
