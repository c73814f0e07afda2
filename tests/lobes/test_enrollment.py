"""Enrollment encoder: what changes a speaker's code and what must not."""

import pytest
import torch
import torch.nn.functional as F
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.lobes.models.Xvector import Xvector
from torch import nn

from vofp_plugin.lobes.embeddings import ConvEmbedding, frame_mask, mean_and_std
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder, Summary

CODE_SIZE = 6
each_aggregation = pytest.mark.parametrize("aggregation", ["mean", "bayesian"])


def make_encoder(aggregation="mean", **settings):
    return EnrollmentEncoder(
        ConvEmbedding(8, channels=12, lin_neurons=10),
        embedding_size=10,
        code_size=CODE_SIZE,
        aggregation=aggregation,
        **settings,
    ).eval()


def random_enrollment(num_speakers=2, shots=3, num_frames=31):
    """Features in dB, each speaker with a sound."""
    sound = 15 * torch.randn(num_speakers, 1, 1, 8)
    feats = sound + 5 * torch.randn(num_speakers, shots, num_frames, 8) - 40
    return Enrollment(feats, torch.ones(num_speakers, shots))


def encode(encoder, enrollment):
    with torch.no_grad():
        return encoder(encoder.summarize(enrollment))


def pad_frames(enrollment, num_frames):
    """The same utterances with frames of something else behind them."""
    before = enrollment.feats.shape[2]
    rest = 100 * torch.randn(*enrollment.feats.shape[:2], num_frames - before, 8)
    feats = torch.cat([enrollment.feats, rest], dim=2)
    return Enrollment(feats, enrollment.lens * before / num_frames, enrollment.labels)


def pad_shots(enrollment, shots):
    """The same utterances with absent ones before and behind them."""
    missing = shots - enrollment.lens.shape[1]
    feats = F.pad(enrollment.feats, (0, 0, 0, 0, 1, missing - 1), value=7.0)
    return Enrollment(feats, F.pad(enrollment.lens, (1, missing - 1)))


@each_aggregation
def test_order_of_the_utterances_changes_nothing(aggregation):
    encoder, enrollment = make_encoder(aggregation), random_enrollment(shots=4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Enrollment(enrollment.feats[:, order], enrollment.lens[:, order])
    expected = encode(encoder, enrollment)
    torch.testing.assert_close(encode(encoder, shuffled), expected, rtol=0, atol=1e-5)


@each_aggregation
@pytest.mark.parametrize("num_frames", [32, 33, 50, 101])
def test_padding_in_frames_changes_nothing(aggregation, num_frames):
    encoder, enrollment = make_encoder(aggregation), random_enrollment()
    padded = pad_frames(enrollment, num_frames)
    expected = encode(encoder, enrollment)
    torch.testing.assert_close(encode(encoder, padded), expected, rtol=0, atol=1e-5)


@each_aggregation
def test_padding_in_absent_shots_changes_nothing(aggregation):
    encoder, enrollment = make_encoder(aggregation), random_enrollment()
    padded = pad_shots(enrollment, 6)
    expected = encode(encoder, enrollment)
    torch.testing.assert_close(encode(encoder, padded), expected, rtol=0, atol=1e-5)


@each_aggregation
def test_speakers_with_different_numbers_of_utterances_share_a_batch(aggregation):
    encoder, enrollment = make_encoder(aggregation), random_enrollment(num_speakers=3, shots=4)
    enrollment.lens[0, 1:], enrollment.lens[1] = 0, 0
    together = encode(encoder, enrollment)
    alone = encode(encoder, Enrollment(enrollment.feats[:1, :1], enrollment.lens[:1, :1]))
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-5)
    assert not together[1].any() and together[2].any()
    assert enrollment.present.tolist() == [True, False, True]
    assert encoder.summarize(enrollment).present.tolist() == [True, False, True]


def test_length_counts_the_frames_that_are_heard():
    encoder, enrollment = make_encoder(), random_enrollment(num_frames=40)
    half = Enrollment(enrollment.feats, enrollment.lens / 2)
    cut = Enrollment(enrollment.feats[:, :, :20], enrollment.lens)
    torch.testing.assert_close(encode(encoder, half), encode(encoder, cut), rtol=0, atol=1e-5)
    assert (encode(encoder, half) - encode(encoder, enrollment)).abs().max() > 1e-3


