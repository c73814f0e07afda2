"""The frame-wise main model."""

import torch

from vofp_plugin.lobes.models.frame_cnn import FrameCNN


def test_no_frame_sees_a_later_one():
    model, x = FrameCNN(num_classes=2, num_features=8).eval(), torch.randn(2, 50, 8)
    later = x.clone()
    later[:, 30:] = torch.randn(2, 20, 8)
    before, after = model(x), model(later)
    torch.testing.assert_close(before[:, :30], after[:, :30])
    assert not torch.allclose(before[:, 30:], after[:, 30:])
