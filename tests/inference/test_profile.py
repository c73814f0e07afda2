"""The profile of a speaker: enrolled at once or bit by bit, stored, read, refused."""

import hashlib
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from speechbrain.lobes.features import Fbank
from torch import nn
from voices import RATE, utter

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.profile import enroll, load_profile
from vofp_plugin.lobes.embeddings import ConvEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel


def make_model(seed=0, code_size=8, words="ignored"):
    """A model to which the enrollment makes a difference."""
    torch.manual_seed(seed)
    main_model = DSCNN(num_classes=5, channels=6, num_blocks=1)
    personalizer = HyperPersonalizer(main_model, {"*": "channel"}, code_size)
    nn.init.normal_(personalizer.mean.weight, std=0.1)
    encoder = EnrollmentEncoder(
        ConvEmbedding(40, channels=12),
        code_size=code_size,
        aggregation="bayesian",
        words=words,
        num_classes=5,
    )
    return PersonalizedModel(main_model, encoder, personalizer).eval()


@pytest.fixture
def model():
    return make_model()


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd(Fbank(n_mels=40))


@pytest.fixture
def wavs():
    return [utter(take=take) for take in range(3)]


@pytest.fixture
def warnings(caplog):
    """Function that gives the warnings so far."""
    return lambda: [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def assert_equal_weights(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name in first:
        # As tensors, which factored weights stand for.
        torch.testing.assert_close(first[name].clone(), second[name].clone(), **tolerance)


def test_weights_are_those_of_the_enrollment(model, front_end, wavs):
    profile = enroll(model, front_end, wavs)
    feats = front_end(torch.stack(wavs)).unsqueeze(0)
    expected = model.personalize(Enrollment(feats, torch.ones(1, 3)))
    assert_equal_weights(profile.weights(model), expected, rtol=1e-4, atol=1e-5)
    assert profile.num_used == 3 and profile.quality.reason == ""


def test_weights_run_and_merge(model, front_end, wavs):
    weights = enroll(model, front_end, wavs).weights(model)
    queries = torch.randn(4, 101, 40)
    torch.testing.assert_close(model.merge(weights)(queries), model(queries, weights=weights))
    assert (model(queries, weights=weights) - model(queries)).abs().max() > 1e-3


def test_adding_later_is_enrolling_at_once(model, front_end, wavs):
    wavs.insert(1, torch.zeros(RATE))
    together = enroll(model, front_end, wavs)
    later = enroll(model, front_end, wavs[:2]).add(model, front_end, wavs[2:])
    assert later.qualities == together.qualities and later.quality == together.quality
    assert all(map(torch.equal, later.summary, together.summary))


def test_adding_leaves_the_old_profile_alone(model, front_end, wavs):
    profile = enroll(model, front_end, wavs[:1])
    before = profile.weights(model)
    profile.add(model, front_end, wavs[1:])
    assert profile.num_used == len(profile.qualities) == 1
    assert_equal_weights(profile.weights(model), before, rtol=0, atol=0)


def test_bad_utterances_are_left_out_and_told(model, front_end, wavs, warnings):
    offered = [torch.zeros(RATE), wavs[0], 0.1 * torch.randn(RATE), wavs[1]]
    profile = enroll(model, front_end, offered)
    assert [quality.reason for quality in profile.qualities] == ["silence", "", "noise only", ""]
    assert profile.num_used == 2
    assert profile.quality.reason == "silence (1 of 4), noise only (1 of 4)"
    assert profile.quality.score < 0.6
    expected = enroll(model, front_end, wavs[:2]).weights(model)
    assert_equal_weights(profile.weights(model), expected, rtol=0, atol=0)
    assert warnings()[:2] == [
        "Left out utterance 1: silence.",
        "Left out utterance 3: noise only.",
    ]


def test_clipped_utterance_is_used_and_told_and_a_badly_clipped_one_left_out(
    model, front_end, wavs, warnings
):
    clipped = [(gain * wavs[0]).clamp(-1, 1) for gain in (10, 50)]
    profile = enroll(model, front_end, clipped)
    assert profile.num_used == 1
    assert profile.quality.reason == "clipped (1 of 2), badly clipped (1 of 2)"
    assert profile.quality.score < 0.5
    assert warnings() == [
        "Left out utterance 2: badly clipped.",
        "Enrollment: clipped (1 of 2), badly clipped (1 of 2).",
    ]


def test_two_speakers_are_told(model, front_end, wavs, warnings):
    strangers = [utter(230.0, 1.3, take) for take in range(2)]
    profile = enroll(model, front_end, wavs[:2]).add(model, front_end, strangers)
    assert (
        profile.quality.reason == "two speakers or two microphones" and profile.quality.score < 0.5
    )
    assert warnings() == ["Enrollment: two speakers or two microphones."]


def test_nothing_usable_is_no_enrollment(model, front_end, warnings):
    profile = enroll(model, front_end, [torch.zeros(RATE), torch.zeros(RATE // 2)])
    assert profile.num_used == 0
    assert profile.quality == (0.0, "nothing usable: silence")
    assert warnings()[-1] == "Enrollment: nothing usable: silence."
    nobody = Enrollment(torch.zeros(1, 1, 101, 40), torch.zeros(1, 1))
    assert_equal_weights(profile.weights(model), model.personalize(nobody), rtol=0, atol=0)


def test_short_and_long_clips_enroll(model, front_end, wavs):
    profile = enroll(model, front_end, [wavs[0][3000:13000], torch.cat(wavs)])
    assert profile.num_used == 2


def test_labels_are_read(front_end, wavs):
    model = make_model(words="told")
    first, second = (enroll(model, front_end, wavs, [label] * 3) for label in (1, 2))
    feats = front_end(torch.stack(wavs)).unsqueeze(0)
    enrollment = Enrollment(feats, torch.ones(1, 3), torch.ones(1, 3).long())
    expected = model.personalize(enrollment)
    assert_equal_weights(first.weights(model), expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(first.summary.values, second.summary.values)


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (lambda w: w.numpy(), TypeError, "Waveform 2 is ndarray; expected a float tensor"),
        (lambda w: (w * 1000).short(), TypeError, "Waveform 2 is a tensor of torch.int16"),
        (lambda w: w.unsqueeze(0), ValueError, r"shape \(1, 16000\); expected \(L,\): take one"),
        (lambda w: w[:0], ValueError, "Waveform 2 is empty; .* record it again"),
        (lambda w: w.index_fill(0, torch.tensor([5]), float("nan")), ValueError, "2 holds NaN"),
        (lambda w: w / 0, ValueError, "Waveform 2 holds NaN or infinite"),
    ],
)
def test_bad_waveform_is_refused(model, front_end, wavs, spoil, error, message):
    with pytest.raises(error, match=message):
        enroll(model, front_end, [wavs[0], spoil(wavs[1])])


def test_bad_arguments_are_refused(model, front_end, wavs):
    for nothing in ([], torch.stack(wavs)):
        with pytest.raises(ValueError, match="expected a list of .L,. tensors"):
            enroll(model, front_end, nothing)
    with pytest.raises(ValueError, match="Got labels; this model was trained to read none"):
        enroll(model, front_end, wavs, [0, 1, 2])
    with pytest.raises(ValueError, match="Got no labels; this model was trained to read labels"):
        enroll(make_model(words="told"), front_end, wavs)
    with pytest.raises(ValueError, match="Got 2 labels of 3 waveforms"):
        enroll(make_model(words="told"), front_end, wavs, [0, 1])
    for label in (10, -1, "yes", 1.0, None):
        with pytest.raises(ValueError, match="Got the label .*; expected the class of a word"):
            enroll(make_model(words="told"), front_end, wavs, [0, label, 1])
    with pytest.raises(RuntimeError, match="training mode; call model.eval"):
        enroll(model.train(), front_end, wavs)


def test_waveform_of_16_bit_integers_scale_is_refused(model, front_end, wavs):
    with pytest.raises(ValueError, match="Waveform 2 has samples of .*; expected full scale at 1"):
        enroll(model, front_end, [wavs[0], wavs[1] * 32768])


# Files


@pytest.fixture
def saved(model, front_end, wavs, tmp_path):
    """A profile and its file."""
    profile = enroll(model, front_end, [wavs[0], torch.zeros(RATE), wavs[1]])
    profile.save(tmp_path / "speakers" / "anna.json")
    return profile, tmp_path / "speakers" / "anna.json"


def test_saved_profile_is_the_same(saved, model, front_end, wavs):
    profile, path = saved
    loaded = load_profile(path, make_model())
    assert loaded.qualities == profile.qualities and loaded.quality == profile.quality
    assert_equal_weights(loaded.weights(model), profile.weights(model), rtol=0, atol=0)
    more = [x.add(model, front_end, wavs[2:]) for x in (loaded, profile)]
    assert all(map(torch.equal, more[0].summary, more[1].summary))
    assert more[0].quality == more[1].quality
    assert [file.name for file in path.parent.iterdir()] == ["anna.json"]


def test_empty_profile_is_saved(model, front_end, tmp_path):
    profile = enroll(model, front_end, [torch.zeros(RATE)])
    profile.save(tmp_path / "nobody.json")
    assert load_profile(tmp_path / "nobody.json", model).quality == profile.quality


@pytest.mark.parametrize("settings", [{"seed": 1}, {"code_size": 4}])
def test_profile_of_another_model_is_refused(saved, front_end, wavs, settings):
    profile, path = saved
    other = make_model(**settings)
    message = "made with another model .* Load the checkpoint .* or enroll the speaker again"
    for use in (
        lambda: load_profile(path, other),
        lambda: profile.weights(other),
        lambda: profile.add(other, front_end, wavs),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def sealed(change):
    """Function of a profile's text that changes its content and makes the checksum fit again."""

    def seal(text):
        text = json.dumps(change(json.loads(text)["content"]))
        checksum = hashlib.sha256(text.encode()).hexdigest()
        return f'{{"checksum":"{checksum}","content":{text}}}\n'

    return seal


def change(**items):
    return sealed(lambda content: {**content, **items})


def without(key):
    return sealed(lambda content: {k: v for k, v in content.items() if k != key})


def with_values(*values):
    return change(summary={"values": [list(values)], "precisions": [[1.0]]})


def turn_covariances(content):
    """To what no voice has: variances below zero."""
    for voice in content["voices"]:
        voice["covariance"] = [[-10 * x for x in row] for row in voice["covariance"]]
    return content


def nested(depth):
    """Function of a profile's text that puts lists in lists, with a fitting checksum."""
    text = "[" * depth + "]" * depth
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return lambda _: f'{{"checksum":"{checksum}","content":{text}}}\n'


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
        lambda text: f"{text}\n",
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: text.replace('"values"', '"valves"'),
        lambda text: text.replace("0", "1", 1),
        lambda text: json.dumps(json.loads(text), indent=1),
        nested(100),
        nested(200_000),
        sealed(turn_covariances),
        sealed(lambda content: None),
        sealed(lambda content: [1, 2]),
        with_values(1.0),
        with_values(*[math.inf] * 8),
        with_values(*[1e38] * 8),
        with_values(*[10**400] * 8),
        with_values(*[10**40] * 8),
        with_values(*[[[1.0]]] * 8),
        change(summary={"values": "text", "precisions": [[1.0]]}),
        change(summary=[1, 2]),
        change(summary={"values": {"a": 1}, "precisions": [[1.0]]}),
        change(summary={"values": None, "precisions": [[1.0]]}),
        change(summary={"values": [[1.0] * 8], "precisions": [[-5.0]]}),
        change(qualities=[{"score": score, "reason": ""} for score in (0.9, 7, 0.9)]),
        change(qualities=[{"score": score, "reason": ""} for score in (0.9, math.nan, 0.9)]),
        change(qualities=[{"score": 10**400, "reason": ""}]),
        change(voices=[]),
        change(voices=[{"mean": [0.0], "covariance": [[0.0]], "pitch": 1.0, "range": 1.0}] * 2),
        change(qualities=3),
        without("qualities"),
        without("model_digest"),
        without("front_end_digest"),
        without("schema_version"),
    ],
)
def test_damaged_profile_is_refused(saved, model, damage):
    path = saved[1]
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match="Cannot read the profile .*anna.json .* enroll the speak"):
        load_profile(path, model)


def test_bytes_that_are_no_text_are_refused(saved, model):
    saved[1].write_bytes(b"\x80\x02\xff garbage")
    with pytest.raises(ValueError, match="Cannot read the profile .* enroll the speaker again"):
        load_profile(saved[1], model)


def test_profile_of_a_later_version_is_refused(saved, model):
    path = saved[1]
    path.write_text(change(schema_version=3)(path.read_text()))
    with pytest.raises(ValueError, match="has schema version 3; expected 2.* enroll the speaker"):
        load_profile(path, model)


def test_missing_profile_is_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="Found no profile .*bob.json; enroll the speaker"):
        load_profile(tmp_path / "bob.json", model)


def test_failed_save_keeps_the_old_file(saved, model):
    profile, path = saved
    before = path.read_bytes()
    broken = replace(profile, summary=profile.summary._replace(values=torch.tensor([[torch.nan]])))
    with pytest.raises(ValueError):
        broken.save(path)
    assert path.read_bytes() == before


def test_numbers_that_could_not_be_read_again_are_not_saved(saved):
    profile, path = saved
    before = path.read_bytes()
    large = replace(profile, summary=profile.summary._replace(values=torch.tensor([[1e38] * 8])))
    with pytest.raises(ValueError, match="not finite, or above 1e.09"):
        large.save(path)
    assert path.read_bytes() == before


def test_many_threads_save_one_file(saved, model):
    profile, path = saved
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: profile.save(path), range(40)))
    assert load_profile(path, model).qualities == profile.qualities
    assert [file.name for file in path.parent.iterdir()] == ["anna.json"]


