"""Manifests: the CSV files that say which utterances exist, who speaks them and in which split.

They have the columns of SpeechBrain's Google-speech-commands recipe. Audio is checked once, when
the manifest is prepared, so that training never meets a broken file. How rows are split by speaker
is in vofp_plugin/dataio/splits.py.
"""

import csv
import hashlib
import io
import math
from collections import Counter
from pathlib import Path

from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.dataio.audio import read_audio
from vofp_plugin.utils.files import whole_file

logger = get_logger(__name__)

MANIFEST_COLUMNS = ("ID", "duration", "start", "stop", "wav", "spk_id", "command", "transcript")
SILENCE = "silence"  # spk_id and command of rows that nobody speaks: never enrolled nor scored
SPEECH = "speech"  # command of rows where only the speaker is asked
DATA_ROOT = "$data_root"


def utterance_row(path, data_root, spk_id, command, transcript=None, sample_rate=16000):
    """Checks an utterance's audio and makes its manifest row.

    Arguments
    ---------
    path : str or Path
        Audio file below `data_root`.
    data_root : str or Path
        Folder that ``$data_root`` will stand for.
    spk_id : str
        Name of the speaker, or ``SILENCE``.
    command : str
        Class label.
    transcript : str
        Word spoken; the command if left out.
    sample_rate : int
        Sampling rate, in Hz.

    Returns
    -------
    dict
        One value per manifest column (duration in s, start and stop in samples), and
        "audio_hash", which `drop_duplicates` reads and which no manifest stores.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_audio`.

    Example
    -------
    >>> import soundfile
    >>> root = getfixture("tmp_path")
    >>> soundfile.write(root / "yes.wav", [0.0] * 8000, 16000)
    >>> row = utterance_row(root / "yes.wav", root, spk_id="ann", command="yes")
    >>> row["ID"], row["wav"], row["duration"], row["stop"], row["transcript"]
    ('yes', '$data_root/yes.wav', 0.5, 8000, 'yes')
    """
    samples = read_audio(path, sample_rate)
    relative = Path(path).relative_to(data_root)
    return {
        "ID": relative.with_suffix("").as_posix().replace("/", "_"),
        "duration": len(samples) / sample_rate,
        "start": 0,
        "stop": len(samples),
        "wav": f"{DATA_ROOT}/{relative.as_posix()}",
        "spk_id": spk_id,
        "command": command,
        "transcript": command if transcript is None else transcript,
        "audio_hash": hashlib.sha1(samples.tobytes()).hexdigest(),
    }


def utterance_rows(utterances, data_root, sample_rate=16000):
    """Makes the manifest rows of many utterances, and tells of all that are refused at once.

    Arguments
    ---------
    utterances : list of tuple
        (path, spk_id, command) or (path, spk_id, command, transcript) of each.
    data_root : str or Path
        Folder that ``$data_root`` will stand for.
    sample_rate : int
        The only sampling rate accepted, in Hz.

    Returns
    -------
    list of dict
        As of `utterance_row`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_audio`, if files are refused.

    Example
    -------
    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "yes.wav", [0.0] * 8000, 16000)
    >>> utterance_rows([(folder / "yes.wav", "ann", "yes")], folder)[0]["spk_id"]
    'ann'
    """
    rows, errors = [], []
    for path, *facts in tqdm(utterances, desc="Checking audio", unit="file", disable=None):
        try:
            rows.append(utterance_row(path, data_root, *facts, sample_rate=sample_rate))
        except (OSError, ValueError) as error:
            errors.append(error)
    if len(errors) > 1:
        raise ValueError(
            f"Got {len(errors)} audio files that cannot be used: " + " ".join(map(str, errors[:3]))
        ) from errors[0]
    if errors:
        raise errors[0]
    return rows


def drop_duplicates(rows):
    """Drops rows with the very audio of an earlier row of the same speaker and command.

    Releases hold such copies; kept, one would enroll and the other be the query.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`.

    Returns
    -------
    list
        The rows kept, in their order.

    Example
    -------
    >>> row = {"spk_id": "ann", "command": "yes", "start": 0, "audio_hash": "e1"}
    >>> len(drop_duplicates([row, row, {**row, "spk_id": "bob"}]))
    2
    """
    first = {}
    for row in rows:
        # start tells apart the cuts of one noise recording
        key = (row["spk_id"], row["command"], row["audio_hash"], row["start"])
        first.setdefault(key, row)
    if len(first) < len(rows):
        logger.info("Dropped %d exact duplicates.", len(rows) - len(first))
    return list(first.values())