@each_aggregation
def test_speakers_have_codes_of_their_own(aggregation):
    encoder, enrollment = make_encoder(aggregation), random_enrollment(num_speakers=3)
    code = encode(encoder, enrollment)
    assert code.shape == (3, CODE_SIZE)
    assert (code[0] - code[1]).abs().max() > 0.01
    changed = Enrollment(enrollment.feats.clone(), enrollment.lens)
    changed.feats[1] += torch.randn(8)
    torch.testing.assert_close(encode(encoder, changed)[[0, 2]], code[[0, 2]], rtol=0, atol=1e-6)


@each_aggregation
def test_no_enrollment_gives_zeros(aggregation):
    encoder = make_encoder(aggregation)
    nn.init.normal_(encoder.code_norm.bias)
    enrollment = Enrollment(torch.zeros(2, 0, 31, 8), torch.zeros(2, 0))
    summary = encoder.summarize(enrollment)
    assert torch.equal(encode(encoder, enrollment), torch.zeros(2, CODE_SIZE))
    assert summary.present.tolist() == enrollment.present.tolist() == [False, False]
    absent = Enrollment(torch.randn(2, 3, 31, 8), torch.zeros(2, 3))
    assert torch.equal(encode(encoder, absent), torch.zeros(2, CODE_SIZE))


@each_aggregation
def test_summaries_add_up(aggregation):
    encoder, enrollment = make_encoder(aggregation), random_enrollment(shots=5)
    parts = [
        encoder.summarize(Enrollment(enrollment.feats[:, shots], enrollment.lens[:, shots]))
        for shots in (slice(2), slice(2, None))
    ]
    added = Summary(*(a + b for a, b in zip(*parts, strict=True)))
    torch.testing.assert_close(added, encoder.summarize(enrollment))
    torch.testing.assert_close(encoder(added), encoder(encoder.summarize(enrollment)))
    assert added.values.shape == (2, CODE_SIZE) and added.precisions.shape == (2, 1)


def test_bayesian_precision_grows_with_every_utterance():
    encoder, enrollment = make_encoder("bayesian"), random_enrollment(shots=5)
    precisions = torch.stack(
        [
            encoder.summarize(Enrollment(enrollment.feats[:, :k], enrollment.lens[:, :k]))[1]
            for k in range(6)
        ]
    )
    assert (precisions.diff(dim=0) > 0).all()


def test_mean_precision_counts_the_utterances():
    encoder, enrollment = make_encoder("mean"), random_enrollment(shots=4)
    enrollment.lens[0, 2:] = 0
    expected = torch.tensor([[2.0], [4.0]])
    torch.testing.assert_close(encoder.summarize(enrollment).precisions, expected)


@each_aggregation
def test_code_is_the_mean_of_the_utterances_by_their_precision(aggregation):
    """A model that hands on its first frame shows what becomes of values and precisions."""
    encoder = make_encoder(aggregation)
    encoder.embedding_model = Frames()
    encoder.factor, encoder.code_norm = nn.Identity(), nn.Identity()
    values, raw = torch.randn(2, 3, CODE_SIZE), torch.randn(2, 3, 1)
    frames = torch.cat([values, raw], dim=-1) if aggregation == "bayesian" else values
    precisions, prior = (F.softplus(raw), 1) if aggregation == "bayesian" else (raw * 0 + 1, 0)
    expected = (values * precisions).sum(1) / (precisions.sum(1) + prior)
    code = encode(encoder, Enrollment(frames.unsqueeze(2), torch.ones(2, 3)))
    torch.testing.assert_close(code, expected)


class Frames(nn.Module):
    """Embedding of an utterance: its first frame."""

    def forward(self, feats, lens):
        return feats[:, :1]


@each_aggregation
def test_labels_change_the_code(aggregation):
    encoder = make_encoder(aggregation, words="told", num_classes=4)
    feats, lens = random_enrollment()[:2]
    codes = [
        encode(encoder, Enrollment(feats, lens, torch.tensor(labels)))
        for labels in ([[0, 1, 2], [0, 1, 2]], [[0, 1, 2], [3, 1, 2]])
    ]
    torch.testing.assert_close(codes[0][0], codes[1][0])
    assert (codes[0][1] - codes[1][1]).abs().max() > 1e-3


def test_label_belongs_to_its_utterance():
    encoder = make_encoder(words="told", num_classes=4)
    feats, lens = random_enrollment()[:2]
    labels, order = torch.tensor([[0, 1, 2], [3, 1, 0]]), torch.tensor([2, 0, 1])
    expected = encode(encoder, Enrollment(feats, lens, labels))
    both = encode(encoder, Enrollment(feats[:, order], lens, labels[:, order].int()))
    labels_alone = encode(encoder, Enrollment(feats, lens, labels[:, order]))
    torch.testing.assert_close(both, expected, rtol=0, atol=1e-5)
    assert (labels_alone - expected).abs().max() > 1e-3


