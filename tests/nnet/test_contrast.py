"""The contrast of an episode: which codes the Brain compares."""

from types import SimpleNamespace

import pytest
import torch

from vofp_plugin.lobes.embeddings import ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.nnet.losses import SpeakerContrast
from vofp_plugin.runs.brain import PersonalizedBrain


@pytest.fixture
def brain():
    """A Brain of which the contrast alone is there."""
    brain = PersonalizedBrain.__new__(PersonalizedBrain)
    encoder = EnrollmentEncoder(ConvEmbedding(8), code_size=6).eval()
    brain.modules = SimpleNamespace(model=SimpleNamespace(encoder=encoder))
    brain.hparams = SimpleNamespace(speaker_contrast=SpeakerContrast(0.5))
    return brain


def utterances(*lens):
    lens = torch.tensor(lens)
    return Enrollment(torch.randn(*lens.shape, 21, 8), lens)


def test_codes_of_enrollment_find_those_of_the_queries(brain):
    encoder = brain.modules.model.encoder
    enrollment, queries = utterances([1.0, 1.0], [1.0, 0.5]), utterances([1.0], [1.0])
    codes = [encoder(encoder.summarize(part)) for part in (enrollment, queries)]
    expected = brain.hparams.speaker_contrast(*codes)
    assert brain._contrast(encoder.summarize(enrollment), queries) == expected > 0


def test_silence_is_no_voice_and_who_is_not_heard_is_left_out(brain):
    """A query of length 0 is silence: all that the third speaker asks. The fourth enrolls none."""
    enrollment = utterances([1.0, 1.0], [1.0, 0.5], [1.0, 1.0], [0.0, 0.0])
    queries = utterances([1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0])
    summary = brain.modules.model.encoder.summarize(enrollment)
    noisy = queries._replace(feats=queries.feats.clone())
    noisy.feats[0, 1] = 99.0
    contrast = brain._contrast(summary, queries)
    assert brain._contrast(summary, noisy) == contrast
    two = type(summary)(*(part[:2] for part in summary))
    torch.testing.assert_close(
        contrast, brain._contrast(two, Enrollment(queries.feats[:2], queries.lens[:2]))
    )
