"""The personalized model: if you read one file, read this.

    enrollment -> summary -> code -> posterior -> numbers -> weights -> main model
       `EnrollmentEncoder`      `HyperPersonalizer`           `injected`

Everything up to the weights runs once for each speaker, by a forward pass alone; then the main
model answers any number of queries with them, in the batch of several speakers or merged into a
plain model. Numbers are what the posterior is over; a form (vofp_plugin/nnet/forms.py) makes
weights of them.
"""

import copy

import torch
from torch import nn

from vofp_plugin.lobes.enrollment import relative_lengths
from vofp_plugin.lobes.normalization import keep_statistics_
from vofp_plugin.nnet.check import check_injection
from vofp_plugin.nnet.injection import injected, merge_, weight_specs, write_
from vofp_plugin.nnet.recording import unrecordable_


class PersonalizedModel(nn.Module):
    """A main model whose target layers run with weights made for each speaker.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) and relative lengths (B,) to any output.
    encoder : EnrollmentEncoder
    hyper_personalizer : HyperPersonalizer
        Made for the same `main_model`.
    freeze_main_model : bool
        Whether the main model stays as it is, running statistics included, so that a speaker
        without enrollment is answered as by the shared model.

    Source
    ------
    Kim, Lee, Chang, Kwak. Variational On-the-Fly Personalization. ICML 2022. The formulation is
    ours: see docs/design.md.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.embeddings import ConvEmbedding
    >>> from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
    >>> from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
    >>> main_model = DSCNN(num_classes=10)
    >>> model = PersonalizedModel(
    ...     main_model,
    ...     EnrollmentEncoder(ConvEmbedding()),
    ...     HyperPersonalizer(main_model, {"*.norm": "channel", "classifier": "full"}),
    ... ).eval()
    >>> enrollment = Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3))  # 2 speakers, K = 3
    >>> weights = model.personalize(enrollment)
    >>> model(torch.rand(8, 101, 40), weights=weights).shape  # 4 queries of each speaker
    torch.Size([8, 10])
    """

    def __init__(self, main_model, encoder, hyper_personalizer, freeze_main_model=False):
        super().__init__()
        self.main_model = keep_statistics_(main_model)
        self.encoder = encoder
        self.hyper_personalizer = hyper_personalizer
        self.freeze_main_model = freeze_main_model
        self._is_checked = False
        if freeze_main_model:
            main_model.requires_grad_(False).eval()

    def train(self, mode=True):
        """Sets the mode, but a frozen main model's, which is always that of evaluation."""
        super().train(mode)
        if self.freeze_main_model:
            self.main_model.eval()
        return self

    @property
    def enrollments(self):
        """What an evaluation compares; by Monte Carlo too where weights can be drawn."""
        sampled = ("own_sampled",) if self.hyper_personalizer.posterior.is_random else ()
        return ("none", "own", *sampled, "stranger")

    @property
    def told_words(self):
        """Of how many words an enrollment tells which was said; 0 where it does not."""
        return self.encoder.num_words if self.encoder.labelled else 0

    def summarize(self, enrollment):
        """Sums what is kept of each speaker's utterances: `Enrollment` to `Summary`."""
        return self.encoder.summarize(enrollment)

    def forward(self, feats, lens=None, weights=None):
        """Runs the main model.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (N * Q, T, F), Q items of each speaker, speaker after speaker.
        lens : torch.Tensor
            Relative lengths, (N * Q,); None for features without padding.
        weights : dict
            {parameter name: (N, *shape)} from `personalize`; None runs the shared weights.

        Returns
        -------
        torch.Tensor
            The main model's output, of N * Q items.
        """
        lens = relative_lengths(feats, lens)
        if weights is None:
            return self.main_model(feats, lens)
        self._check_once(feats, lens)
        with injected(self.main_model, weights):
            return self.main_model(feats, lens)

    def _check_once(self, feats, lens):
        """On the first items that are asked with weights: no layer may mix speakers."""
        if self._is_checked or not feats.std() > 0:  # constant items, or NaN, show nothing
            return
        with torch.autocast(feats.device.type, enabled=False):
            check_injection(self.main_model, feats, lens)
        self._is_checked = True

    def personalize(self, enrollment):
        """Makes the weights of N speakers: the posterior mean.

        Arguments
        ---------
        enrollment : Enrollment or Summary
            Utterances, or what `self.encoder.summarize` kept of them.

        Returns
        -------
        dict
            {parameter name: (N, *shape)}.
        """
        summary = self.encoder.summarize(enrollment)
        mean = self.hyper_personalizer.mean(self.encoder(summary))  # no variance is needed
        return self._weights(mean, summary.present)

    def summarize_each(self, feats, lens):
        """Gives the summaries of utterances (U, T, F) by themselves, by what can be exported."""
        return self.encoder.summarize_each(feats, lens)

    def posterior(self, summary):
        """Gives the posterior over injected numbers (N, P) of a `Summary`."""
        return self.hyper_personalizer(self.encoder(summary), summary.precisions)

    def draw(self, enrollment, generator=None):
        """Draws weights of N speakers from their posteriors, for training or Monte Carlo.

        Arguments
        ---------
        enrollment : Enrollment or Summary
        generator : torch.Generator

        Returns
        -------
        dict
            {parameter name: (N, *shape)}, with gradients. Speakers without enrollment get what
            stands for none, not a draw.
        torch.Tensor
            KL divergence of posterior to prior, (N,), in nats; 0 without enrollment.
        """
        summary = self.encoder.summarize(enrollment)
        posterior = self.posterior(summary)
        present = summary.present
        if self.training and present.any():
            self.hyper_personalizer.update_none(posterior.mean.detach()[present])
        kl = posterior.kl(self.hyper_personalizer.prior()) * present
        return self._weights(posterior.sample(generator), present), kl

    def predict(self, feats, enrollment, lens=None, num_samples=0, generator=None):
        """Predicts queries, with the posterior mean or by Monte Carlo.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (N * Q, T, F).
        enrollment : Enrollment or Summary
        lens : torch.Tensor
            Relative lengths, (N * Q,).
        num_samples : int
            Weight samples S over which probabilities are averaged; 0 uses the posterior mean.
        generator : torch.Generator

        Returns
        -------
        torch.Tensor
            Log-probabilities, (N * Q, ...).
        """
        summary = self.encoder.summarize(enrollment)
        if num_samples == 0:
            return self(feats, lens, self.personalize(summary))
        draws = (self.draw(summary, generator)[0] for _ in range(num_samples))
        samples = [self(feats, lens, weights) for weights in draws]
        return torch.stack(samples).logsumexp(0) - torch.tensor(float(num_samples)).log()

    def merge(self, weights, into=None):
        """Writes one speaker's weights into a plain copy of the main model.

        Arguments
        ---------
        weights : dict
            {parameter name: (1, *shape)} from `personalize`.
        into : torch.nn.Module
            What an earlier `merge` gave, while this model stays as it is: only the weights are
            written, in a tenth of the time. None makes a new copy.

        Returns
        -------
        torch.nn.Module
            Of the main model's class, without weight-injected layers or anything of this plugin.

        Raises
        ------
        ValueError
            If the weights are for more than one speaker or do not fit the main model.
        """
        if into is None:
            return unrecordable_(merge_(copy.deepcopy(self.main_model), weights))
        return write_(into, weights, weight_specs(self.main_model))

    def _weights(self, numbers, present):
        """Weights of numbers (N, P); speakers that are not `present` (N,) get none's numbers."""
        none_numbers = self.hyper_personalizer.none_numbers
        numbers = torch.where(present.unsqueeze(1), numbers, none_numbers)
        return self.hyper_personalizer.weights(numbers, self.main_model)
