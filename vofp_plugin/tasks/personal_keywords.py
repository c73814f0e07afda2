"""Personal keywords: is this the enrolled word, and is it said by who enrolled it?"""

from typing import NamedTuple

import torch

from vofp_plugin.tasks.base import Task
from vofp_plugin.tasks.detection import pairwise_loss, prototype_softmax
from vofp_plugin.utils.frame_level import frame_levels

NO_WORD = -1
SOUND_RANGE = 25.0  # dB below the loudest frame of an item
STRADDLING = 6  # one of so many items more holds the end of a word and the beginning of another


class HeardWords(NamedTuple):
    """What a `KeywordDetector` makes of an episode whose B items are offered as N targets.

    Arguments
    ---------
    scores : torch.Tensor
        Of word and voice, (N, B, 2), in nats.
    asked : torch.Tensor
        Which items are asked as which targets, (N, B), bool: not those that enroll them.
    same_word, same_voice : torch.Tensor
        Whether the item is of the target's word, and of its voice, (N, B), bool.
    words, voices : torch.Tensor
        Of the targets, (N,).
    kl : torch.Tensor
        Divergence of each target's posterior to the prior, (N,), in nats.
    """

    scores: torch.Tensor
    asked: torch.Tensor
    same_word: torch.Tensor
    same_voice: torch.Tensor
    words: torch.Tensor
    voices: torch.Tensor
    kl: torch.Tensor


class PersonalKeywordTask(Task):
    """Detection of words that are known by their takes alone.

    A query finds its word among those of each speaker, and its speaker among those who enrolled
    its word. All true claims are set against all false ones of the episode, for one threshold.

    Arguments
    ---------
    voice_weight : float
        Of the losses of voices, beside those of words.
    beta : float
        Of the KL divergence per claim; it is 0 for heads whose posterior has a closed form.

    Example
    -------
    >>> PersonalKeywordTask().classes([{"command": "up"}, {"command": "down"}])
    ['keyword']
    """

    classifies = False

    def __init__(self, voice_weight=0.5, beta=1.0):
        if voice_weight < 0 or beta < 0:
            raise ValueError(
                f"Got voice_weight {voice_weight} and beta {beta}; expected 0 or more."
            )
        self.voice_weight = voice_weight
        self.beta = beta

    def classes(self, rows):
        """One, whatever the rows: nothing is classified."""
        return ["keyword"]

    def labels(self, rows, encoder, features):
        """Number of the word of every row among theirs, (U,)."""
        number = {word: index for index, word in enumerate(sorted({r["command"] for r in rows}))}
        return torch.tensor([number[row["command"]] for row in rows])

    def check(self, model):
        """Refuses a model that scores no words."""
        if not hasattr(getattr(model, "head", None), "word"):
            raise ValueError(
                f"Got a {type(model).__name__}, which scores no words; expected a KeywordDetector."
            )

    def predict(self, model, episode, generator=None):
        """Hears every item once, and scores it as every target: `HeardWords`.

        Places of the enrollment that are empty hold queries.
        """
        enrollment, queries, _, voices = episode
        num_targets, shots = enrollment.lens.shape
        feats = torch.cat([enrollment.feats, queries.feats], dim=1)
        per_target, words = feats.shape[1], queries.labels[:, 0]
        of_words, of_voices = (x.repeat_interleave(per_target) for x in (words, voices))
        feats = feats.flatten(0, 1)
        straddling, their_voices = straddle(feats, of_words, of_voices, generator)
        _, codes = model.hear(torch.cat([feats, straddling]))

        enrolls = feats.new_zeros(num_targets, per_target).bool()
        enrolls[:, :shots] = enrollment.lens > 0
        takes = codes[: len(feats)].unflatten(0, (num_targets, per_target))
        weights, kl = model.head.draw(model.head.summarize(takes, enrolls), generator)
        own = torch.block_diag(*enrolls.unsqueeze(1))  # what enrolls each target, (N, items)
        of_words = torch.cat([of_words, of_words.new_full((len(straddling),), NO_WORD)])
        of_voices = torch.cat([of_voices, their_voices])
        return HeardWords(
            model.head.all_pairs(codes, weights),
            torch.nn.functional.pad(~own.bool(), (0, len(straddling)), value=True),
            words.unsqueeze(1) == of_words,
            voices.unsqueeze(1) == of_voices,
            words,
            voices,
            kl,
        )

    def objective(self, predictions, episode):
        """Computes all loss terms of `HeardWords`, {name: scalar}, the sum as "loss"."""
        heard = predictions
        word, voice = heard.scores.unbind(dim=2)
        true, false = heard.asked & heard.same_word, heard.asked & ~heard.same_word
        mine = true & heard.same_voice
        others, other_voices = true & ~heard.same_voice, heard.asked & ~heard.same_voice
        terms = {
            "word_prototype": _within(heard.voices, word, true, false),
            "word_pairwise": (pairwise_loss(word, mine, false) + pairwise_loss(word, others, false))
            / 2,
            "voice_prototype": _within(heard.words, voice, mine, others),
            "voice_pairwise": (
                pairwise_loss(voice, mine, others) + pairwise_loss(voice, mine, other_voices)
            )
            / 2,
            "kl": heard.kl.mean(),
        }
        loss = terms["word_prototype"] + terms["word_pairwise"] / 2
        loss = loss + self.voice_weight * (terms["voice_prototype"] + terms["voice_pairwise"] / 2)
        return {**terms, "loss": loss + self.beta * terms["kl"] / word.shape[1]}


