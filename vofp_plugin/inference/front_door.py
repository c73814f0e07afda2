"""The front door: a main model of anybody's, personalized by one call, kept small, given back."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load as tensors_of_bytes
from safetensors.torch import save as bytes_of_tensors
from speechbrain.utils.logger import get_logger
from torch import nn

from vofp_plugin.inference.fitting import Effort, fit_, speech_of
from vofp_plugin.inference.identity import identity
from vofp_plugin.inference.interfaces import PersonalizedInterface
from vofp_plugin.inference.profile_file import pack, unpack
from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.normalization import keep_statistics_
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.injection import eject_, unfit_layers
from vofp_plugin.nnet.layers import WEIGHT_INJECTED
from vofp_plugin.nnet.recording import unrecordable_
from vofp_plugin.utils.files import reason_of, whole_file
from vofp_plugin.utils.twin import twin

logger = get_logger(__name__)

SETTINGS, TENSORS = "settings.json", "personalizer.safetensors"
NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm


class Personalized(PersonalizedInterface):
    """What `personalize` gives: it enrolls, answers with profiles, merges, and is saved.

    `mods.model` is the `PersonalizedModel`, for training; `answer` puts out what the main model
    does.
    """

    def __init__(self, model, front_end, settings, give_back):
        device = next(model.parameters()).device
        super().__init__(
            {"model": model}, {"front_end": front_end}, {"device": str(device)}, freeze_params=False
        )
        self.mods.eval()
        self._settings, self._give_back = settings, give_back

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Answers clips; see `answer`."""
        return self.answer(wavs, wav_lens, profiles)

    @property
    def injected(self):
        """What is injected, and what it costs, in words: a line for each layer, and a sum."""
        personalizer, encoder = self.mods.model.hyper_personalizer, self.mods.model.encoder
        lines = [
            f"{name}: {type(form).__name__}, {form.size} numbers"
            for name, form in personalizer.forms.items()
        ]
        added = sum(p.numel() for part in (personalizer, encoder) for p in part.parameters())
        own = sum(p.numel() for p in self.mods.model.main_model.parameters())
        size = len(self.empty_profile().to_bytes())
        lines.append(
            f"{personalizer.num_numbers} numbers of each speaker are made of a profile of {size} "
            f"bytes and about 3000 for each utterance; the personalizer has {added} parameters, "
            f"the main model {own}."
        )
        return "\n".join(lines)

    def fit(self, data, classes=None, data_root=None, **effort):
        """Trains the personalizer, and the main model unless that is frozen.

        It is trained on clips as they are. Recipes add noise and virtual speakers, choose by
        validation speakers and measure what it brings. Profiles made before fit no more.

        Arguments
        ---------
        data, classes, data_root
            As for `speech_of`: a manifest, or a data set.
        **effort : dict
            Fields of `Effort`, such as num_epochs.

        Returns
        -------
        list of float
            Mean loss of every epoch, in nats.

        Raises
        ------
        FileNotFoundError, TypeError, ValueError
            As `speech_of` and `fit_`.
        """
        speech = speech_of(data, self.hparams.front_end, classes, data_root)
        return fit_(self.mods.model, speech, Effort(**effort))

    def unload(self):
        """Gives the main model back as it came, and can do nothing more.

        Its classes, modes and `requires_grad` are what they were; its weights too, unless it was
        trained, with `freeze=False`.

        Returns
        -------
        torch.nn.Module
            The very object that `personalize` got.
        """
        self.mods.model = None
        self._kept_weights.cache_clear()
        return self._give_back()

    def save(self, folder):
        """Writes the personalizer alone to a folder; the main model is kept by whoever has it.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        tensors = bytes_of_tensors(
            {name: x.detach().cpu().contiguous() for name, x in self._small_part().items()}
        )
        content = {
            "settings": self._settings,
            "main_model_digest": _digest(self.mods.model.main_model),
            "front_end_digest": identity(self.hparams.front_end),
            "tensors": hashlib.sha256(tensors).hexdigest(),
        }
        for name, data in ((TENSORS, tensors), (SETTINGS, pack(content))):
            with whole_file(Path(folder) / name) as partial:
                partial.write_bytes(data)

    def _small_part(self):
        """Tensors of all but the main model."""
        state = self.mods.model.state_dict()
        return {name: x for name, x in state.items() if not name.startswith("main_model.")}


def personalize(
    main_model,
    front_end,
    targets="auto",
    exclude=(),
    probe=None,
    freeze=True,
    code_size=16,
    aggregation="bayesian",
    rank=4,
):
    """Puts an untrained personalizer around a main model, checks it, and logs what it injects.

    Arguments
    ---------
    main_model : torch.nn.Module
        Called as `main_model(feats, lens)`, gives one tensor; changed in place until `unload`.
    front_end : FrontEnd
        What the main model was trained with.
    targets : dict or str
        As for `HyperPersonalizer`; None leaves a layer out. "auto" takes the norms ("channel") and
        the last linear layer ("full") as far as they can be injected.
    exclude : iterable of str
        fnmatch patterns of layers to leave out, whatever `targets` says.
    probe : tuple
        Features (B, T, F) and relative lengths (B,) on which the injection is checked; None takes
        those of noise.
    freeze : bool
        Whether the main model is never trained.
    code_size : int
        D.
    aggregation : str
        As for `EnrollmentEncoder`.
    rank : int
        As for `HyperPersonalizer`.

    Returns
    -------
    Personalized

    Raises
    ------
    ValueError, TypeError
        If layers cannot be injected or settings do not fit; the main model is then as it was.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> main_model = DSCNN(num_classes=10)
    >>> personalized = personalize(main_model, FrontEnd(Fbank(n_mels=40)))
    >>> personalized.injected.splitlines()[-3:-1]
    ['classifier.weight: Full, 480 numbers', 'classifier.bias: Full, 10 numbers']
    >>> profile = personalized.enroll([torch.rand(16000)])
    >>> personalized.answer(torch.rand(2, 16000), profiles=profile).shape
    torch.Size([2, 10])
    >>> personalized.unload() is main_model
    True
    """
    give_back = _remember(main_model)
    try:
        probe = _noise(main_model, front_end) if probe is None else probe
        left_out = dict.fromkeys(exclude)
        personalizer = HyperPersonalizer(
            main_model,
            {**(_automatic(main_model) if targets == "auto" else targets), **left_out},
            code_size,
            rank=rank,
            skip=targets == "auto",
            probe=probe,
        )
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in personalizer.forms))
        embedding = ActivationEmbedding(main_model, layers, probe[0].shape[2])
        encoder = EnrollmentEncoder(embedding, code_size=code_size, aggregation=aggregation)
        encoder.to(next(main_model.parameters()))
        settings = dict(targets=targets, exclude=list(exclude), freeze=freeze)
        settings |= dict(code_size=code_size, rank=rank)
        model = PersonalizedModel(main_model, encoder, personalizer, freeze)
        personalized = Personalized(
            model, front_end, {**settings, "aggregation": aggregation}, give_back
        )
    except BaseException:
        give_back()
        raise
    logger.info("Injected:\n%s", personalized.injected)
    return personalized


def load(main_model, front_end, folder, probe=None):
    """Puts a saved personalizer around the main model that it was saved of.

    Arguments
    ---------
    main_model : torch.nn.Module
    front_end : FrontEnd
    folder : str or Path
        What `Personalized.save` wrote.
    probe : tuple
        As for `personalize`.

    Returns
    -------
    Personalized

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a file is damaged, or it was saved of another main model or front end; the main model is
        then as it was.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).is_file():
        raise FileNotFoundError(f"Found no {folder / SETTINGS}; expected what `save` wrote.")
    content, tensors = _read(folder)
    for part, got, expected in (
        ("main model", _digest(main_model), content["main_model_digest"]),
        ("front end", identity(front_end), content["front_end_digest"]),
    ):
        if got != expected:
            raise ValueError(
                f"The personalizer in {folder} was made for another {part} ({expected}, not "
                f"{got}); give that one, or personalize this one anew."
            )
    personalized = personalize(main_model, front_end, probe=probe, **content["settings"])
    try:
        missing, unknown = personalized.mods.model.load_state_dict(tensors, strict=False)
        if unknown or any(not name.startswith("main_model.") for name in missing):
            raise ValueError(f"Got other tensors in {folder} than this version of vofp_plugin has.")
    except (RuntimeError, ValueError) as error:
        personalized.unload()
        raise ValueError(f"Cannot load {folder} ({reason_of(error)}); save it anew.") from error
    return personalized