class Answers(nn.Module):
    """Embedding of an utterance: its first frame, 5 numbers and the answer's probabilities."""

    size, num_answers = 5, 3

    def forward(self, feats, lens):
        return feats[:, :1]


@each_aggregation
def test_word_heard_for_certain_is_as_the_word_told(aggregation):
    heard, told = (
        EnrollmentEncoder(Answers(), None, CODE_SIZE, aggregation, words, num_classes=3)
        for words in ("heard", "told")
    )
    told.load_state_dict(heard.state_dict())
    feats, labels = torch.randn(2, 3, 4, 8), torch.tensor([[0, 1, 2], [2, 2, 1]])
    feats[..., 5:] = nn.functional.one_hot(labels, 3).unsqueeze(2).float()
    enrollment = Enrollment(feats, torch.ones(2, 3), labels)
    torch.testing.assert_close(encode(heard, enrollment), encode(told, enrollment))
    ignoring = EnrollmentEncoder(Answers(), None, CODE_SIZE, aggregation)
    ignoring.load_state_dict(heard.state_dict(), strict=False)
    difference = encode(heard, enrollment) - encode(ignoring, enrollment)
    assert difference.abs().max() > 1e-3


def test_word_heard_in_doubt_lies_between():
    encoder = EnrollmentEncoder(Answers(), None, CODE_SIZE, words="heard").eval()
    feats = torch.randn(1, 1, 1, 8).repeat(3, 1, 1, 1)
    feats[..., 5:] = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.25, 0.75, 0]])[:, None, None]
    values = encoder.summarize(Enrollment(feats, torch.ones(3, 1))).values
    torch.testing.assert_close(values[2], 0.25 * values[0] + 0.75 * values[1])


def test_missing_labels_are_refused():
    encoder = make_encoder(words="told", num_classes=4)
    with pytest.raises(ValueError, match="without labels; .* made to read it with them"):
        encoder.summarize(random_enrollment())


def test_labels_for_an_encoder_that_reads_none_change_nothing():
    enrollment = random_enrollment()
    labelled = enrollment._replace(labels=torch.zeros(2, 3, dtype=torch.long))
    encoder = make_encoder()
    torch.testing.assert_close(encode(encoder, labelled), encode(encoder, enrollment))


def test_summary_is_summarized_to_itself():
    summary = Summary(torch.rand(2, 8), torch.rand(2, 1))
    assert make_encoder().summarize(summary) is summary


def test_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="Got aggregation 'max'; expected 'mean' or 'bayesian'"):
        make_encoder("max")


@pytest.mark.parametrize(
    "words, message",
    [
        ("read", "Got words 'read'; expected 'heard', 'told' or 'ignored'"),
        ("heard", "Got words 'heard' for ConvEmbedding, .*expected ActivationEmbedding"),
    ],
)
def test_words_that_cannot_be_had_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(words=words)


def test_words_told_need_classes():
    with pytest.raises(ValueError, match="Got num_classes 0; .* to read labels"):
        make_encoder(words="told")


@pytest.mark.parametrize(
    "kernel_sizes, strides", [((5, 3), (2, 1, 1)), ((5, 3), (2,)), ((5, 4), (2, 1))]
)
def test_convolutions_with_even_kernels_or_without_a_stride_are_refused(kernel_sizes, strides):
    with pytest.raises(ValueError, match="expected odd kernel sizes and as many strides"):
        ConvEmbedding(8, kernel_sizes=kernel_sizes, strides=strides)


SPEECHBRAIN_MODELS = {
    "xvector": lambda: Xvector(
        device="cpu",
        tdnn_blocks=3,
        tdnn_channels=[8, 8, 16],
        tdnn_kernel_sizes=[3, 3, 1],
        tdnn_dilations=[1, 2, 1],
        lin_neurons=10,
        in_channels=8,
    ),
    "ecapa": lambda: ECAPA_TDNN(
        8,
        lin_neurons=10,
        channels=[8, 8, 8, 8, 24],
        attention_channels=4,
        res2net_scale=2,
        se_channels=4,
    ),
}


