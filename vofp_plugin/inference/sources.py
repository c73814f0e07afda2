"""Sources of streams: a microphone, and any other that must not stall."""

import queue
import threading

PATIENCE = 10.0  # s
KEPT = 100  # chunks of a microphone that wait to be heard


def patient(chunks, seconds=PATIENCE):
    """Passes chunks on, and says so where the stream stalls.

    Arguments
    ---------
    chunks : iterable
        Read in another thread, one chunk ahead.
    seconds : float
        How long to wait for a chunk.

    Yields
    ------
    object
        What `chunks` has.

    Raises
    ------
    TimeoutError
        If nothing comes for so long.
    Exception
        Whatever reading raises.

    Example
    -------
    >>> list(patient([1, 2]))
    [1, 2]
    """
    arrived = queue.Queue(maxsize=1)
    threading.Thread(target=_read, args=(chunks, arrived), daemon=True).start()
    while True:
        try:
            chunk, error, ended = arrived.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(
                f"The stream has stalled: nothing came for {seconds:g} s; start it again."
            ) from None
        if error is not None:
            raise error
        if ended:
            return
        yield chunk


def _read(chunks, arrived):
    """Puts triples (chunk, error, whether it was the end) where they are waited for."""
    try:
        for chunk in chunks:
            arrived.put((chunk, None, False))
    except Exception as error:
        arrived.put((None, error, False))
    else:
        arrived.put((None, None, True))


def microphone(sample_rate, seconds=0.1):
    """Listens to the microphone that the system has chosen, until the caller stops.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    seconds : float
        Length of a chunk.

    Yields
    ------
    numpy.ndarray
        (L,), float32, full scale at 1.

    Raises
    ------
    ImportError
        If the extra `microphone` is not installed.
    OSError
        If there is no microphone, it cannot be used, or the caller is too slow.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # the latter without PortAudio
        raise ImportError(
            f"Cannot listen to a microphone ({error}); install the extra and PortAudio: "
            "pip install 'vofp_plugin[microphone]', apt-get install libportaudio2."
        ) from error
    arrived = queue.Queue(maxsize=KEPT)

    def keep(samples, *_):
        if not arrived.full():
            arrived.put(samples[:, 0].copy())

    size = round(seconds * sample_rate)
    try:
        with sounddevice.InputStream(sample_rate, size, channels=1, callback=keep):
            while not arrived.full():
                yield arrived.get()
    except sounddevice.PortAudioError as error:
        raise OSError(f"Cannot listen to the microphone ({error}); is one plugged in?") from error
    raise OSError(f"Heard less than was said: {KEPT * seconds:g} s wait; take a longer hop.")
