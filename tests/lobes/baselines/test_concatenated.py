"""Concatenation: the code stands in every frame, and is zero without enrollment."""

import pytest
import torch

from vofp_plugin.lobes.baselines.concatenated import ConcatenatedModel
from vofp_plugin.lobes.embeddings import ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.models.ds_cnn import DSCNN


@pytest.fixture
def model():
    encoder = EnrollmentEncoder(ConvEmbedding(8, channels=12), code_size=4)
    main_model = DSCNN(num_classes=5, num_features=12, channels=6, num_blocks=1, kernel_size=3)
    return ConcatenatedModel(main_model, encoder)


def random_enrollment(num_speakers=3, shots=2):
    return Enrollment(torch.randn(num_speakers, shots, 21, 8), torch.ones(num_speakers, shots))


def test_main_model_reads_features_and_the_speakers_code(model):
    model.eval()
    x, codes = torch.randn(6, 21, 8), model.personalize(random_enrollment())
    for n in range(3):
        for item in (2 * n, 2 * n + 1):
            frames = torch.cat([x[item], codes[n].expand(21, 4)], dim=1)
            expected = model.main_model(frames.unsqueeze(0))[0]
            torch.testing.assert_close(model(x, weights=codes)[item], expected)


def test_no_enrollment_gives_zeros(model):
    model.eval()
    x, nothing = torch.randn(4, 21, 8), Enrollment(torch.zeros(2, 0, 21, 8), torch.zeros(2, 0))
    codes = model.personalize(nothing)
    assert torch.equal(codes, torch.zeros(2, 4))
    expected = model.main_model(torch.cat([x, torch.zeros(4, 21, 4)], dim=2))
    torch.testing.assert_close(model(x, weights=codes), expected)
    torch.testing.assert_close(model(x), expected)


def test_every_parameter_gets_a_gradient(model):
    codes, kl = model.train().draw(random_enrollment())
    assert torch.equal(kl, torch.zeros(3))
    model(torch.randn(6, 21, 8), weights=codes)[:, 0].sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
