"""Chunks: long utterances cut into pieces of one length."""


def in_chunks(rows, seconds, sample_rate=16000):
    """Cuts the rows of longer utterances; the rest of less than a whole piece is left out.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    seconds : float
        Length of a piece, in s.
    sample_rate : int
        In Hz.

    Returns
    -------
    list of dict
        Rows as they were, of utterances shorter than two pieces, and those of pieces.

    Example
    -------
    >>> row = {"ID": "a", "start": 0, "stop": 70000, "duration": 4.375}
    >>> [(piece["ID"], piece["start"], piece["stop"]) for piece in in_chunks([row], 2.0)]
    [('a_0', 0, 32000), ('a_1', 32000, 64000)]
    >>> in_chunks([row], 3.0) == [row]
    True
    """
    length = round(seconds * sample_rate)
    pieces = []
    for row in rows:
        count = (row["stop"] - row["start"]) // length
        starts = [row["start"] + number * length for number in range(count)]
        cut = [
            {"ID": f"{row['ID']}_{n}", "start": s, "stop": s + length, "duration": seconds}
            for n, s in enumerate(starts)
        ]
        pieces += [row] if count < 2 else [{**row, **piece} for piece in cut]
    return pieces
