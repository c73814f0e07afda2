"""The loudest window of a recording holds the word."""

import pytest
import torch

from vofp_plugin.dataio.window import loudest_window

RATE = 16000


def word_at(start, length=3 * RATE):
    """A word of 0.5 s in a quiet room."""
    wav = 0.001 * torch.randn(length)
    wav[start : start + RATE // 2] += 0.1 * torch.randn(RATE // 2)
    return wav


def start_of(wav, length=RATE):
    """Where the window of a waveform starts, by its first samples."""
    (window,) = loudest_window(wav.unsqueeze(0), length, RATE)
    (places,) = (wav.unfold(0, 8, 1) == window[:8]).all(dim=1).nonzero(as_tuple=True)
    return places[0].item()


@pytest.mark.parametrize("place", [0, 5000, 20000, 40000])
def test_word_is_found_wherever_it_is(place):
    start = start_of(word_at(place))
    assert start <= place and place + RATE // 2 <= start + RATE


def test_click_and_offset_do_not_hide_the_word():
    wav = word_at(30000) + 0.2
    wav[5000:5050] += 1.0
    assert 22000 <= start_of(wav) <= 30000


def test_place_of_the_word_does_not_depend_on_level():
    wav = word_at(20000)
    assert start_of(wav) == start_of(0.001 * wav)


def test_every_waveform_of_a_batch_has_its_own_window():
    wavs = torch.stack([word_at(5000), word_at(30000)])
    single = [loudest_window(wav.unsqueeze(0), RATE, RATE) for wav in wavs]
    assert torch.equal(loudest_window(wavs, RATE, RATE), torch.cat(single))


@pytest.mark.parametrize("length, start", [(RATE, 0), (RATE + 50, 25), (2 * RATE, RATE // 2)])
def test_clip_without_a_loudest_place_is_read_in_its_middle(length, start):
    assert start_of(1e-30 * torch.arange(length)) == start  # whose power is 0


def test_short_clips_are_followed_by_zeros():
    assert loudest_window(torch.ones(1, 3), 5, 4).tolist() == [[1, 1, 1, 0, 0]]