def write_manifest(rows, path):
    """Writes a manifest whole or not at all.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`; IDs must be unique.
    path : str or Path
        CSV file; its folder is made.

    Raises
    ------
    ValueError
        If there are no rows or an ID repeats.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> row = dict(ID="a", duration=1.0, start=0, stop=16000, wav="$data_root/a.wav",
    ...            spk_id="ann", command="yes", transcript="yes")
    >>> write_manifest([row], path)
    >>> read_manifest(path, data_root="corpus")["a"]["wav"]
    'corpus/a.wav'
    """
    check_rows(rows, path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MANIFEST_COLUMNS)
    writer.writerows([row[column] for column in MANIFEST_COLUMNS] for row in rows)
    with whole_file(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def check_rows(rows, path):
    """Refuses rows that make no manifest: none at all, or with repeated IDs.

    Arguments
    ---------
    rows : list
        Rows of `utterance_row`.
    path : str or Path
        Where the manifest would be, for the message.

    Raises
    ------
    ValueError

    Example
    -------
    >>> check_rows([{"ID": "a"}, {"ID": "b"}], "test.csv")
    """
    if not rows:
        raise ValueError(
            f"Got no rows for {path}; expected at least one. An empty split is an error."
        )
    repeated = [row_id for row_id, count in Counter(r["ID"] for r in rows).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Got repeated IDs for {path}: {some(repeated)}. IDs are paths without suffix, "
            "/ as _: rename or delete one of the files."
        )


def read_table(path, columns):
    """Reads a CSV file that must have some columns.

    Arguments
    ---------
    path : str or Path
        CSV file with a header; fields are separated by commas, semicolons or tabs.
    columns : iterable
        Names that the header must hold; others may be there too.

    Returns
    -------
    list
        One dict of strings per row.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no UTF-8 CSV, a column is missing, a row has too few or too many fields, or
        there is no row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "words.csv"
    >>> _ = path.write_text("file,class\\na.wav,yes\\n")
    >>> read_table(path, ["file", "class"])
    [{'file': 'a.wav', 'class': 'yes'}]
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"CSV file {path} does not exist. Prepare the data or fix the path."
        )
    try:
        # utf-8-sig also reads the mark that spreadsheet programs put first
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline(), columns)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            found = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8 ({error}).") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing}: got {found}, expected {list(columns)}. "
            "Add them to its first line, with fields separated by commas, semicolons or tabs."
        )
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():  # how csv marks too many and too few fields
            raise ValueError(
                f"Row {number} of {path} has too few or too many fields; expected {len(found)}, "
                "as in its first line."
            )
    if not rows:
        raise ValueError(f"{path} has no rows; expected at least one. An empty split is an error.")
    return rows


def _delimiter(header, columns):
    """What separates the fields of a header, as spreadsheet programs of its country have it."""
    for delimiter in ",;\t":
        found = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        if set(columns) <= set(found):
            return delimiter
    return ","


def read_manifest(path, data_root=None):
    """Reads a manifest as SpeechBrain's `DynamicItemDataset` wants it.

    Arguments
    ---------
    path : str or Path
        CSV file with ``MANIFEST_COLUMNS``; other columns are ignored.
    data_root : str or Path
        Folder that replaces ``$data_root``; without it paths stay as written.

    Returns
    -------
    dict
        {ID: row} in file order. A row has the other columns, with duration as float (s) and
        start and stop as int (samples).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As `read_table`, or if an ID repeats, a value is missing or a number makes no sense.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> _ = path.write_text(",".join(MANIFEST_COLUMNS) + "\\n"
    ...                     "a,1.0,0,16000,$data_root/a.wav,ann,yes,yes\\n")
    >>> read_manifest(path)["a"]["stop"]
    16000
    """
    manifest = {}
    for number, row in enumerate(read_table(path, MANIFEST_COLUMNS), start=1):
        place = f"Row {number} of {path}"
        if row["ID"] in manifest:
            raise ValueError(f"{place} repeats the ID {row['ID']!r}; IDs must be unique.")
        manifest[row["ID"]] = _typed_row(row, place, data_root)
    return manifest


def _typed_row(row, place, data_root):
    """Row of strings -> row of a manifest in memory; `place` names it in errors."""
    for column in ("ID", "wav", "spk_id", "command"):
        if not row[column]:
            raise ValueError(
                f"{place} has no {column}. (The spk_id of noise without a speaker is {SILENCE!r}.)"
            )
    try:
        duration, start, stop = float(row["duration"]), int(row["start"]), int(row["stop"])
        valid = 0 < duration < math.inf and 0 <= start < stop
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"{place} has bad numbers: got duration {row['duration']!r}, start {row['start']!r}, "
            f"stop {row['stop']!r}; expected seconds above 0 and whole samples 0 <= start < stop."
        )
    wav = row["wav"] if data_root is None else row["wav"].replace(DATA_ROOT, str(data_root))
    return {
        "duration": duration,
        "start": start,
        "stop": stop,
        "wav": wav,
        "spk_id": row["spk_id"],
        "command": row["command"],
        "transcript": row["transcript"],
    }


def speakers_of(rows):
    """Names of all who speak in manifest rows; ``SILENCE`` is nobody.

    Example
    -------
    >>> speakers_of([{"spk_id": "ann"}, {"spk_id": SILENCE}, {"spk_id": "ann"}])
    {'ann'}
    """
    return {row["spk_id"] for row in rows} - {SILENCE}


def some(names, most=5):
    """A few names for an error message.

    Example
    -------
    >>> some("abc", most=2)
    'a, b, ...'
    """
    names = list(names)
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
