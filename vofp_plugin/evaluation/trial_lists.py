"""Trial lists: claims of an evaluation, written down before any system is asked.

A list has the lines "label enroll test" of VoxCeleb and SpeechBrain: 1 or 0, whether the claim is
true; what is enrolled; and the utterance that is asked. A claimed word may follow. A second file
says of which utterances an enrollment is made, "enroll utterance utterance ...", the first K of
which are the enrollment of K shots. Without it an enrollment is the utterance of its name.
"""

from pathlib import Path
from typing import NamedTuple

from vofp_plugin.dataio.audio import AUDIO_SUFFIXES
from vofp_plugin.dataio.manifests import SILENCE, some
from vofp_plugin.utils.files import whole_file
from vofp_plugin.utils.seeds import picked, seeded, shuffled


class Trial(NamedTuple):
    """One claim: the query is the enrolled target's.

    Arguments
    ---------
    accepted : bool
        Whether it is true.
    enrollment : str
        Name of the target's enrollment.
    query : str
        ID of the utterance that is asked.
    word : str
        Which word it is claimed to be; None where only the speaker is asked for.
    """

    accepted: bool
    enrollment: str
    query: str
    word: str | None = None


def read_trials(path):
    """Reads a trial list; file suffixes of utterances are cut off, as SpeechBrain does.

    Arguments
    ---------
    path : str or Path

    Returns
    -------
    list of Trial

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a line is none of a trial, or there is none.

    Example
    -------
    >>> path = getfixture("tmp_path") / "veri_test.txt"
    >>> _ = path.write_text("1 id1/a/1.wav id1/b/2.wav\\n0 id1/a/1.wav id2/c/1.wav\\n")
    >>> read_trials(path)[0]
    Trial(accepted=True, enrollment='id1/a/1', query='id1/b/2', word=None)
    """
    trials = []
    for number, fields in _lines(path):
        if len(fields) not in (3, 4) or fields[0] not in ("0", "1"):
            raise ValueError(
                f"Line {number} of {path} is {' '.join(fields)!r}; expected 'label enroll test', "
                "the label 0 or 1, and a word behind it where one is claimed."
            )
        label, enrollment, query, *word = fields
        trials.append(Trial(label == "1", _name(enrollment), _name(query), *word))
    return trials


