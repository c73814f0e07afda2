"""Takes: whole words pass; what is cut off, doubled or unlike the others is told."""

import pytest
import torch

from vofp_plugin.dataio.takes import CUT_OFF, TWO_WORDS, assess_take, likeness_of_takes

RATE = 16000


def recording(*parts):
    """Noise of so many seconds: positive of speech, negative of silence."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat(
        [
            (1.0 if part > 0 else 0.003) * torch.randn(round(abs(part) * RATE), generator=generator)
            for part in parts
        ]
    )


@pytest.mark.parametrize(
    "parts, reason",
    [
        ((-0.2, 0.5, -0.3), ""),
        ((-0.2, 0.15, -0.3), ""),
        ((-0.3, 3.0, -0.3), ""),
        ((-0.2, 0.3, -0.15, 0.3, -0.2), ""),  # a stop within a word
        ((-0.2, 0.4, -0.1, 0.05, -0.4), ""),  # a click behind it
        ((0.4, -0.5), CUT_OFF),
        ((-0.5, 0.4), CUT_OFF),
        ((-0.2, 0.4, -0.5, 0.4, -0.2), TWO_WORDS),
    ],
)
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_takes(parts, reason, level):
    quality = assess_take(level * recording(*parts), RATE)
    assert quality.reason == reason and (quality.score < 0.5) == bool(reason)


def test_a_click_alone_is_no_whole_word():
    assert assess_take(torch.zeros(0), RATE).reason == CUT_OFF


def test_the_odd_take_is_the_least_like_the_others():
    takes = torch.nn.functional.normalize(torch.eye(4)[[0, 0, 0, 1]] + 0.1, dim=1)
    likeness = likeness_of_takes(takes)
    assert likeness.argmin() == 3 and likeness[3] < 0.5 < likeness[:3].min()
    assert len(likeness_of_takes(takes[:1])) == 0
