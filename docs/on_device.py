"""Words of a recording on a device that has numpy and onnxruntime, and neither torch nor vofp.

> vofp export MODEL --format onnx-pair --output exported
> python docs/on_device.py exported query.wav --enroll anna_1.wav anna_2.wav

Files are 16-bit WAVs of one channel. Whether a take is speech is for whoever records it to hear.
"""

import argparse
import json
import wave
from pathlib import Path

import numpy as np
import onnxruntime

HOP, WINDOW = 0.25, 1.0  # s


def read(path, rate):
    """Samples of a WAV, (1, L), full scale at 1."""
    with wave.open(str(path)) as file:
        got = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if got != (rate, 1, 2):
            raise SystemExit(f"{path}: got {got} as rate, channels, bytes; expected {(rate, 1, 2)}")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples[None].astype(np.float32) / 32768


def enroll(session, takes):
    """Weights of a speaker after some takes, one after another; none leaves everybody's."""
    state, weights = {}, None
    for take in takes:
        summary, weights = session.run(None, {"audio": take, **state})
        state = {"summary": summary}  # all that is kept of a speaker
    return {} if weights is None else {"weights": weights}


def main():
    """Prints the likeliest word of every window."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with enroll.onnx and answer.onnx")
    parser.add_argument("query", help="WAV file")
    parser.add_argument("--enroll", nargs="*", default=[], metavar="WAV", help="takes of a speaker")
    arguments = parser.parse_args()
    enroller, answerer = (
        onnxruntime.InferenceSession(arguments.folder / name)
        for name in ("enroll.onnx", "answer.onnx")
    )
    facts = answerer.get_modelmeta().custom_metadata_map
    rate, words = int(facts["sample_rate"]), json.loads(facts["words"])
    weights = enroll(enroller, [read(path, rate) for path in arguments.enroll])
    query, hop, size = read(arguments.query, rate), round(HOP * rate), round(WINDOW * rate)
    for start in range(0, max(1, query.shape[1] - size + hop), hop):
        (scores,) = answerer.run(None, {"audio": query[:, start : start + size], **weights})
        word, score = words[scores.argmax()], np.exp(scores.max())
        print(f"{start / rate:6.2f} s  {word:12}  {score:.3f}")


if __name__ == "__main__":
    main()
