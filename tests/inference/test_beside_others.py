"""The table that compares the front door with others' adapters: every row of it is run."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.nnet.adapters import AdaptedModel, LoRA
from voices import utter

import vofp_plugin
from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.lobes.models.ds_cnn import DSCNN

FRONT_END = FrontEnd(Fbank(n_mels=40))
LAYERS = ["classifier"]


def main_model():
    torch.manual_seed(1)
    return DSCNN(num_classes=3, channels=8, num_blocks=1).eval()


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def step(model, feats):
    """One gradient step, as all who adapt by gradients need for a speaker."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(feats).square().mean().backward()
    optimizer.step()


@pytest.fixture
def wavs():
    return torch.stack([utter(take=take) for take in range(3)])


def test_rows_of_this_plugin(wavs, tmp_path):
    model = main_model()
    personalized = vofp_plugin.personalize(model, FRONT_END, {"classifier": "full"})
    assert "classifier.weight: Full" in personalized.injected
    torch.nn.init.normal_(personalized.mods.model.hyper_personalizer.mean.weight)
    anna, bert = personalized.enroll(wavs[:2]), personalized.enroll([utter(230.0, 1.3)])
    mixed = personalized.answer(wavs, profiles=[anna, bert, None])
    assert (mixed[0] - personalized.answer(wavs)[0]).abs().max() > 1e-3
    plain = personalized.merge(anna)
    torch.testing.assert_close(plain(FRONT_END(wavs[:1])), mixed[:1], atol=1e-4, rtol=1e-4)
    personalized.save(tmp_path)
    assert personalized.unload() is model
    again = vofp_plugin.load(model, FRONT_END, tmp_path)
    torch.testing.assert_close(again.answer(wavs[:1], profiles=again.enroll(wavs[:2])), mixed[:1])


def test_rows_of_speechbrain(wavs, tmp_path):
    feats = FRONT_END(wavs)
    adapted = AdaptedModel(main_model(), LoRA, target_layers=LAYERS, adapter_kwargs={"rank": 2})
    assert trainable(adapted) == 2 * (adapted.classifier.pretrained_module.in_features + 3)
    before = adapted(feats)
    step(adapted, feats)
    step(adapted, feats)
    assert not torch.equal(adapted(feats), before)
    adapted.saver(tmp_path / "adapter.ckpt")
    again = AdaptedModel(main_model(), LoRA, target_layers=LAYERS, adapter_kwargs={"rank": 2})
    again.loader(tmp_path / "adapter.ckpt", True)
    torch.testing.assert_close(again(feats), adapted(feats))
    assert not any(hasattr(adapted.classifier, name) for name in ("merge", "unload"))


def test_rows_of_peft(wavs, tmp_path):
    peft = pytest.importorskip("peft", reason="compares with PEFT: pip install peft")
    feats = FRONT_END(wavs)
    config = peft.LoraConfig(target_modules=LAYERS, r=2, init_lora_weights=False)
    model = peft.get_peft_model(main_model(), config, adapter_name="anna").eval()
    model.print_trainable_parameters()
    model.add_adapter("bert", config)
    mixed = model(feats, adapter_names=["anna", "bert", "__base__"])
    torch.testing.assert_close(mixed[2:], main_model()(feats[2:]))
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(main_model(), tmp_path / "anna", "anna").eval()
    torch.testing.assert_close(again(feats)[:1], mixed[:1])
    merged = again.merge_and_unload()
    torch.testing.assert_close(merged(feats)[:1], mixed[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.unload()(feats), main_model()(feats))
