"""Makes the synthetic commands, spoken by espeak-ng, and prepares their manifests."""

from pathlib import Path

from vofp_plugin.dataio.corpora.synthetic import make_corpus
from vofp_plugin.dataio.manifests import utterance_rows
from vofp_plugin.dataio.splits import is_prepared, mark_prepared, write_splits


def prepare_synthetic_commands(
    data_folder, save_folder, fold=0, num_folds=5, sample_rate=16000, skip_prep=False
):
    """Writes train.csv, valid.csv and test.csv by speaker folds over all voices.

    Arguments
    ---------
    data_folder : str or Path
        Where the corpus is, or is made if the folder is new or empty.
    save_folder : str or Path
        Where the manifests go.
    fold : int
        Which speaker fold is tested.
    num_folds : int
        Number of speaker folds.
    sample_rate : int
        Of the corpus, in Hz.
    skip_prep : bool
        Do nothing: the manifests are there.

    Raises
    ------
    ImportError
        If the corpus must be made and the package espeakng-loader is missing.
    FileExistsError
        If the data folder holds anything else than this corpus.
    ValueError
        If an option is out of range or a file is refused; no manifest is written then.
    """
    if skip_prep:
        return
    data_folder = Path(data_folder)
    options = {
        "data_folder": str(data_folder.resolve()),
        "fold": fold,
        "num_folds": num_folds,
        "sample_rate": sample_rate,
    }
    utterances = make_corpus(data_folder, sample_rate=sample_rate)
    if is_prepared(save_folder, options):
        return
    rows = utterance_rows(utterances, data_folder, sample_rate)
    write_splits(rows, save_folder, fold, num_folds)
    mark_prepared(save_folder, options)
