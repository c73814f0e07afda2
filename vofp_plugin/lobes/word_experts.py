"""Known words: a classifier, and an expert for every word that a speaker has enrolled."""

import torch

from vofp_plugin.lobes.baselines.adapted import NOTHING, AdaptedModel
from vofp_plugin.lobes.enrollment import Summary


class WordExpertsModel(AdaptedModel):
    """Product of experts: a classifier for everybody and generated word heads.

    The takes of a class, enrolled with labels, make a head that detects this class as the speaker
    says it. Its log-odds, times a weight, are added to the log-probability of the class; a class
    without takes has no expert. How much experts count is chosen on validation speakers.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) to log-probabilities (B, classes).
    keyword_detector : KeywordDetector
        A trained one, which stays as it is.
    expert_weights : list of float
        To choose from.
    ceilings : list of float
        Likewise: largest absolute log-odds of an expert, in nats.

    Source
    ------
    Hinton. Training products of experts by minimizing contrastive divergence. Neural Computation
    2002.

    Example
    -------
    >>> from vofp_plugin.inference.interfaces import shipped_model
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> words = shipped_model("pretrained/personal-keywords")
    >>> model = WordExpertsModel(DSCNN(num_classes=10), words, [0.5]).eval()
    >>> model.setting = model.settings[-1]
    >>> labels = torch.tensor([[0, 1], [0, 1], [0, 1]])
    >>> enrollment = Enrollment(torch.rand(3, 2, 101, 40), torch.ones(3, 2), labels)
    >>> model(torch.rand(6, 101, 40), weights=model.personalize(enrollment)).shape
    torch.Size([6, 10])
    """

    def __init__(self, main_model, keyword_detector, expert_weights, ceilings=(5.0,)):
        super().__init__(
            main_model,
            [
                {"weight": weight, "ceiling": ceiling}
                for weight in expert_weights
                for ceiling in ceilings
            ],
        )
        self.keyword_detector = keyword_detector.requires_grad_(False)

    def forward(self, feats, lens=None, weights=None):
        """Maps features (N * Q, T, F) to log-probabilities (N * Q, classes).

        Arguments
        ---------
        feats : torch.Tensor
        lens : torch.Tensor
            Relative lengths, (N * Q,), or None.
        weights : dict
            From `personalize`; None answers by the classifier.

        Returns
        -------
        torch.Tensor
        """
        log_probs = super().forward(feats, lens)
        if weights is None:
            return log_probs
        codes = self._codes(feats, lens).unflatten(0, (len(weights["enrolled"]), -1))
        scores = torch.einsum("nqd,ncd->nqc", codes, weights["weight"])
        scores = (scores + weights["bias"].unsqueeze(1)).clamp(
            -weights["ceiling"], weights["ceiling"]
        )
        scores = scores.masked_fill(~weights["enrolled"].unsqueeze(1), 0.0)
        return (log_probs + weights["share"] * scores.flatten(0, 1)).log_softmax(dim=1)

    def adaptations(self, enrollment, settings):
        """Makes the experts of N speakers, who are heard once for all settings."""
        num_classes = self.main_model(enrollment.feats[:1, 0]).shape[1]
        codes = self._codes(enrollment.feats.flatten(0, 1), enrollment.lens.flatten())
        codes = codes.unflatten(0, enrollment.lens.shape)
        said = torch.nn.functional.one_hot(enrollment.labels, num_classes).to(codes)
        said = said * (enrollment.lens > 0).unsqueeze(2)
        sums, counts = said.mT @ codes, said.sum(1).unsqueeze(2)
        made = self._head.weights(Summary(sums.flatten(0, 1), counts.flatten(0, 1)))
        experts = {
            "weight": made["weight"].squeeze(1).unflatten(0, counts.shape[:2]),
            "bias": made["bias"].view(counts.shape[:2]),
            "enrolled": counts.squeeze(2) > 0,
        }
        for setting in settings:
            chosen = {"share": setting.get("weight"), "ceiling": setting.get("ceiling")}
            yield None if setting == NOTHING else {**experts, **chosen}

    @property
    def _head(self):
        return self.keyword_detector.head.word

    def _codes(self, feats, lens=None):
        """Codes of words (B, D) of features (B, T, F)."""
        return self.keyword_detector.hear(feats, lens)[1][:, : self._head.code_size]
