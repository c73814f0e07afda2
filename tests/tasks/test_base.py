"""What tasks share: the terms of the loss, and which codes the contrast compares."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vofp_plugin.dataio.episodes import Episode
from vofp_plugin.lobes.embeddings import ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.nnet.losses import Elbo, SpeakerContrast
from vofp_plugin.tasks.keywords import KeywordTask


class Model(nn.Module):
    """Answers the same for all, at a divergence of 3 nats."""

    def __init__(self):
        super().__init__()
        self.encoder = EnrollmentEncoder(ConvEmbedding(8), code_size=6).eval()

    def forward(self, feats, lens, weights):
        assert (lens > 0).all(), "silence is asked too"
        return torch.tensor([0.25, 0.75]).log().expand(len(feats), 2)

    def draw(self, enrollment, generator):
        return None, torch.full((len(enrollment.precisions),), 3.0)


TASK = KeywordTask(Elbo(num_data=2, beta=0.5), SpeakerContrast(0.5))


def utterances(*lens):
    lens = torch.tensor(lens)
    return Enrollment(torch.randn(*lens.shape, 21, 8), lens, torch.zeros(lens.shape).long())


def contrast_of(model, enrollment, queries, spoken):
    episode = Episode(enrollment, queries, torch.tensor(spoken))
    return TASK.objective(TASK.predict(model, episode), episode)["contrast"]


def test_codes_of_enrollment_find_those_of_the_queries():
    model = Model()
    enrollment, queries = utterances([1.0, 1.0], [1.0, 0.5]), utterances([1.0], [1.0])
    codes = [model.encoder(model.encoder.summarize(part)) for part in (enrollment, queries)]
    expected = TASK.contrast(*codes)
    assert contrast_of(model, enrollment, queries, [[True], [True]]) == expected > 0


def test_silence_is_no_voice_and_who_is_not_heard_is_left_out():
    """Silence is all that the third speaker asks. The fourth enrolls none."""
    model = Model()
    enrollment = utterances([1.0, 1.0], [1.0, 0.5], [1.0, 1.0], [0.0, 0.0])
    queries = utterances(*[[1.0, 1.0]] * 4)
    spoken = [[True, False], [True, True], [False, False], [True, True]]
    contrast = contrast_of(model, enrollment, queries, spoken)
    queries.feats[0, 1] = 99.0
    assert contrast_of(model, enrollment, queries, spoken) == contrast
    two = (Enrollment(*(part[:2] for part in x)) for x in (enrollment, queries))
    torch.testing.assert_close(contrast, contrast_of(model, *two, spoken[:2]))


def test_loss_is_the_sum_of_its_terms():
    episode = Episode(utterances([1.0], [1.0]), utterances([1.0], [1.0]), torch.ones(2, 1).bool())
    terms = TASK.objective(TASK.predict(Model(), episode), episode)
    assert terms["nll"].item() == pytest.approx(torch.tensor(4.0).log().item())
    bound = terms["nll"] + 0.5 * 3.0 / 2
    torch.testing.assert_close(terms["loss"], bound + terms["contrast"])


def test_contrast_is_refused_for_a_model_without_an_encoder():
    with pytest.raises(ValueError, match="contrast of speakers for a model without an encoder"):
        TASK.check(SimpleNamespace())
