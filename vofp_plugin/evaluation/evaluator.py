"""Evaluator: a model's scores on the queries of unseen speakers, by what was enrolled before.

Any model is served by the same calls: `personalize` on each draw's enrollment, then the queries
with what it gave. All systems and all K answer the same queries.
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, two_speakers
from vofp_plugin.lobes.baselines.adapted import AdaptedModel
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.tasks.classification import SpeakerScores, calibration_bins
from vofp_plugin.utils.seeds import seeded

UNENROLLED = ("shared", "none")


class Given(NamedTuple):
    """What is given before the queries: an enrollment and its K.

    The enrollment is "shared", "none", "own", "own_sampled" (own, with answers averaged over
    Monte-Carlo samples of the weights), "stranger" or one of the condition's bad ones.
    """

    enrollment: str
    shots: int


class Evaluator:
    """Asks a model the queries of draws, and scores what it answers.

    Arguments
    ---------
    model : torch.nn.Module
        A `PersonalizedModel`, `SharedModel` or what has their calls.
    task : Task
    shots : list of int
        The K that are asked for.
    num_samples : int
        Samples of the weights, where answers are averaged over them.
    context : context manager
        In which the model answers, such as that of a lower precision; reusable.
    """

    def __init__(self, model, task, shots, num_samples=8, context=None):
        self.model = model
        self.task = task
        self.shots = shots
        self.num_samples = num_samples
        self.context = nullcontext() if context is None else context

    @torch.no_grad()
    def evaluate(self, condition, draws, settings=None):
        """Scores everything that the model's `enrollments` name, for every K.

        Arguments
        ---------
        condition : Condition
        draws : list of Draw
        settings : dict
            {K: setting} of an `AdaptedModel`; without it, the shared model is left as it is.

        Returns
        -------
        dict
            {Given: (SpeakerScores, calibration bins (15, 3))}.
        """
        return self._score(condition, draws, self._givens(condition), settings or {})

    @torch.no_grad()
    def validate(self, condition, draws):
        """Accuracy and NLL (nats), macro over speakers, of own enrollment at the largest K.

        Of a model that enrolls nothing they are those of "shared".
        """
        kinds = self.model.enrollments
        last = Given("own", max(self.shots)) if "own" in kinds else Given(kinds[0], 0)
        return _macro(self._score(condition, draws, [last], {})[last][0])

    @torch.no_grad()
    def sweep(self, condition, draws):
        """Scores every setting of an `AdaptedModel` on own enrollment.

        Arguments
        ---------
        condition : Condition
        draws : list of Draw
            Of validation speakers.

        Returns
        -------
        list of dict
            `setting`, `shots`, and `accuracy` and `nll` (nats), macro over speakers.
        """
        self.model.eval()
        settings, scores = self.model.settings, {}
        for batch in _draw_loader(draws):
            feats, lens = self._queries(condition, batch)
            for shots in self.shots:
                enrollment = self._enrollment(condition, batch, "own", shots)
                with self.context:
                    adaptations = self.model.adaptations(enrollment, settings)
                    answers = [self.model(feats, lens, weights) for weights in adaptations]
                for index, output in enumerate(answers):
                    place = scores.setdefault((shots, index), SpeakerScores())
                    self._add(place, condition, batch, _by_draw(output, batch))
        return [
            {"setting": setting, "shots": shots, **_macro(scores[shots, index])}
            for shots in self.shots
            for index, setting in enumerate(settings)
        ]

    def _givens(self, condition):
        kinds = self.model.enrollments
        givens = [Given(kind, 0) for kind in kinds if kind in UNENROLLED]
        givens += [Given(kind, k) for kind in kinds if kind not in UNENROLLED for k in self.shots]
        bad = condition.bad if "own" in kinds else ()
        return givens + [Given(kind, max(self.shots)) for kind in bad]

    def _score(self, condition, draws, givens, settings):
        """{Given: (SpeakerScores, calibration bins)} of all draws."""
        self.model.eval()
        scores = {given: (SpeakerScores(), torch.zeros(15, 3)) for given in givens}
        unenrolled = None
        if any(given.enrollment in UNENROLLED for given in givens):
            unenrolled = self._answer_unenrolled(condition.queries)
        for batch in _draw_loader(draws):
            queries = self._queries(condition, batch)
            for given, (speaker_scores, bins) in scores.items():
                if given.enrollment in UNENROLLED:
                    outputs = [unenrolled[draw.queries] for draw in batch]
                else:
                    outputs = self._answer(condition, given, batch, queries, settings)
                self._add(speaker_scores, condition, batch, outputs, bins)
        return scores

    def _answer_unenrolled(self, utterances):
        """Outputs of every utterance without enrollment, (U, ...)."""
        outputs = []
        places = np.arange(len(utterances.lens))
        for part in np.array_split(places, -(-len(places) // 256)):
            feats, lens = self._inputs(utterances, part)
            nothing = feats.new_zeros(1, 0)
            enrollment = Enrollment(feats[:0].unsqueeze(0), nothing, nothing.long())
            with self.context:
                outputs.append(self.model(feats, lens, self.model.personalize(enrollment)).cpu())
        return torch.cat(outputs)

    def _answer(self, condition, given, draws, queries, settings):
        """Outputs of every draw's queries, a list of (queries, ...)."""
        model, (feats, lens) = self.model, queries
        enrollment = self._enrollment(condition, draws, *given)
        with self.context:
            if given.enrollment == "own_sampled":
                generator = seeded("samples", draws[0].speaker, *draws[0].enrollment)
                output = model.predict(feats, enrollment, lens, self.num_samples, generator)
                return _by_draw(output, draws)
            if isinstance(model, AdaptedModel):
                model.setting = settings.get(given.shots, model.settings[0])
            return _by_draw(model(feats, lens, model.personalize(enrollment)), draws)

    def _enrollment(self, condition, draws, kind, shots):
        """Enrollment of a kind with K = `shots`, one speaker for each draw."""
        parts = []
        for draw in draws:
            utterances = condition.bad.get(kind) or condition.room_of(draw.speaker)
            places = _places(draw, kind, shots)
            parts.append(
                (utterances.features(places), utterances.lens[places], utterances.labels[places])
            )
        device = self._device()
        return Enrollment(*(torch.stack(part).to(device) for part in zip(*parts, strict=True)))

    def _queries(self, condition, draws):
        """Features and lengths of the queries, as many of each draw: its first one fills up."""
        most = max(len(draw.queries) for draw in draws)
        padded = [draw.queries + draw.queries[:1] * (most - len(draw.queries)) for draw in draws]
        return self._inputs(condition.queries, sum(padded, []))

    def _inputs(self, utterances, places):
        """Features and relative lengths of some utterances."""
        device = self._device()
        return utterances.features(places).to(device), utterances.lens[places].to(device)

    def _device(self):
        return next(self.model.parameters()).device

    def _add(self, scores, condition, draws, outputs, bins=None):
        for draw, output in zip(draws, outputs, strict=True):
            log_probs, targets = self.task.answers(output, condition.queries.labels[draw.queries])
            scores.add(draw.speaker, log_probs, targets)
            if bins is not None:
                bins += calibration_bins(log_probs, targets)


def _places(draw, kind, shots):
    """Places of the K = `shots` utterances that enroll the speaker of a draw."""
    own, stranger = draw.enrollment[:shots], draw.stranger[:shots]
    if kind == TWO_SPEAKERS:
        return two_speakers(own, stranger)
    return stranger if kind == "stranger" else own


def _by_draw(output, draws):
    """Splits the answers to `_queries` by draw, without what filled up."""
    outputs = output.cpu().unflatten(0, (len(draws), -1))
    return [part[: len(draw.queries)] for part, draw in zip(outputs, draws, strict=True)]


def _macro(scores):
    """Accuracy and NLL (nats), means over speakers."""
    rows = scores.per_speaker()
    return {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "nll")}


def _draw_loader(draws, batch_size=20):
    return DataLoader(draws, batch_size=batch_size, collate_fn=list)