def write_trials(trials, path):
    """Writes a list that `read_trials` reads.

    Example
    -------
    >>> path = getfixture("tmp_path") / "trials.txt"
    >>> write_trials([Trial(True, "ann_0", "ann_yes_1", "yes")], path)
    >>> path.read_text()
    '1 ann_0 ann_yes_1 yes\\n'
    """
    lines = [
        " ".join([str(int(trial.accepted)), *filter(None, trial[1:])]) + "\n" for trial in trials
    ]
    with whole_file(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def read_enrollments(path):
    """Reads of which utterances each enrollment is made.

    Arguments
    ---------
    path : str or Path

    Returns
    -------
    dict
        {name: list of utterance IDs}.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an enrollment has no utterance or is there twice.

    Example
    -------
    >>> path = getfixture("tmp_path") / "enrollments.txt"
    >>> _ = path.write_text("ann_0 ann/1.wav ann/2.wav\\n")
    >>> read_enrollments(path)
    {'ann_0': ['ann/1', 'ann/2']}
    """
    enrollments = {}
    for number, (name, *utterances) in _lines(path):
        if not utterances or _name(name) in enrollments:
            raise ValueError(
                f"Line {number} of {path} gives {name!r} {len(utterances)} utterances"
                f"{' once more' if _name(name) in enrollments else ''}; expected one line for "
                "each enrollment, with its name and at least one utterance."
            )
        enrollments[_name(name)] = [_name(utterance) for utterance in utterances]
    return enrollments


def write_enrollments(enrollments, path):
    """Writes enrollments {name: utterance IDs} that `read_enrollments` reads.

    Example
    -------
    >>> path = getfixture("tmp_path") / "enrollments.txt"
    >>> write_enrollments({"ann_0": ["a", "b"]}, path)
    >>> path.read_text()
    'ann_0 a b\\n'
    """
    lines = [" ".join([name, *utterances]) + "\n" for name, utterances in enrollments.items()]
    with whole_file(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def single_enrollments(trials):
    """Enrollments of a list without a file of them: each is the utterance of its name.

    Example
    -------
    >>> single_enrollments([Trial(True, "a", "b")])
    {'a': ['a']}
    """
    return {trial.enrollment: [trial.enrollment] for trial in trials}


def check_trials(trials, enrollments, manifest, shots=(1,)):
    """Refuses trials that cannot be answered or say nothing, before anything is computed.

    Arguments
    ---------
    trials : list of Trial
    enrollments : dict
        {name: list of utterance IDs}.
    manifest : dict
        {ID: row} of all utterances, as `read_manifest` gives it.
    shots : iterable of int
        The K that are asked for.

    Raises
    ------
    ValueError
        If an enrollment or an utterance is unknown, an enrollment has fewer utterances than the
        largest K or holds one twice, a query enrolls its own target, or all claims are of one
        class.

    Example
    -------
    >>> trials = [Trial(True, "a", "b"), Trial(False, "a", "c")]
    >>> check_trials(trials, {"a": ["a"]}, {"a": {}, "b": {}, "c": {}})
    """
    if len({trial.accepted for trial in trials}) < 2:
        raise ValueError(
            f"Got {len(trials)} trials of one class; expected true and false claims, or there is "
            "no error rate. Add lines with the other label."
        )
    used = dict.fromkeys(trial.enrollment for trial in trials)
    _refuse("unknown enrollments", [name for name in used if name not in enrollments])
    asked = {trial.query for trial in trials}.union(*(enrollments[name] for name in used))
    _refuse("utterances that are not in the manifest", sorted(asked - manifest.keys()))
    most = max(shots)
    few = [name for name in used if len(set(enrollments[name])) < most]
    _refuse(f"enrollments of fewer than {most} different utterances", few)
    heard = {name: set(enrollments[name]) for name in used}
    own = [f"{t.enrollment} {t.query}" for t in trials if t.query in heard[t.enrollment]]
    _refuse("trials whose query is an utterance of the enrollment", own)


def keyword_trials(manifest, shots, num_draws=10, min_queries=3, num_impostors=20, seed=0):
    """Makes the trials of target-speaker keywords: a command, and whether the target gave it.

    Each draw shuffles a speaker's utterances: the first ones enroll, nested in K, the others are
    asked. Each of these is offered as the word that it is and as another one, and so are
    utterances of other speakers. So the same queries are asked for all K.

    Arguments
    ---------
    manifest : dict
        {ID: row}, as `read_manifest` gives it.
    shots : iterable of int
        The K that will be asked for.
    num_draws : int
        Enrollments of each speaker.
    min_queries : int
        Speakers with fewer than the largest K + min_queries utterances only are impostors.
    num_impostors : int
        Utterances of others that are asked of each enrollment, each of another speaker as long
        as there are enough.
    seed : int

    Returns
    -------
    list of Trial
    dict
        Enrollments, {name: list of utterance IDs}.

    Raises
    ------
    ValueError
        If no speaker has enough utterances, or there is one speaker or one word only.

    Example
    -------
    >>> rows = {f"{s}{w}": {"spk_id": s, "command": w} for s in "ab" for w in "123"}
    >>> trials, enrollments = keyword_trials(rows, [1], num_draws=1, min_queries=2)
    >>> len(trials), list(enrollments)
    (12, ['a_0', 'b_0'])
    """
    words = sorted({row["command"] for row in manifest.values()} - {SILENCE})
    if len(words) < 2:
        raise ValueError(f"Got the words {some(words)}; expected 2: ask for speakers alone.")
    trials, enrollments = [], {}
    for name, enrolled, queries, others, generator in _drawn_enrollments(
        manifest, max(shots), num_draws, min_queries, num_impostors, "keyword trials", seed
    ):
        enrollments[name] = enrolled
        for query in queries + others:
            word = manifest[query]["command"]
            trials.append(Trial(query in queries, name, query, word))
            other_word = picked([w for w in words if w != word], generator)
            trials.append(Trial(False, name, query, other_word))
    return trials, enrollments


def speaker_trials(manifest, shots, num_draws=10, min_queries=3, num_impostors=20, seed=0):
    """Makes the trials of speaker verification, drawn as those of `keyword_trials`.

    Arguments, results and errors are those of `keyword_trials`; no word is claimed.

    Example
    -------
    >>> rows = {f"{s}{i}": {"spk_id": s, "command": "speech"} for s in "ab" for i in range(3)}
    >>> trials, _ = speaker_trials(rows, [1], num_draws=1, min_queries=2)
    >>> [trial.accepted for trial in trials]
    [True, True, False, True, True, False]
    """
    trials, enrollments = [], {}
    for name, enrolled, queries, others, _ in _drawn_enrollments(
        manifest, max(shots), num_draws, min_queries, num_impostors, "speaker trials", seed
    ):
        enrollments[name] = enrolled
        trials += [Trial(query in queries, name, query) for query in queries + others]
    return trials, enrollments


def _drawn_enrollments(manifest, most, num_draws, min_queries, num_impostors, kind, seed):
    """Yields name, utterances, own and others' queries and generator of each enrollment."""
    utterances = {}
    for name, row in manifest.items():
        if row["spk_id"] != SILENCE:
            utterances.setdefault(row["spk_id"], []).append(name)
    targets = [s for s, names in utterances.items() if len(names) >= most + min_queries]
    if not targets or len(utterances) < 2:
        raise ValueError(
            f"Got {len(utterances)} speakers, {len(targets)} of them with at least {most} + "
            f"{min_queries} utterances; expected 2 speakers, 1 of them with enough utterances. "
            "Lower the largest K, or use more data."
        )
    for speaker in targets:
        generator = seeded(kind, seed, speaker)
        for draw in range(num_draws):
            order = shuffled(utterances[speaker], generator)
            others = _impostors(utterances, speaker, num_impostors, generator)
            yield f"{speaker}_{draw}", order[:most], order[most:], others, generator


def _impostors(utterances, speaker, count, generator):
    """IDs of `count` utterances of others, speaker after speaker in a random order."""
    others = shuffled([other for other in utterances if other != speaker], generator)
    names = [others[i % len(others)] for i in range(min(count, len(others)))]
    return [picked(utterances[name], generator) for name in names]


def _lines(path):
    """Numbers and fields of the lines of a file that hold any."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"Trial list {path} does not exist. Make it or fix the path.")
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    fields = [(number, line.split()) for number, line in enumerate(lines, 1) if line.split()]
    if not fields:
        raise ValueError(f"{path} holds no line; expected at least one.")
    return fields


def _name(text):
    """An utterance or enrollment without the suffix of an audio file."""
    path = Path(text)
    return path.with_suffix("").as_posix() if path.suffix in AUDIO_SUFFIXES else text


def _refuse(what, names):
    if names:
        raise ValueError(
            f"Got {len(names)} {what} ({some(names)}); expected none. Fix the lists or the "
            "manifest; nothing was computed."
        )
