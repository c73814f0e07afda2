"""Features computed once: log-mels of every utterance of a manifest, cached on disk.

A cache is one array (utterances, T, F) in the order of the manifest. Its name is a digest of the
audio files (path, size, time), the front end and the noise, so a changed input makes a new one, and
so does changed code.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.utils.files import whole_file

logger = get_logger(__name__)


def cached_features(rows, front_end, cache_folder, noise_condition=None, batch_size=64):
    """Features of every utterance, computed on first use.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    front_end : FrontEnd
    cache_folder : str or Path
    noise_condition : NoiseCondition
        None leaves the clips as they are.
    batch_size : int
        Clips computed at a time.

    Returns
    -------
    numpy.ndarray
        (utterances, T, F), float16, mapped from disk, in the order of `rows`.
    """
    path = Path(cache_folder) / f"{cache_key(rows, front_end, noise_condition)}.npy"
    return cached_array(path, lambda: _compute(rows, front_end, noise_condition, batch_size))


def cached_array(path, compute):
    """The array in the file `path`, mapped from disk; `compute` gives it where there is none."""
    if not path.exists():
        logger.info("Computing %s", path)
        path.parent.mkdir(parents=True, exist_ok=True)  # or it fails after all the work
        # Computed first: an error of reading is none of writing, as which `whole_file` tells it.
        array = compute()
        with whole_file(path) as partial, open(partial, "wb") as stream:
            np.save(stream, array)
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"Cannot read the cached array {path} ({error}); delete that file and start again."
        ) from error


def _compute(rows, front_end, noise_condition, batch_size):
    _tell_of_long_clips(rows, front_end)
    features = []
    for start in tqdm(range(0, len(rows), batch_size), desc="Features", unit="batch"):
        batch = rows[start : start + batch_size]
        wavs = [front_end.read(row) for row in batch]
        if noise_condition is not None:
            wavs = [noise_condition.add(wav, row) for wav, row in zip(wavs, batch, strict=True)]
        features.append(front_end(torch.stack(wavs)).half().numpy())
    return np.concatenate(features)


def _tell_of_long_clips(rows, front_end):
    long = [row for row in rows if front_end.is_long(row["stop"] - row["start"])]
    if long:
        logger.warning(
            "%d of %d clips are much longer than %.1f s, such as %s: the loudest stretch of each "
            "is read. If that is not the word, set start and stop in the manifest.",
            len(long),
            len(rows),
            front_end.num_samples / front_end.sample_rate,
            long[0]["wav"],
        )


def cache_key(rows, front_end, noise_condition):
    """Digest of all that the features of manifest rows depend on."""
    digest = hashlib.sha256(front_end.fingerprint(noise_condition).encode())
    if noise_condition is not None:
        digest.update(noise_condition.fingerprint().encode())
    for row in rows:
        stat = Path(row["wav"]).stat()
        facts = [row[key] for key in ("ID", "wav", "start", "stop", "spk_id")]
        digest.update(json.dumps([*map(str, facts), stat.st_size, stat.st_mtime]).encode())
    return digest.hexdigest()[:24]
