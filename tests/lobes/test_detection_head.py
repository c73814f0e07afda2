"""Detection heads: one set of calls, exact updates, calibration and merging."""

import pytest
import torch

from vofp_plugin.lobes.baselines.film_head import FilmHead
from vofp_plugin.lobes.detection_head import AmortizedHead, CosineHead, DetectionHead
from vofp_plugin.lobes.enrollment import Summary
from vofp_plugin.nnet.two_covariance import speaker_weights, with_squares
from vofp_plugin.tasks.det_curve import DetCurve

all_heads = pytest.mark.parametrize("kind", [DetectionHead, CosineHead, AmortizedHead, FilmHead])


def made(kind, num_speakers=3, shots=4):
    """A head with random parameters, and codes (N, K, D) that it made."""
    head = kind(embedding_size=12, code_size=6).eval()
    for parameter in head.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    return head, head.encode(torch.randn(num_speakers * shots, 12)).view(num_speakers, shots, 6)


@all_heads
def test_order_does_not_matter_and_an_utterance_is_added_exactly(kind):
    head, codes = made(kind)
    whole, parts = head.summarize(codes.flip(1)), head.summarize(codes[:, :3])
    added = head.summarize(codes[:, 3:])
    for one, part, more in zip(whole, parts, added, strict=True):
        torch.testing.assert_close(one, part + more)


@all_heads
def test_absent_utterances_are_not_heard(kind):
    head, codes = made(kind)
    present = torch.tensor([[1, 1, 0, 0]] * 3).bool()
    few, masked = head.summarize(codes[:, :2]), head.summarize(codes, present)
    for name, weight in head.weights(few).items():
        torch.testing.assert_close(weight, head.weights(masked)[name])


@all_heads
def test_no_enrollment_rejects_nobody(kind):
    head, codes = made(kind)
    head.calibrate(2.0, -3.0)
    nobody = head.summarize(codes[:, :0])
    assert not head.all_pairs(codes.flatten(0, 1), head.weights(nobody)).any()
    assert not head(codes.flatten(0, 1)).any()


@all_heads
def test_all_pairs_are_the_scores_one_by_one(kind):
    head, codes = made(kind)
    weights, queries = head.weights(head.summarize(codes)), torch.randn(5, 6)
    pairs = head.all_pairs(queries, weights)
    for n in range(3):
        own = {name: weight[n : n + 1] for name, weight in weights.items()}
        torch.testing.assert_close(head(queries, own), pairs[n])
    torch.testing.assert_close(head(queries.repeat(3, 1), weights), pairs.flatten())


@all_heads
def test_merged_layer_is_plain_and_answers_alike(kind):
    head, codes = made(kind)
    weights, queries = head.weights(head.summarize(codes[:1])), torch.randn(5, 6)
    layer = head.merge(weights)
    plain = (torch.nn.Linear, torch.nn.ReLU, torch.nn.Sequential)
    assert {type(part) for part in layer.modules()} <= set(plain)
    torch.testing.assert_close(layer(head.inputs(queries))[:, 0], head(queries, weights))
    with pytest.raises(ValueError, match="3 speakers to merge"):
        head.merge(head.weights(head.summarize(codes)))


@all_heads
def test_calibration_scales_and_shifts_and_is_stored(kind):
    head, codes = made(kind)
    summary, queries = head.summarize(codes), torch.randn(5, 6)
    before = head.all_pairs(queries, head.weights(summary))
    head.calibrate(2.0, 1.0)
    head.calibrate(0.5, -3.0)
    other, _ = made(kind)
    other.load_state_dict(head.state_dict())
    after = other.all_pairs(queries, other.weights(summary))
    torch.testing.assert_close(after, 0.5 * (2 * before + 1) - 3)
    with pytest.raises(ValueError, match="scale -1"):
        head.calibrate(-1.0, 0.0)


@all_heads
def test_training_reaches_every_parameter(kind):
    head, _ = made(kind)
    codes = head.train().encode(torch.randn(12, 12)).view(3, 4, 6)
    weights, kl = head.draw(head.summarize(codes[:, :2]))
    (head.all_pairs(codes.flatten(0, 1), weights).square().sum() + kl.sum()).backward()
    missing = [n for n, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_weights_are_those_of_the_two_covariance_model():
    head, codes = made(DetectionHead)
    scale, precision = head.log_scale.exp(), head.log_precision.exp()
    exact = speaker_weights(scale * codes.sum(1), torch.full((3, 1), 4.0), precision)
    queries = torch.randn(5, 6)
    expected = with_squares(scale * queries) @ exact["weight"][:, 0].T + exact["bias"].T
    pairs = head.all_pairs(queries, head.weights(head.summarize(codes)))
    torch.testing.assert_close(pairs, head.scale * expected.T, rtol=1e-4, atol=1e-4)


def test_more_utterances_tell_more_and_one_threshold_serves_all_k():
    """Of speakers whose utterances differ as much as they do, some of them twice as much."""
    speakers, spread = torch.randn(60, 1, 16), 0.8 + 0.8 * torch.rand(60, 1, 1)
    codes = torch.nn.functional.normalize(speakers + spread * torch.randn(60, 8, 16), dim=2)
    own = torch.eye(60).bool().repeat_interleave(3, dim=1)

    def errors(head):
        """Of K = 1, 3, 5, and of all of these together."""
        summaries = [head.summarize(codes[:, :shots]) for shots in (1, 3, 5)]
        scores = [head.all_pairs(codes[:, 5:].flatten(0, 1), head.weights(x)) for x in summaries]
        sets = [[one] for one in scores] + [scores]
        return [
            DetCurve.of(torch.cat(x).flatten(), own.repeat(len(x), 1).flatten()).equal_error()[0]
            for x in sets
        ]

    with torch.no_grad():
        head, cosine = (
            errors(kind(embedding_size=12, code_size=16)) for kind in (DetectionHead, CosineHead)
        )
    assert head[0] > head[1] > head[2]
    assert head[3] < cosine[3], "the width of the posterior is what one threshold needs"


def test_cosine_head_scores_the_cosine_to_the_mean():
    head, codes = made(CosineHead)
    query = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    score = head(query, head.weights(head.summarize(codes)))
    cosine = torch.cosine_similarity(query, codes.sum(1))
    torch.testing.assert_close(score, head.log_scale.exp() * cosine)


def test_amortized_head_draws_other_weights_every_time_and_pays_for_them():
    head, codes = made(AmortizedHead)
    summary = head.summarize(codes)
    (one, kl), (other, _) = head.draw(summary), head.draw(summary)
    assert (kl > 0).all() and not torch.equal(one["weight"], other["weight"])
    nobody = Summary(torch.zeros(2, 6), torch.zeros(2, 1))
    weights, kl = head.draw(nobody)
    assert not kl.any() and not weights["weight"].any()
