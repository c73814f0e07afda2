"""Manifest rows of utterances that nobody spoke."""


def row(row_id, spk_id="ann", command="yes", audio_hash=None):
    return {
        "ID": row_id,
        "duration": 1.0,
        "start": 0,
        "stop": 16000,
        "wav": f"$data_root/{row_id}.wav",
        "spk_id": spk_id,
        "command": command,
        "transcript": command,
        "audio_hash": audio_hash or row_id,
    }
