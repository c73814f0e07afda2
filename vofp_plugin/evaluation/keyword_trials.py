"""Trials of personal keywords: is a query the enrolled word, and by who enrolled it?"""

from collections import defaultdict

from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.evaluation.detection import DetectionEvaluation
from vofp_plugin.evaluation.trial_lists import Trial
from vofp_plugin.utils.seeds import seeded, shuffled


class KeywordEvaluation(DetectionEvaluation):
    """Asks a detector of personal keywords; the key `detection` of a YAML.

    Arguments
    ---------
    num_draws : int
        Enrollments of each word by each speaker.
    **settings : dict
        As of `DetectionEvaluation`.

    Example
    -------
    >>> KeywordEvaluation(num_draws=2).rules
    ('target_only', 'anybody')
    """

    def __init__(self, num_draws=4, **settings):
        super().__init__(rule="target_only", also=("anybody",), num_draws=num_draws, **settings)

    def draw(self, manifest, shots, num_draws, min_queries):
        """Draws trials and enrollments, as `word_trials`."""
        return word_trials(manifest, shots, num_draws, min_queries)

    def words(self, asked, classes):
        """None: words are no classes of the main model; the head scores them."""
        return None


def word_trials(manifest, shots, num_draws=4, min_queries=1, num_others=40, seed=0):
    """Makes the trials of words by speakers.

    Each draw shuffles the takes of a word by a speaker: the first ones enroll, nested in K, the
    others are asked, and with them the speaker's other words, the word by other speakers, and
    other words by others.

    Arguments
    ---------
    manifest : dict
        {ID: row}, as `read_manifest` gives it.
    shots : iterable of int
        The K that will be asked for.
    num_draws : int
        Enrollments of each word by each speaker.
    min_queries : int
        Words with fewer than the largest K + min_queries takes by a speaker are only asked.
    num_others : int
        Utterances of each kind of false claim, at most.
    seed : int

    Returns
    -------
    list of Trial
    dict
        Enrollments, {name: list of utterance IDs}.

    Raises
    ------
    ValueError
        If no word has enough takes, or there is one speaker or one word only.

    Example
    -------
    >>> rows = {f"{s}{w}{t}": {"spk_id": s, "command": w} for s in "ab" for w in "xy" for t in "12"}
    >>> trials, enrollments = word_trials(rows, [1], num_draws=1)
    >>> len(trials), list(enrollments)
    (28, ['a_x_0', 'a_y_0', 'b_x_0', 'b_y_0'])
    """
    takes, most = defaultdict(list), max(shots)
    for name, row in manifest.items():
        if row["spk_id"] != SILENCE:
            takes[row["spk_id"], row["command"]].append(name)
    targets = [cell for cell, names in takes.items() if len(names) >= most + min_queries]
    speakers, words = ({cell[part] for cell in takes} for part in (0, 1))
    if not targets or len(speakers) < 2 or len(words) < 2:
        raise ValueError(
            f"Got {len(speakers)} speakers, {len(words)} words and {len(targets)} words by a "
            f"speaker with at least {most} + {min_queries} takes; expected 2, 2 and 1. Lower the "
            "largest K, or use more data."
        )
    trials, enrollments = [], {}
    for speaker, word in targets:
        generator = seeded("word trials", seed, speaker, word)
        others = _false_claims(takes, speaker, word)
        for draw in range(num_draws):
            name = f"{speaker}_{word.rpartition(':')[2]}_{draw}"
            order = shuffled(takes[speaker, word], generator)
            enrollments[name] = order[:most]
            trials += [Trial(True, name, query, word) for query in order[most:]]
            for asked in others:
                drawn = shuffled(asked, generator)[:num_others]
                trials += [Trial(False, name, query, word) for query in drawn]
    return trials, enrollments


def _false_claims(takes, speaker, word):
    """Utterances of each kind of false claim, three lists."""
    kinds = {(True, False): [], (False, True): [], (False, False): []}
    for (other, said), names in takes.items():
        if (other, said) != (speaker, word):
            kinds[other == speaker, said == word] += names
    return list(kinds.values())