def _read(folder):
    """Content of the settings of a folder, and its tensors."""
    try:
        content = unpack((folder / SETTINGS).read_bytes())
        data = (folder / TENSORS).read_bytes()
        if hashlib.sha256(data).hexdigest() != content["tensors"]:
            raise ValueError(f"{TENSORS} is another than {SETTINGS} tells of")
        return content, tensors_of_bytes(data)
    except (OSError, LookupError, ValueError) as error:
        raise ValueError(
            f"Cannot read the personalizer in {folder} ({reason_of(error)}); save it anew."
        ) from error


def _automatic(model):
    """Targets of "auto": norms, and the last linear layer, of those that can be injected."""
    unfit = unfit_layers(model)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) in WEIGHT_INJECTED and name and name not in unfit
    }
    targets = {
        n: "channel"
        for n, layer in layers.items()
        if isinstance(layer, NORMS) and layer.weight is not None
    }
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)][-1:]
    targets.update(dict.fromkeys(linear, "full"))
    if not targets:
        raise ValueError(
            f"Found neither norms nor a linear layer to inject in a {type(model).__name__}; name "
            "layers in `targets`."
        )
    return targets


def _noise(main_model, front_end):
    """Features and lengths of a few clips of noise."""
    feats = front_end(0.1 * torch.randn(4, front_end.num_samples))
    feats = feats.to(next(main_model.parameters()))
    return feats, feats.new_ones(len(feats))


def _digest(main_model):
    """Identity of a main model, injected or not."""
    return identity(eject_(keep_statistics_(twin(main_model))))


def _remember(model):
    """Function that gives `model` back with the classes, modes and flags that it has now."""
    modules = [(module, type(module), module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]

    def give_back():
        eject_(unrecordable_(model))
        for module, kind, training in modules:
            module.__class__, module.training = kind, training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        return model

    return give_back
