"""The training objective: a bound on the log-evidence of each speaker's queries, and a term that
makes the code tell speakers apart."""

import torch


class Elbo(torch.nn.Module):
    """Negative evidence lower bound per query, averaged over speakers.

    For each speaker: mean negative log-likelihood of the queries + beta * KL / num_data. With
    beta = 1 this bounds the log-evidence of the speaker's queries; a smaller beta is a choice
    that results must name.

    Arguments
    ---------
    num_data : int
        Queries that one draw of the latent weights explains. The weights are the speaker's, so
        this is Q, the queries per speaker, not the size of the data set.
    beta : float
        Weight of the KL term.

    Source
    ------
    Kim, Lee, Chang, Kwak. Variational On-the-Fly Personalization. ICML 2022. The formulation is
    ours: see docs/design.md.

    Example
    -------
    >>> terms = Elbo(num_data=4, beta=0.5)(nll=torch.ones(3, 4), kl=torch.full((3,), 8.0))
    >>> terms["loss"].item(), terms["nll"].item(), terms["kl"].item()
    (2.0, 1.0, 8.0)
    """

    def __init__(self, num_data, beta=1.0):
        super().__init__()
        if num_data < 1 or beta < 0:
            raise ValueError(
                f"Got num_data {num_data} and beta {beta}; expected num_data >= 1 and beta >= 0."
            )
        self.num_data = num_data
        self.beta = beta

    def forward(self, nll, kl):
        """Computes the loss and its terms.

        Arguments
        ---------
        nll : torch.Tensor
            Negative log-likelihood of each query, (N, Q), in nats.
        kl : torch.Tensor
            KL divergence of each speaker, summed over weights, (N,), in nats.

        Returns
        -------
        dict
            Scalars "loss", "nll" and "kl" (nats).
        """
        if nll.dim() != 2 or kl.shape != nll.shape[:1]:
            raise ValueError(
                f"Got nll of shape {tuple(nll.shape)} and kl of shape {tuple(kl.shape)}; expected "
                "(speakers, queries) and (speakers,)."
            )
        terms = {"nll": nll.mean(), "kl": kl.mean()}
        terms["loss"] = terms["nll"] + self.beta * terms["kl"] / self.num_data
        return terms


class SpeakerContrast(torch.nn.Module):
    """Cross-entropy of finding, among all speakers of an episode, the one who is speaking.

    Without it a hyper-personalizer may learn to ignore the enrollment: few training speakers are
    soon known by heart, and then a code need not say who speaks.

    Arguments
    ---------
    weight : float
        Of this term in the loss.
    temperature : float
        Cosine similarities are divided by it.

    Source
    ------
    NT-Xent: Sohn. Improved Deep Metric Learning with Multi-class N-pair Loss Objective. NeurIPS
    2016; van den Oord, Li, Vinyals. Representation Learning with Contrastive Predictive Coding.
    arXiv:1807.03748.

    Example
    -------
    >>> codes = torch.eye(4)
    >>> contrast = SpeakerContrast(weight=0.1)
    >>> bool(contrast(codes, codes) < contrast(codes, codes.flip(0)))
    True
    """

    def __init__(self, weight=0.1, temperature=0.1):
        super().__init__()
        if weight < 0 or not temperature > 0:
            raise ValueError(
                f"Got weight {weight} and temperature {temperature}; expected weight >= 0 and "
                "temperature > 0."
            )
        self.weight = weight
        self.temperature = temperature

    def forward(self, codes, others):
        """Computes the weighted term, a scalar in nats.

        Arguments
        ---------
        codes : torch.Tensor
            Of N speakers, (N, D); of no speaker the term is zero.
        others : torch.Tensor
            Of other utterances of the same speakers in the same order, (N, D).
        """
        if len(codes) == 0:
            return codes.sum()
        codes, others = (torch.nn.functional.normalize(x, dim=1) for x in (codes, others))
        similarity = codes @ others.T / self.temperature
        speakers = torch.arange(len(codes), device=codes.device)
        return self.weight * torch.nn.functional.cross_entropy(similarity, speakers)
