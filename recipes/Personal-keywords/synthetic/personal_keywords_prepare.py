"""Prepares words to train on, to validate with and to test, of any corpora.

No word and no speaker is in two splits.
"""

from vofp_plugin.dataio.corpora.synthetic_words import make_words
from vofp_plugin.dataio.corpora.word_folders import speech_rows, word_rows
from vofp_plugin.dataio.manifests import check_rows, some, speakers_of, write_manifest
from vofp_plugin.dataio.splits import (
    SPLITS,
    is_prepared,
    manifest_paths,
    mark_prepared,
    stable_shuffle,
)

VALID_SHARE, TEST_SHARE = 0.2, 0.2  # of words, and of speakers


def prepare_personal_keywords(
    data_folder,
    save_folder,
    synthetic_folder=None,
    synthetic_words=None,
    word_folders=(),
    speech_folders=(),
    valid_folder=None,
    test_words=None,
    test_speakers=None,
    heard=True,
    sample_rate=16000,
    skip_prep=False,
):
    """Writes train.csv, valid.csv and test.csv, disjoint by speaker and by word.

    Arguments
    ---------
    data_folder : str or Path
        Words of the corpus that is tested.
    save_folder : str or Path
        Where the manifests go.
    synthetic_folder : str or Path
        Where the synthetic words are, or are made; the data folder, if they are tested. None leaves
        them out.
    synthetic_words : dict
        Arguments of `make_words`.
    word_folders : sequence of str
        More single words to train on.
    speech_folders : sequence of str
        Running speech, of which words are cut to train on.
    valid_folder : str or Path
        Words to validate with; None takes those of the tested corpus that are not tested.
    test_words : sequence of str
        Of the corpus that is tested; None draws a share of them, by their names.
    test_speakers : sequence of str
        Likewise.
    heard : bool
        Whether other words of the tested corpus, by other speakers, are trained on.
    sample_rate : int
        Of every file, in Hz.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    FileNotFoundError
        If a folder holds no words.
    ValueError
        If a split would be empty, or shares a word or a speaker with another.
    """
    if skip_prep:
        return
    options = {key: str(value) for key, value in locals().items() if key != "save_folder"}
    if is_prepared(save_folder, options):
        return
    if synthetic_folder is not None:
        make_words(synthetic_folder, sample_rate=sample_rate, **(synthetic_words or {}))
    tested = word_rows(data_folder, sample_rate)
    rows = split_words(tested, test_words, test_speakers)
    if not heard:
        rows["train"] = []
    if valid_folder is not None:
        rows["valid"] = word_rows(valid_folder, sample_rate)
    if synthetic_folder not in (None, data_folder):
        rows["train"] += word_rows(synthetic_folder, sample_rate)
    for folder in word_folders:
        rows["train"] += word_rows(folder, sample_rate)
    for folder in speech_folders:
        rows["train"] += speech_rows(folder, sample_rate)
    check_disjoint_words(rows)
    paths = manifest_paths(save_folder)
    for split in SPLITS:
        check_rows(rows[split], paths[split])
    for split in SPLITS:
        write_manifest(rows[split], paths[split])
    mark_prepared(save_folder, options)


def split_words(rows, test_words=None, test_speakers=None):
    """Deals the words and speakers of a corpus to three splits: {split: rows}.

    A row is kept where its word and its speaker are of one split.
    """
    corpus = rows[0]["spk_id"].partition(":")[0]
    words = _dealt({row["command"] for row in rows}, test_words, corpus)
    speakers = _dealt(speakers_of(rows), test_speakers, corpus)
    return {
        split: [
            row
            for row in rows
            if words[row["command"]] == split and speakers[row["spk_id"]] == split
        ]
        for split in SPLITS
    }


def _dealt(names, tested, corpus):
    """{name: split}; some are tested, or a share of all, and a share of the others validates."""
    if tested is None:
        order = stable_shuffle(names)
        tested = order[: max(2, round(TEST_SHARE * len(order)))]
    else:
        tested = [f"{corpus}:{name}" for name in tested]
        unknown = set(tested) - set(names)
        if unknown:
            raise ValueError(
                f"Got {some(sorted(unknown))} to test; expected some of {some(names)}."
            )
    others = stable_shuffle(set(names) - set(tested))
    num_valid = max(2, round(VALID_SHARE * len(others)))
    return {
        **dict.fromkeys(others[num_valid:], "train"),
        **dict.fromkeys(others[:num_valid], "valid"),
        **dict.fromkeys(tested, "test"),
    }


def check_disjoint_words(rows):
    """Refuses {split: rows} of which two share a word or a speaker."""
    for key, kind in (("command", "words"), ("spk_id", "speakers")):
        names = {split: {row[key] for row in rows[split]} for split in SPLITS}
        for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
            shared = sorted(names[first] & names[second])
            if shared:
                raise ValueError(
                    f"Splits {first} and {second} share {len(shared)} {kind} ({some(shared)}); "
                    "expected none. Leave one of the folders out."
                )