# Identity


def test_model_that_has_changed_since_is_refused(model, front_end, wavs):
    profile = enroll(model, front_end, wavs)
    with torch.no_grad():
        model.main_model.classifier.bias[0] += 0.1
    for use in (lambda: profile.weights(model), lambda: profile.add(model, front_end, wavs)):
        with pytest.raises(ValueError, match="was made with another model"):
            use()


@pytest.mark.parametrize(
    "other",
    [
        FrontEnd(Fbank(n_mels=40, f_max=4000)),
        FrontEnd(Fbank(n_mels=40, sample_rate=8000), sample_rate=8000),
        FrontEnd(Fbank(n_mels=40), clip_duration=1.5),
    ],
)
def test_profile_of_another_front_end_or_rate_is_refused(model, front_end, wavs, other):
    profile = enroll(model, front_end, wavs[:1])
    with pytest.raises(ValueError, match="was made with another front end or sampling rate"):
        profile.add(model, other, wavs[1:])
    assert profile.add(model, FrontEnd(Fbank(n_mels=40)), wavs[1:]).num_used == 3


def test_model_of_lower_precision_enrolls_and_answers(model, front_end, wavs):
    expected = enroll(model, front_end, wavs).weights(model)
    model.bfloat16()
    profile = enroll(model, front_end, wavs)
    weights = profile.weights(model)
    assert model(torch.randn(4, 101, 40).bfloat16(), weights=weights).isfinite().all()
    worst = max((weights[name].float() - expected[name]).abs().max() for name in weights)
    assert worst < 0.1
