"""Personal voice activity: when the enrolled speaker speaks, frame by frame."""

import torch

from vofp_plugin.dataio.audio import check_wav
from vofp_plugin.inference.interfaces import PersonalizedInterface

TOLD = 1  # class of the frames in which the speaker speaks; the first one is silence


class PersonalVAD(PersonalizedInterface):
    """Tells in every frame of recordings of any length whether the speaker speaks.

    The second class of the model is what is told: speech, or the target's speech where a third one
    is that of others.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.inference.front_door import personalize
    >>> from vofp_plugin.lobes.models.frame_cnn import FrameCNN
    >>> front_end = FrontEnd(Fbank(n_mels=40))
    >>> model = personalize(FrameCNN(num_classes=2), front_end).mods.model
    >>> vad = PersonalVAD({"model": model}, {"front_end": front_end})  # or from_hparams(...)
    >>> anna = vad.enroll([torch.rand(16000)])
    >>> vad.activity(torch.rand(2, 48000), profiles=anna).shape
    torch.Size([2, 301])
    >>> segments = vad.segments(torch.rand(48000), anna)
    """

    hears_whole = True

    def forward(self, wavs, wav_lens=None, profiles=None):
        """Tells activity; see `activity`."""
        return self.activity(wavs, wav_lens, profiles)

    def activity(self, wavs, wav_lens=None, profiles=None):
        """Probability of the speaker's speech in every frame of recordings.

        Arguments and errors are those of `answer`, but nothing is cut: shorter recordings are
        padded to the longest.

        Returns
        -------
        torch.Tensor
            (B, T).
        """
        return self.answer(wavs, wav_lens, profiles)[..., TOLD].exp()

    def segments(self, wav, profile=None, threshold=0.5):
        """Stretches of one recording in which the speaker speaks.

        Arguments
        ---------
        wav : str, Path, torch.Tensor or numpy.ndarray
            An audio file or a waveform, (L,).
        profile : Profile
        threshold : float
            Probability from which on a frame is the speaker's speech.

        Returns
        -------
        list of tuple
            Start and end of each, in s.
        """
        (wav,) = self.waveforms([wav])
        active = self.activity([wav], profiles=profile)[0] >= threshold
        seconds = len(wav) / self.hparams.front_end.sample_rate / len(active)  # of a frame
        edges = torch.diff(active.cpu().int(), prepend=torch.zeros(1), append=torch.zeros(1))
        edges = edges.nonzero()[:, 0] * seconds
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

    def features(self, wavs, wav_lens=None):
        """Features (B, T, F) and relative lengths (B,) of whole recordings, padded."""
        wavs = self.waveforms(wavs, wav_lens)
        for number, wav in enumerate(wavs, start=1):
            check_wav(wav, f"Recording {number}")
        batch = torch.nn.utils.rnn.pad_sequence([wav.cpu().float() for wav in wavs], True)
        lens = torch.tensor([len(wav) / batch.shape[1] for wav in wavs])
        parameter = next(self.mods.model.parameters())
        return self.hparams.front_end(batch).to(parameter), lens.to(parameter)
