"""Folders of words and of running speech, of any corpus, as manifest rows.

    FOLDER/.../WORD/SPEAKER_TAKE.flac        single words: Google's, Arabic and synthetic commands
    FOLDER/SUBSET/SPEAKER/.../ID.flac        running speech: LibriSpeech, speechocean762

Names of words and speakers begin with that of their corpus, so that equal names of two corpora are
told apart.
"""

from pathlib import Path

import torch

from vofp_plugin.dataio.audio import audio_files, read_audio
from vofp_plugin.dataio.corpora.cut_words import cut_words
from vofp_plugin.dataio.manifests import DATA_ROOT, drop_duplicates, utterance_rows


def word_rows(folder, sample_rate=16000, words=None):
    """Manifest rows of the single words below a folder, with paths as they are.

    Arguments
    ---------
    folder : str or Path
        Files whose name has a _ are utterances: of the speaker before it, of the word that their
        folder is named by. Folders that begin with _ or . are left out.
    sample_rate : int
        In Hz.
    words : iterable of str
        Which are kept; None keeps all.

    Returns
    -------
    list of dict
        Without exact duplicates.

    Raises
    ------
    FileNotFoundError
        If there are none.

    Example
    -------
    >>> import soundfile
    >>> folder = getfixture("tmp_path") / "mine"
    >>> (folder / "yes").mkdir(parents=True)
    >>> soundfile.write(folder / "yes" / "ann_1.wav", [0.0] * 8000, 16000)
    >>> [(row["spk_id"], row["command"]) for row in word_rows(folder)]
    [('mine:ann', 'mine:yes')]
    """
    paths = [path for path in _corpus_files(folder) if "_" in path.stem]
    if words is not None:
        paths = [path for path in paths if path.parent.name in set(words)]
    if not paths:
        raise FileNotFoundError(
            f"Found no WORD/SPEAKER_*.wav or .flac in {folder}{'' if words is None else ' of the '}"
            f"{'' if words is None else 'asked words'}; expected takes of words in a folder each."
        )
    corpus = _corpus(folder)
    facts = [
        (path, f"{corpus}:{path.stem.partition('_')[0]}", f"{corpus}:{path.parent.name}")
        for path in paths
    ]
    return drop_duplicates(_rows(facts, folder, sample_rate))


def speech_rows(folder, sample_rate=16000):
    """Manifest rows of words cut from the running speech below a folder; each is said once.

    Arguments
    ---------
    folder : str or Path
        The second folder of a path names the speaker, the first one where there is but one.
    sample_rate : int
        In Hz.

    Returns
    -------
    list of dict
    """
    paths, corpus = _corpus_files(folder), _corpus(folder)
    if not paths:
        raise FileNotFoundError(f"Found no .wav or .flac in {folder}; expected running speech.")
    facts = [(path, f"{corpus}:{_speaker(path, folder)}", corpus) for path in paths]
    return [cut for row in _rows(facts, folder, sample_rate) for cut in _cut(row, sample_rate)]


def _rows(facts, folder, sample_rate):
    """Manifest rows whose paths are whole, and whose IDs begin with the corpus."""
    folder, corpus = Path(folder).resolve(), _corpus(folder)
    facts = [(path.resolve(), *names) for path, *names in facts]
    return [
        {
            **row,
            "ID": f"{corpus}_{row['ID']}",
            "wav": row["wav"].replace(DATA_ROOT, str(folder)),
        }
        for row in utterance_rows(facts, folder, sample_rate)
    ]


def _cut(row, sample_rate):
    samples = torch.from_numpy(read_audio(row["wav"], sample_rate))
    return [
        {
            **row,
            "ID": f"{row['ID']}_{number:02}",
            "start": start,
            "stop": stop,
            "duration": (stop - start) / sample_rate,
            "command": f"{row['ID']}_{number:02}",
            "transcript": "",
        }
        for number, (start, stop) in enumerate(cut_words(samples, sample_rate))
    ]


def _corpus_files(folder):
    """Recordings below a folder, sorted, without those in folders that begin with _."""
    return [
        path
        for path in audio_files(folder)
        if not any(part.startswith("_") for part in path.relative_to(folder).parts)
    ]


def _corpus(folder):
    return Path(folder).resolve().name


def _speaker(path, folder):
    parts = path.relative_to(folder).parts[:-1]
    return parts[1] if len(parts) > 1 else parts[0] if parts else path.stem
