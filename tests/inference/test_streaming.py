"""A stream is answered as its windows are, in chunks of any lengths, and tells events."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import torch
from spotters import AlwaysYes, random_spotter, spotter_of
from voices import RATE, utter

from vofp_plugin.inference.streaming import Heard, StreamingSpotter
from vofp_plugin.lobes.decision import Decision, OperatingPoint
from vofp_plugin.lobes.soft_and import SoftAnd


@pytest.fixture(scope="module")
def always_yes():
    return spotter_of(AlwaysYes())


def quiet(seconds):
    return 0.0005 * torch.randn(round(seconds * RATE))


def in_chunks(wav, shortest, longest):
    """Chunks of random lengths, in samples."""
    generator = torch.Generator().manual_seed(0)
    while len(wav):
        size = int(torch.randint(shortest, longest + 1, (), generator=generator))
        yield wav[:size]
        wav = wav[size:]


@pytest.mark.parametrize("shortest, longest", [(1000, 5000), (160, 160), (40000, 80000)])
def test_windows_are_answered_as_in_a_batch(shortest, longest):
    spotter = random_spotter()
    profile = spotter.enroll([utter(take=1), utter(take=2)])
    stream = torch.cat([utter(), quiet(0.3), utter(150.0), quiet(0.07)])
    streaming = StreamingSpotter(spotter, profile, hop=0.25)
    windows = list(streaming.windows(in_chunks(stream, shortest, longest)))
    starts = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    assert [start for start, *_ in windows] == starts
    clips = [stream[round(s * RATE) :][:RATE] for s in starts]
    assert all(torch.equal(clip, own) for (_, own, _), clip in zip(windows, clips, strict=True))
    expected = spotter.answer(clips, profiles=profile)
    got = torch.stack([log_probs for *_, log_probs in windows])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "seconds, starts",
    [(0.4, [0.0]), (1.0, [0.0]), (1.1, [0.0, 0.5]), (1.5, [0.0, 0.5]), (0.05, []), (0.0, [])],
)
def test_the_end_of_a_stream_is_a_last_window(always_yes, seconds, starts):
    streaming = StreamingSpotter(always_yes, hop=0.5)
    windows = list(streaming.windows([quiet(seconds)]))
    assert [start for start, *_ in windows] == starts
    assert not windows or windows[-1][0] + len(windows[-1][1]) / RATE == seconds


def test_speech_is_an_event_and_silence_is_none(always_yes):
    stream = torch.cat([quiet(1.5), utter(), quiet(2), utter(take=1), quiet(1)])
    streaming = StreamingSpotter(always_yes, speaker="anna")
    events = list(streaming.listen(in_chunks(stream, 100, 3000)))
    assert len(events) == 2
    for event, start in zip(events, (1.5, 4.5), strict=True):
        assert event.start < start + 0.75 and event.end > start + 0.25  # where the syllable is
        assert event.end - event.start == pytest.approx(1.0)
        assert (event.word, event.speaker) == ("yes", "anna") and 0.5 <= event.score <= 0.91
    assert json.loads(events[0].to_json()) == events[0]._asdict()


def test_a_stream_that_ends_within_a_word_tells_it(always_yes):
    stream = torch.cat([quiet(1.5), utter()[: RATE // 2]])
    (event,) = StreamingSpotter(always_yes, hop=0.4, smoothing=1).listen([stream])
    assert event.end == pytest.approx(2.0)


def test_refractory_time_and_ignored_words(always_yes):
    stream = torch.cat([quiet(1), utter(), quiet(0.7), utter(take=1), quiet(1)])

    def count(**settings):
        return len(
            list(StreamingSpotter(always_yes, hop=0.2, smoothing=1, **settings).listen([stream]))
        )

    assert count(refractory=0) == 2 and count(refractory=3) == 1
    assert count(ignored=["yes"]) == count(threshold=0.95) == 0


def test_smoothing_waits_for_more_windows(always_yes):
    stream = torch.cat([quiet(1), utter(), quiet(1)])
    (first,), (later,) = (
        StreamingSpotter(always_yes, smoothing=n).listen([stream]) for n in (1, 5)
    )
    assert first.start < later.start and later.score <= first.score


def test_a_word_is_told_where_it_is_likeliest(always_yes):
    """Of its beginning alone, another word may be likely."""
    rows = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0], [0.1, 0.2, 0.1]]
    heard = [
        Heard(0.1 * place, 1 + 0.1 * place, True, torch.tensor(row))
        for place, row in enumerate(rows)
    ]
    (event,) = StreamingSpotter(always_yes, threshold=0.5).events(heard)
    assert (event.word, event.start, event.score) == ("yes", 0.2, 0.9)
    (event,) = StreamingSpotter(always_yes, threshold=0.5).events(heard[:3])
    assert event.word == "yes", "where the stream ends"


def test_silence_is_not_asked():
    spotter = spotter_of(AlwaysYes())
    with patch.object(spotter, "answer", wraps=spotter.answer) as answer:
        assert list(StreamingSpotter(spotter, hop=0.5).listen([quiet(3)])) == []
    answer.assert_not_called()


def test_the_threshold_is_that_of_the_model():
    decision = Decision(SoftAnd(1), 0.0, [OperatingPoint(0.01, 5.0, 0.5)])
    spotter = spotter_of(AlwaysYes(), decision=decision)
    assert StreamingSpotter(spotter).threshold == 0.5
    assert spotter.probability_at(0.01) == pytest.approx(0.9933, abs=1e-4)
    with pytest.raises(ValueError, match="Got far 0.2"):
        spotter.probability_at(0.2)


def test_chunks_may_be_arrays_and_empty(always_yes):
    chunks = [np.zeros(0, np.float32), utter().numpy(), np.zeros(0, np.float32)]
    (event,) = StreamingSpotter(always_yes).listen(chunks)
    assert event.start == 0


@pytest.mark.parametrize(
    "chunk, error, message",
    [
        (torch.zeros(2, 100), TypeError, r"shape \(2, 100\)"),
        (torch.zeros(100).short(), TypeError, "torch.int16"),
        (torch.full((RATE,), torch.nan), ValueError, "holds NaN"),
    ],
)
def test_what_is_no_audio_is_refused(always_yes, chunk, error, message):
    with pytest.raises(error, match=message):
        list(StreamingSpotter(always_yes).listen([chunk]))


@pytest.mark.parametrize(
    "settings", [{"hop": 0}, {"hop": 1.1}, {"threshold": 0}, {"smoothing": 0}, {"ignored": ["go"]}]
)
def test_settings_out_of_range_are_refused(always_yes, settings):
    with pytest.raises(ValueError, match="[Gg]ot"):
        StreamingSpotter(always_yes, **settings)


def test_little_of_a_long_stream_is_held(always_yes):
    """By windows, whose samples would keep those of a longer tensor alive."""
    streaming = StreamingSpotter(always_yes, hop=0.5)
    for _, clip, _ in streaming.windows(quiet(1) for _ in range(20)):
        assert clip.untyped_storage().nbytes() <= 2 * 4 * RATE
