"""Enrolling: what it costs to make a speaker's weights, to write them, and to fine-tune instead."""

import torch
from interleaved import interleaved

from vofp_plugin.inference.identity import identity
from vofp_plugin.lobes.baselines.fine_tuned import FineTunedModel
from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel

TARGETS = {"*.norm": "channel", "classifier": "full"}
TUNED = {"injected": list(TARGETS)}
STEPS = 10


def personalized_model(targets=None, channels=48):
    """The default personalized keyword spotter, untrained."""
    main_model = DSCNN(num_classes=12, channels=channels)
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model), None, 16, "bayesian")
    hyper_personalizer = HyperPersonalizer(main_model, targets or TARGETS, code_size=16)
    return PersonalizedModel(main_model, encoder, hyper_personalizer).eval()


def enrollment_of(num_speakers, shots):
    """Random enrollment of some speakers."""
    return Enrollment(torch.randn(num_speakers, shots, 101, 40), torch.ones(num_speakers, shots))


@torch.no_grad()
def enrolling(shots=5, channels=48, seconds=3.0):
    """Ratios to as many answers of the shared model, one after another, {candidate: Ratio}."""
    model, plain = personalized_model(channels=channels), DSCNN(12, channels=channels).eval()
    one, crowd = enrollment_of(1, shots), enrollment_of(16, shots)
    clips = one.feats[0].split(1)
    weights = model.personalize(one)
    merged = model.merge(weights)
    summary = model.encoder.summarize(one)
    again = DSCNN(12, channels=channels).eval()
    candidates = {
        f"{shots} answers of the shared model": lambda: [plain(clip) for clip in clips],
        "again (A/A)": lambda: [again(clip) for clip in clips],
        f"enrolling K = {shots}": lambda: model.personalize(one),
        "one more utterance": lambda: model.encoder.summarize(Enrollment(*_first(one))),
        "weights of a summary": lambda: model.personalize(summary),
        "enrolling 16 speakers at once": lambda: model.personalize(crowd),
        "merging into a copy": lambda: model.merge(weights),
        "merging into a merged model": lambda: model.merge(weights, into=merged),
        "identity, cached": lambda: identity(model),
    }
    return interleaved(candidates, seconds)


def _first(enrollment):
    return enrollment.feats[:, :1], enrollment.lens[:, :1]


@torch.no_grad()
def merged_answer(seconds=3.0):
    """Ratios of one answer of a merged model to the shared one's, {candidate: Ratio}."""
    model, plain, clip = personalized_model(), DSCNN(12).eval(), torch.randn(1, 101, 40)
    again, merged = DSCNN(12).eval(), model.merge(model.personalize(enrollment_of(1, 5)))
    candidates = {
        "shared": lambda: plain(clip),
        "shared again (A/A)": lambda: again(clip),
        "merged": lambda: merged(clip),
    }
    return interleaved(candidates, seconds)


def fine_tuning(shots=5, seconds=3.0):
    """Ratio of gradient steps on a speaker's enrollment to enrolling it, {candidate: Ratio}."""
    tuned = FineTunedModel(DSCNN(num_classes=12), TUNED, [0.001], [STEPS]).eval()
    tuned.setting = {"layers": "injected", "lr": 0.001, "steps": STEPS}
    model, one = personalized_model(), enrollment_of(1, shots)
    labelled = Enrollment(*one[:2], torch.arange(shots).unsqueeze(0))

    @torch.no_grad()
    def enroll():
        model.personalize(one)

    return interleaved(
        {
            f"enrolling K = {shots}": enroll,
            f"{STEPS} steps of fine-tuning": lambda: tuned.personalize(labelled),
        },
        seconds,
    )


def training_step(num_speakers=24, shots=5, queries=2, seconds=3.0):
    """Ratio of a step of the personalized recipe to one of the shared model on its queries."""
    model, plain = personalized_model().train(), DSCNN(12).train()
    again, x = DSCNN(12).train(), torch.randn(num_speakers * queries, 101, 40)
    enrollment = enrollment_of(num_speakers, shots)

    def personalized():
        weights, kl = model.draw(enrollment)
        (model(x, weights=weights).mean() + kl.mean()).backward()

    return interleaved(
        {
            "shared": lambda: plain(x).mean().backward(),
            "shared again (A/A)": lambda: again(x).mean().backward(),
            f"personalized, K = {shots}": personalized,
        },
        seconds,
    )


def bytes_per_speaker():
    """Bytes of one speaker's injected numbers and weights by form, {form: (numbers, weights)}."""
    sizes = {}
    for form in ("channel", "low_rank", "full"):
        model = personalized_model({"*": form})
        full = sum(w[0].numel() for w in model.personalize(enrollment_of(1, 1)).values())
        sizes[form] = 4 * model.hyper_personalizer.num_numbers, 4 * full
    default = personalized_model()
    full = sum(w.numel() for w in default.personalize(enrollment_of(1, 1)).values())
    sizes["default targets"] = 4 * default.hyper_personalizer.num_numbers, 4 * full
    sizes["summary"] = (4 * (default.encoder.code_size + 1),) * 2
    return sizes
