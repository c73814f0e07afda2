"""Export to ONNX: files that onnxruntime runs, on a phone too, without torch and this plugin.

It needs the extra `onnx`. What a file takes and gives is of one item; its metadata hold the
sampling rate ("sample_rate", in Hz) and, where there are classes, their names ("words", JSON).
"""

import json
from importlib.util import find_spec
from pathlib import Path

import torch

from vofp_plugin.inference.audio_model import Answerer, Enroller, joined
from vofp_plugin.inference.export import check_parity, dynamic_length, noises, speaker_model
from vofp_plugin.inference.matrix_stft import with_matrix_stft
from vofp_plugin.utils.files import reason_of, whole_file

PACKAGES = "onnx", "onnxruntime", "onnxscript"
ENROLL, ANSWER = "enroll.onnx", "answer.onnx"
PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}  # or onnxruntime asks for it
LARGEST_CONSTANT = 1024  # bytes, of what is computed beforehand


def export_onnx(spotter, profile, path):
    """Writes a speaker's model: "audio" (1, L), of any length from 0.1 s on, to "scores" (1, ...).

    Scores are what the model puts out, such as log-probabilities. The file is tried before it is
    kept.

    Arguments
    ---------
    spotter : PersonalizedInterface
        On the CPU.
    profile : Profile
        Of the speaker; None exports the model for everybody.
    path : str or Path

    Raises
    ------
    TypeError
        If the model is not personalized.
    ValueError
        If it cannot be exported, or the file answers otherwise by more than `TOLERANCE`.
    ImportError
        If the extra `onnx` is not installed.
    OSError
        If the file cannot be written.
    """
    _check_packages()
    model = speaker_model(spotter, profile)
    _write(_converted(model, ["audio"], ["scores"], spotter), path)


def export_onnx_pair(spotter, folder):
    """Writes what enrolls on the device: "enroll.onnx" and "answer.onnx".

    "enroll.onnx" takes "audio" (1, L), an utterance, and "summary" (1, S), what was kept of those
    before, by default none. It gives "new_summary" (1, S), and "weights" (1, W) of the speaker.
    "answer.onnx" takes "audio" and "weights", by default everybody's, and gives "scores". Whether
    an utterance is speech is not asked.

    Arguments
    ---------
    spotter : PersonalizedInterface
        On the CPU.
    folder : str or Path

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        As `export_onnx`, or if the model needs to be told the words of an enrollment.
    """
    _check_packages()
    model, front_end, empty = spotter.mods.model, spotter.hparams.front_end, spotter.empty_profile()
    if model.told_words:
        raise ValueError(
            "Got a model that is told the words of an enrollment; expected one that is not: "
            "export a speaker's model instead."
        )
    weights = empty.weights(model)
    shapes = {name: weight.shape[1:] for name, weight in weights.items()}
    heard = spotter.conclude, spotter.hears_whole
    answerer = Answerer(front_end, model, shapes, *heard).eval()
    enroller = Enroller(front_end, model).eval()
    with torch.no_grad():
        model(*answerer.features(noises(front_end)[0]), weights)  # checks it once, not in the graph
    for name, part, names, state in (
        (ENROLL, enroller, (["audio", "summary"], ["new_summary", "weights"]), empty.summary),
        (ANSWER, answerer, (["audio", "weights"], ["scores"]), weights.values()),
    ):
        _write(_converted(part, *names, spotter, joined(state)), Path(folder) / name)


def round_to_8_bits(path, target):
    """Writes a copy of an exported model with the weights of the main model's layers in 8 bits.

    Convolutions and linear layers compute in 8 bits then, features as before. Answers change a
    little: try the copy.

    Arguments
    ---------
    path : str or Path
        What `export_onnx` wrote.
    target : str or Path
    """
    _check_packages()
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    proto = onnx.load(path)
    for key, value in PREPARED.items():
        proto.metadata_props.add(key=key, value=value)
    others = [node.name for node in proto.graph.node if not _is_main(node)]
    with whole_file(target) as partial:
        quantize_dynamic(proto, partial, nodes_to_exclude=others)


def _check_packages():
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Found no {', '.join(missing)}; install the extra: pip install 'vofp_plugin[onnx]'."
        )


@torch.no_grad()
def _converted(model, inputs, outputs, spotter, *states):
    """ONNX model of an `AudioModel` that takes audio and states; these are its defaults."""
    examples = [(audio, *states) for audio in noises(model.front_end)]
    proto = _stripped(_translated(model, examples[1], inputs, outputs))
    _set_defaults(proto, dict(zip(inputs[1:], states, strict=True)))
    _describe(proto, spotter)
    _check(proto, model, examples, inputs)
    return proto


def _translated(model, example, inputs, outputs):
    """What torch makes of a model, with constants computed where it runs, for a small file."""
    from onnxscript import optimizer

    dynamic = (dynamic_length(model.front_end), *(None for _ in example[1:]))
    names = {"input_names": inputs, "output_names": outputs}
    try:
        program = torch.onnx.export(
            model.with_front_end(with_matrix_stft(model.front_end)),
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            optimize=False,
            verbose=False,
            **names,
        )
    except Exception as error:  # of many kinds, all of which tell what has no counterpart
        raise ValueError(
            f"Cannot export a {type(model.main_model).__name__} ({reason_of(error)}); expected "
            "tensor operations that do not depend on values and that ONNX has."
        ) from error
    optimizer.optimize(program.model, output_size_limit=LARGEST_CONSTANT)
    return program.model_proto


def _stripped(proto):
    """The model without what tells where its nodes come from, which is most of a small file."""
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
        value.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    return proto


def _is_main(node):
    """Whether a node of a graph has a weight of the main model."""
    return any(name.startswith("main_model.") for name in node.input)


def _set_defaults(proto, states):
    from onnx import numpy_helper

    for name, state in states.items():
        proto.graph.initializer.append(numpy_helper.from_array(state.numpy(), name))


def _describe(proto, spotter):
    """Puts into the metadata what a program needs to know."""
    facts = {"sample_rate": str(spotter.hparams.front_end.sample_rate)}
    encoder = getattr(spotter.hparams, "label_encoder", None)
    if encoder is not None:
        facts["words"] = json.dumps([encoder.ind2lab[index] for index in range(len(encoder))])
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)


def _check(proto, model, examples, inputs):
    """Asks onnxruntime and torch the same."""
    from onnxruntime import InferenceSession

    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for example in examples:
        feeds = {name: x.numpy() for name, x in zip(inputs, example, strict=True)}
        expected = model(*example)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for tensor, array in zip(expected, session.run(None, feeds), strict=True):
            check_parity(tensor, torch.from_numpy(array))


def _write(proto, path):
    with whole_file(path) as partial:
        partial.write_bytes(proto.SerializeToString())
