"""Personalized keyword spotting: evaluation on the queries of unseen speakers.

Every utterance is encoded once; a draw's enrollment is then a sum of summaries. All systems and
all K answer the same queries.
"""

from typing import NamedTuple

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.distributed import get_rank
from torch.utils.data import DataLoader

from vofp_plugin.brains.base import PersonalizedBrain
from vofp_plugin.lobes.enrollment import Enrollment, Summary
from vofp_plugin.utils.metrics import SpeakerScores, calibration_bins


class Cell(NamedTuple):
    """What is compared: an enrollment ("shared", "none", "own", "stranger") and its K."""

    enrollment: str
    shots: int


class KeywordSpottingBrain(PersonalizedBrain):
    """Trains and evaluates keyword spotters on episodes of speakers."""

    HPARAMS_NEEDED = (*PersonalizedBrain.HPARAMS_NEEDED, "test_shots")

    def fit_speakers(self, train_set, speakers, valid_utterances, valid_draws):
        """Trains on episodes, and validates on draws after every epoch.

        Arguments
        ---------
        train_set : DynamicItemDataset
            With the items id, feats, relative_length and label.
        speakers : list of str
            Speaker of every item of `train_set`.
        valid_utterances : Utterances
        valid_draws : list of Draw
        """
        self.episodes = self.hparams.episodes(speakers, rank=get_rank() or 0)
        self.utterances = valid_utterances
        self.fit(self.hparams.epoch_counter, train_set, _draw_loader(valid_draws))

    def evaluate_draws(self, utterances, draws):
        """Evaluates the best checkpoint.

        Arguments
        ---------
        utterances : Utterances
        draws : list of Draw

        Returns
        -------
        dict
            {Cell: (SpeakerScores, calibration bins (15, 3))}.
        """
        self.utterances = utterances
        self.evaluate(_draw_loader(draws), min_key="valid_nll")
        return self.scores

    def on_stage_start(self, stage, epoch=None):
        """Encodes the utterances once before validation and test."""
        super().on_stage_start(stage, epoch)
        if stage != sb.Stage.TRAIN:
            self.modules.eval()
            self.scores = {}
            self._encode_utterances()

    @torch.no_grad()
    def evaluate_batch(self, batch, stage):
        """Answers the queries of a batch of draws in every cell; returns the NLL of the last."""
        for cell in self._cells(stage):
            answers = self._answer(cell, batch)
            scores, bins = self.scores.setdefault(cell, (SpeakerScores(), torch.zeros(15, 3)))
            for draw, log_probs in zip(batch, answers, strict=True):
                labels = self.utterances.labels[draw.queries]
                scores.add(draw.speaker, log_probs, labels)
                bins += calibration_bins(log_probs, labels)
        labels = self.utterances.labels[sum((draw.queries for draw in batch), [])]
        return torch.nn.functional.nll_loss(torch.cat(answers), labels)

    def validation_scores(self):
        """Accuracy and NLL, macro over speakers, of own enrollment at the largest K, or shared."""
        scores = self.scores[self._cells(sb.Stage.VALID)[-1]][0].per_speaker()
        return {
            f"valid_{name}": float(np.mean([row[name] for row in scores]))
            for name in ("accuracy", "nll")
        }

    def _cells(self, stage):
        shots = self.hparams.test_shots
        kinds = self.modules.model.enrollments
        cells = [Cell(kind, 0) for kind in kinds if kind in ("shared", "none")]
        if stage == sb.Stage.VALID:
            return cells + [Cell("own", max(shots))] * ("own" in kinds)
        enrolled = [kind for kind in kinds if kind in ("own", "stranger")]
        return cells + [Cell(kind, k) for kind in enrolled for k in shots]

    @torch.no_grad()
    def _encode_utterances(self):
        """Answers without enrollment, and the summary of each utterance."""
        model, places = self.modules.model, np.arange(len(self.utterances.lens))
        answers, summaries = [], []
        for part in np.array_split(places, -(-len(places) // 256)):
            feats = self.utterances.features(part).to(self.device)
            answers.append(self._without_enrollment(feats).cpu())
            if "own" in model.enrollments:
                summaries.append(model.encoder.summarize(self._enrollment(feats, part)))
        self.unpersonalized = torch.cat(answers)
        if summaries:
            self.summaries = Summary(*(torch.cat(parts) for parts in zip(*summaries, strict=True)))

    def _without_enrollment(self, feats):
        model = self.modules.model
        if "own" not in model.enrollments:
            return model(feats)
        nothing = feats.new_zeros(1, model.encoder.code_size)
        return model(feats, model.personalize(Summary(nothing, nothing)))

    def _enrollment(self, feats, places):
        """Every utterance as the one-shot enrollment of a speaker of its own."""
        labels = self.utterances.labels[places].to(self.device).unsqueeze(1)
        return Enrollment(
            feats.unsqueeze(1),
            self.utterances.lens[places].to(self.device).unsqueeze(1),
            labels if self.modules.model.labelled else None,
        )

    def _answer(self, cell, draws):
        """Log-probabilities of every draw's queries, a list of (queries, classes)."""
        if cell.enrollment in ("shared", "none"):
            return [self.unpersonalized[draw.queries] for draw in draws]
        source = "enrollment" if cell.enrollment == "own" else cell.enrollment
        places = torch.tensor([getattr(draw, source)[: cell.shots] for draw in draws])
        summary = Summary(*(part[places.to(part.device)].sum(dim=1) for part in self.summaries))
        model = self.modules.model
        most = max(len(draw.queries) for draw in draws)
        padded = [draw.queries + draw.queries[:1] * (most - len(draw.queries)) for draw in draws]
        feats = self.utterances.features(sum(padded, [])).to(self.device)
        answers = model(feats, model.personalize(summary)).cpu().unflatten(0, (len(draws), most))
        return [answer[: len(draw.queries)] for answer, draw in zip(answers, draws, strict=True)]


def _draw_loader(draws, batch_size=20):
    return DataLoader(draws, batch_size=batch_size, collate_fn=list)