@each_aggregation
@pytest.mark.parametrize("lens_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", SPEECHBRAIN_MODELS)
def test_speechbrain_embedding_models_plug_in(model, lens_dtype, aggregation):
    """SpeechBrain's PaddedBatch makes 64-bit lengths of the numbers of a manifest."""
    encoder = EnrollmentEncoder(
        SPEECHBRAIN_MODELS[model](), embedding_size=10, code_size=6, aggregation=aggregation
    ).eval()
    enrollment = random_enrollment()
    lens = torch.tensor([[1.0, 0.5, 0.8], [1.0, 0.0, 0.0]], dtype=lens_dtype)
    code = encode(encoder, Enrollment(enrollment.feats, lens))
    assert code.shape == (2, 6) and code.dtype == torch.float32 and code.isfinite().all()
    # Their pooling adds noise even in evaluation, hence the tolerance.
    alone = encode(encoder, Enrollment(enrollment.feats[1:, :1], lens[1:, :1]))
    torch.testing.assert_close(code[1:], alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("model", SPEECHBRAIN_MODELS)
def test_speechbrain_embedding_models_are_trained(model):
    encoder = EnrollmentEncoder(SPEECHBRAIN_MODELS[model](), embedding_size=10, code_size=6)
    code = encoder(encoder.summarize(random_enrollment()))
    (code * torch.randn_like(code)).sum().backward()
    assert any(p.grad.any() for p in encoder.embedding_model.parameters() if p.grad is not None)


def test_frame_mask():
    mask = frame_mask(torch.tensor([1, 3]), torch.zeros(2, 3, 5))
    assert mask.squeeze(-1).tolist() == [[True, False, False], [True] * 3]


def test_mean_and_std_are_those_of_the_masked_frames():
    x, mask = torch.randn(2, 7, 3), frame_mask(torch.tensor([4, 7]), torch.zeros(2, 7, 3))
    expected = torch.cat([x[0, :4].mean(0), x[0, :4].std(0, correction=0)])
    torch.testing.assert_close(mean_and_std(x, mask)[0], expected, rtol=1e-4, atol=1e-4)


def test_short_utterance_keeps_one_frame():
    embedding = ConvEmbedding(8, channels=12, lin_neurons=10)
    out = embedding(torch.randn(2, 31, 8), torch.tensor([0.001, 1.0]))
    assert out.shape == (2, 1, 10) and out.isfinite().all()


@pytest.mark.parametrize(
    ("feats", "lens", "message"),
    [
        (torch.rand(3, 11, 8), torch.ones(3), r"feats of shape \(3, 11, 8\) .* expected \(speak"),
        (torch.rand(1, 3, 11, 8), torch.ones(1, 2), r"lens of shape \(1, 2\); expected"),
        (
            torch.rand(1, 3, 11, 8),
            torch.full((1, 3), 11.0),
            "lens from 11 to 11; expected relative",
        ),
        (torch.rand(1, 3, 11, 8), -torch.ones(1, 3), "lens from -1 to -1; expected relative"),
        (torch.full((1, 3, 11, 8), torch.nan), torch.ones(1, 3), "NaN or infinite; leave that"),
    ],
)
@pytest.mark.parametrize("aggregation", ["mean", "bayesian"])
def test_what_is_no_enrollment_is_refused(aggregation, feats, lens, message):
    encoder = EnrollmentEncoder(ConvEmbedding(8), aggregation=aggregation)
    with pytest.raises(ValueError, match=message):
        encoder.summarize(Enrollment(feats, lens))


def test_features_of_absent_utterances_may_be_anything():
    feats = torch.rand(1, 2, 11, 8)
    feats[:, 1] = torch.nan
    encoder = EnrollmentEncoder(ConvEmbedding(8)).eval()
    summary = encoder.summarize(Enrollment(feats, torch.tensor([[1.0, 0.0]])))
    assert encoder(summary).isfinite().all()


@pytest.mark.parametrize("labels", [torch.tensor([[0, 5]]), torch.tensor([0, 1])])
def test_labels_that_do_not_fit_are_refused(labels):
    encoder = EnrollmentEncoder(ConvEmbedding(8), words="told", num_classes=5)
    with pytest.raises(ValueError, match="labels of shape .* expected .*from 0 to 4"):
        encoder.summarize(Enrollment(torch.rand(1, 2, 11, 8), torch.ones(1, 2), labels))


def test_no_enrollment_is_a_code_of_zeros_in_half_precision_too():
    encoder = EnrollmentEncoder(ConvEmbedding(8)).half()
    assert (encoder(Summary(torch.zeros(1, 32).half(), torch.zeros(1, 1).half())) == 0).all()
