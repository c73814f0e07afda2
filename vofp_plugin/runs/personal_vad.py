"""Personal voice activity detection in a run: streams are listed, and answered after training."""

from speechbrain.utils.distributed import if_main_process

from vofp_plugin.evaluation.personal_vad import write_drawn


def ask_streams(hparams, rows):
    """Draws the streams of the test, so that bad input fails before anything is computed.

    Arguments
    ---------
    hparams : dict
        With the key `personal_vad`, or without it where no streams are asked.
    rows : list of dict
        Of the test manifest.

    Returns
    -------
    list of StreamSpec
        Empty where none are asked.
    """
    evaluation = hparams.get("personal_vad")
    return [] if evaluation is None else evaluation.drawn(rows, hparams["test_shots"])


def answer_streams(brain, hparams, rows, specs, folder):
    """Answers the streams of the test, whose list is written first.

    Arguments
    ---------
    brain : PersonalizedBrain
        With its last checkpoint loaded.
    hparams : dict
    rows : list of dict
        Of the test manifest.
    specs : list of StreamSpec
        From `ask_streams`; nothing is done where there are none.
    folder : str or Path
        Of the results.

    Returns
    -------
    dict
        {"personal_vad": rows}, or {} where no streams are asked.
    """
    if not specs:
        return {}
    if if_main_process():
        write_drawn(specs, folder)
    made = [
        row
        for shots in hparams["test_shots"]
        for row in hparams["personal_vad"].rows(
            brain.modules.model, hparams["front_end"], rows, specs, shots
        )
        if shots == hparams["test_shots"][0] or row["enrollment"] != "none"
    ]
    return {"personal_vad": made}