def straddle(feats, words, voices, generator=None):
    """Items that hold the end of one word and the beginning of another, as running speech does.

    Arguments
    ---------
    feats : torch.Tensor
        Log-mels of B items, (B, T, F), in dB.
    words, voices : torch.Tensor
        Of the items, (B,).
    generator : torch.Generator

    Returns
    -------
    torch.Tensor
        Features of one item for `STRADDLING` of B, (B', T, F).
    torch.Tensor
        Their voices, (B',).

    Example
    -------
    >>> words, voices = torch.arange(12), torch.zeros(12).long()
    >>> feats, of_voices = straddle(torch.rand(12, 101, 40), words, voices)
    >>> feats.shape, of_voices.tolist()
    (torch.Size([2, 101, 40]), [0, 0])
    """
    first = torch.randperm(len(feats), generator=generator)[: len(feats) // STRADDLING]
    rank = torch.rand(len(first), len(feats), generator=generator).to(feats.device)
    first = first.to(feats.device)
    fits = (voices[first, None] == voices) & (words[first, None] != words)
    second = rank.masked_fill(~fits, -1).argmax(dim=1)
    first, second = first[fits.any(dim=1)], second[fits.any(dim=1)]
    made = [
        _joined(feats[i], feats[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
    return torch.stack(made) if made else feats[:0], voices[first]


def _joined(first, second):
    """The second half of one word's sound and the first half of another's, (T, F)."""
    frames = len(first)
    _, middle, end = _sound(first)
    start, centre, _ = _sound(second)
    sound = torch.cat([first[middle:end], second[start:centre]])
    before = (frames - len(sound)) // 2
    quiet = first[first.mean(dim=1).argmin()].expand(frames, -1)
    return torch.cat([quiet[:before], sound, quiet[: frames - before - len(sound)]])


def _sound(feats):
    """First frame, middle and end of what is less than `SOUND_RANGE` dB below the loudest frame."""
    level = frame_levels(feats)
    loud = (level > level.max() - SOUND_RANGE).nonzero().flatten()
    begin, end = int(loud[0]), int(loud[-1]) + 1
    return begin, (begin + end) // 2, end


def _within(groups, scores, accepted, rejected):
    """`prototype_softmax` among the targets of each group (N,), the mean over groups."""
    losses = [
        prototype_softmax(
            scores[groups == group], accepted[groups == group], rejected[groups == group]
        )
        for group in groups.unique()
    ]
    return torch.stack(losses).mean()
