"""Personalized keyword spotting: evaluation on the queries of unseen speakers.

Any model is served by the same calls: `personalize` on each draw's enrollment, then the queries
with what it gave. All systems and all K answer the same queries.
"""

from typing import NamedTuple

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.distributed import get_rank
from torch.utils.data import DataLoader

from vofp_plugin.augment.bad_enrollment import TWO_SPEAKERS, two_speakers
from vofp_plugin.lobes.baselines.adapted import AdaptedModel
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.tasks.keywords import SpeakerScores, calibration_bins
from vofp_plugin.utils.seeds import seeded

UNENROLLED = ("shared", "none")


class Given(NamedTuple):
    """What is given before the queries: an enrollment and its K.

    The enrollment is "shared", "none", "own", "own_sampled" (own, with answers averaged over
    Monte-Carlo samples of the weights), "stranger" or one of the condition's bad ones.
    """

    enrollment: str
    shots: int


class KeywordSpottingBrain(PersonalizedBrain):
    """Trains and evaluates keyword spotters on episodes of speakers."""

    HPARAMS_NEEDED = (*PersonalizedBrain.HPARAMS_NEEDED, "test_shots", "test_samples")

    def fit_speakers(self, train_set, speakers, valid_condition, valid_draws):
        """Trains on episodes, and validates on draws after every epoch; or once, without epochs.

        Arguments
        ---------
        train_set : DynamicItemDataset
            With the items id, feats, relative_length, label and spoken.
        speakers : list of str
            Speaker of every item of `train_set`.
        valid_condition : Condition
        valid_draws : list of Draw
        """
        self.episodes = self.hparams.episodes(speakers, rank=get_rank() or 0)
        self.train_set, self.condition = train_set, valid_condition
        valid_set = _draw_loader(valid_draws)
        self.fit(self.hparams.epoch_counter, train_set, valid_set)
        if not self.history.epochs:  # no epoch to train: the start is validated and kept
            self.history.start()
            self.history.finish(epoch=0)
            self._fit_valid(valid_set, epoch=0, enable=False)

    def evaluate_draws(self, condition, draws, settings=None):
        """Evaluates the last checkpoint.

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
        self.condition, self.settings = condition, settings or {}
        self.evaluate(_draw_loader(draws))
        return self.scores

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
        self.on_evaluate_start()
        self.modules.eval()
        self.condition = condition
        model, scores = self.modules.model, {}
        for batch in _draw_loader(draws):
            queries = self._queries(batch)
            for shots in self.hparams.test_shots:
                enrollment = self._enrollment(batch, "own", shots)
                with self.evaluation_ctx:
                    adaptations = model.adaptations(enrollment, model.settings)
                    answers = [model(queries, weights) for weights in adaptations]
                for index, log_probs in enumerate(answers):
                    place_scores = scores.setdefault((shots, index), SpeakerScores())
                    self._add(place_scores, batch, _answers(log_probs, batch))
        return [
            {"setting": setting, "shots": shots, **_macro(scores[shots, index])}
            for shots in self.hparams.test_shots
            for index, setting in enumerate(model.settings)
        ]

    def on_stage_start(self, stage, epoch=None):
        """Answers every utterance without enrollment, once, before validation and test."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            return
        self.modules.eval()
        if stage == sb.Stage.VALID:
            self.settings = {}
            if isinstance(self.modules.model, AdaptedModel):
                self.modules.model.learn(self._train_batches())
        self.scores = {}
        self._answer_unenrolled()

    @torch.no_grad()
    def evaluate_batch(self, batch, stage):
        """Answers the queries of a batch of draws with all givens; returns the NLL of the last."""
        queries = self._queries(batch)
        for given in self._givens(stage):
            with self.evaluation_ctx:
                answers = self._answer(given, batch, queries)
            scores, bins = self.scores.setdefault(given, (SpeakerScores(), torch.zeros(15, 3)))
            self._add(scores, batch, answers)
            for draw, log_probs in zip(batch, answers, strict=True):
                bins += calibration_bins(log_probs, self._labels(draw))
        labels = torch.cat([self._labels(draw) for draw in batch])
        return torch.nn.functional.nll_loss(torch.cat(answers), labels)

    def validation_scores(self):
        """Accuracy and NLL, macro over speakers, of own enrollment at the largest K, or shared."""
        scores = _macro(self.scores[self._givens(sb.Stage.VALID)[-1]][0])
        return {f"valid_{name}": value for name, value in scores.items()}

    def _givens(self, stage):
        shots = self.hparams.test_shots
        kinds = self.modules.model.enrollments
        givens = [Given(kind, 0) for kind in kinds if kind in UNENROLLED]
        if stage == sb.Stage.VALID:
            return givens + [Given("own", max(shots))] * ("own" in kinds)
        givens += [Given(kind, k) for kind in kinds if kind not in UNENROLLED for k in shots]
        return givens + [Given(kind, max(shots)) for kind in self.condition.bad if "own" in kinds]

    @torch.no_grad()
    def _answer_unenrolled(self):
        """Log-probabilities of every utterance without enrollment, (U, classes)."""
        model, queries, answers = self.modules.model, self.condition.queries, []
        for part in np.array_split(np.arange(len(queries.lens)), -(-len(queries.lens) // 256)):
            feats = queries.features(part).to(self.device)
            nothing = feats.new_zeros(1, 0)
            enrollment = Enrollment(feats[:0].unsqueeze(0), nothing, nothing.long())
            with self.evaluation_ctx:
                answers.append(model(feats, model.personalize(enrollment)).cpu())
        self.unenrolled = torch.cat(answers)

    def _answer(self, given, draws, queries):
        """Log-probabilities of every draw's queries, a list of (queries, classes)."""
        model = self.modules.model
        if given.enrollment in UNENROLLED:
            return [self.unenrolled[draw.queries] for draw in draws]
        enrollment = self._enrollment(draws, *given)
        if given.enrollment == "own_sampled":
            generator = seeded("samples", draws[0].speaker, *draws[0].enrollment)
            samples = self.hparams.test_samples
            return _answers(model.predict(queries, enrollment, samples, generator), draws)
        if isinstance(model, AdaptedModel):
            model.setting = self.settings.get(given.shots, model.settings[0])
        return _answers(model(queries, model.personalize(enrollment)), draws)

    def _enrollment(self, draws, kind, shots):
        """Enrollment of a kind with K = `shots`, one speaker for each draw."""
        parts = []
        for draw in draws:
            utterances = self.condition.bad.get(kind) or self.condition.room_of(draw.speaker)
            places = _places(draw, kind, shots)
            parts.append(
                (utterances.features(places), utterances.lens[places], utterances.labels[places])
            )
        return Enrollment(*(torch.stack(part).to(self.device) for part in zip(*parts, strict=True)))

    def _queries(self, draws):
        """Features of the queries, as many of each draw: its first one fills up."""
        most = max(len(draw.queries) for draw in draws)
        padded = [draw.queries + draw.queries[:1] * (most - len(draw.queries)) for draw in draws]
        return self.condition.queries.features(sum(padded, [])).to(self.device)

    def _labels(self, draw):
        return self.condition.queries.labels[draw.queries]

    def _add(self, scores, draws, answers):
        for draw, log_probs in zip(draws, answers, strict=True):
            scores.add(draw.speaker, log_probs, self._labels(draw))

    def _train_batches(self):
        """Features and labels of the training set, augmented as if each were of a speaker alone."""
        generator = seeded("learn", self.hparams.seed)
        for items in DataLoader(self.train_set, batch_size=256, collate_fn=list):
            feats = torch.stack([item["feats"] for item in items]).to(self.device)
            for augment in self.hparams.augmentations:
                feats = augment(feats, len(feats), generator)
            labels = torch.tensor([item["label"] for item in items])
            yield feats, labels.to(self.device)


def _places(draw, kind, shots):
    """Places of the K = `shots` utterances that enroll the speaker of a draw."""
    own, stranger = draw.enrollment[:shots], draw.stranger[:shots]
    if kind == TWO_SPEAKERS:
        return two_speakers(own, stranger)
    return stranger if kind == "stranger" else own


def _answers(log_probs, draws):
    """Splits the answers to `_queries` by draw, without what filled up."""
    answers = log_probs.cpu().unflatten(0, (len(draws), -1))
    return [answer[: len(draw.queries)] for answer, draw in zip(answers, draws, strict=True)]


def _macro(scores):
    """Accuracy and NLL (nats), means over speakers."""
    rows = scores.per_speaker()
    return {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "nll")}


def _draw_loader(draws, batch_size=20):
    return DataLoader(draws, batch_size=batch_size, collate_fn=list)
