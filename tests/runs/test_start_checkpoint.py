"""A main model trained elsewhere is personalized by YAML alone, with its classes in its order."""

import shutil

import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.lobes.models.Xvector import Classifier, Xvector
from speechbrain.utils.checkpoints import Checkpointer
from tiny_runs import RECIPES, run_google

from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.encoder_classifier import EncoderClassifier
from vofp_plugin.runs.run_folder import load_classes
from vofp_plugin.runs.start import CheckpointStart, read_class_list

CLASSES = ["up", "unheard", "down", "left"]  # in no order, and more than the corpus has
CHANNELS = [8, 8, 8, 8, 12]
YAML = RECIPES / "Google-speech-commands" / "personalize_pretrained" / "hparams" / "xvector.yaml"
FROZEN = ("--freeze_main_model=True",)
SMALL = (f"--tdnn_channels={CHANNELS}", "--lin_neurons=6", "--classes=all")


def xvector_and_classifier():
    """As in SpeechBrain's recipe, but small."""
    settings = {"activation": torch.nn.LeakyReLU, "lin_neurons": 6}
    xvector = Xvector(in_channels=24, tdnn_channels=CHANNELS, **settings)
    return xvector, Classifier((None, None, 6), out_neurons=len(CLASSES), **settings)


@pytest.fixture
def trained(tmp_path):
    """Output folder as of SpeechBrain's own keyword recipe, and its main model."""
    xvector, classifier = xvector_and_classifier()
    save = tmp_path / "elsewhere" / "save"
    parts = {"embedding_model": xvector, "classifier": classifier}
    Checkpointer(save, parts).save_checkpoint(meta={"error": 0.1})
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(CLASSES)
    encoder.save(save / "label_encoder.txt")
    return save.parent, EncoderClassifier(xvector, classifier)


def test_xvector_is_personalized_by_yaml_alone(trained, google_corpus, cache_folder, tmp_path):
    folder, main_model = trained
    options = (*FROZEN, *SMALL, f"--start_checkpoint={folder}", "--num_epochs=1")
    metrics = run_google(YAML, google_corpus, tmp_path / "run", cache_folder, *options)
    assert metrics["training"]["steps"] == 3
    classes = load_classes(tmp_path / "run" / "classes.txt")
    assert [classes.ind2lab[index] for index in range(len(CLASSES))] == CLASSES
    (checkpoint,) = tmp_path.glob("run/save/CKPT*")
    state = torch.load(checkpoint / "model.ckpt", weights_only=True)
    for name, tensor in main_model.state_dict().items():
        assert torch.equal(state[f"main_model.{name}"], tensor), f"{name} is frozen"
    spotter = KeywordSpotter.from_hparams(tmp_path / "run" / "pretrained")
    profile = spotter.enroll(sorted(google_corpus.glob("up/*.wav"))[:2])
    assert spotter.classify_batch(torch.rand(2, 16000), profiles=profile)[0].shape == (2, 4)


def test_plain_checkpoint_is_personalized_by_yaml_alone(google_corpus, cache_folder, tmp_path):
    main_model = DSCNN(num_classes=len(CLASSES))
    torch.save(main_model.state_dict(), tmp_path / "model.pt")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    start = (f"--start_checkpoint={tmp_path / 'model.pt'}", "--num_epochs=1")
    classes = f"--start_classes={tmp_path / 'classes.txt'}"
    yaml = YAML.with_name("checkpoint.yaml")
    run_google(yaml, google_corpus, tmp_path / "run", cache_folder, *FROZEN, *start, classes)
    (checkpoint,) = tmp_path.glob("run/save/CKPT*")
    state = torch.load(checkpoint / "model.ckpt", weights_only=True)
    for name, tensor in main_model.state_dict().items():
        assert torch.equal(state[f"main_model.{name}"], tensor), f"{name} is frozen"


def test_all_places_of_a_main_model_are_the_same(trained, tmp_path):
    folder, main_model = trained
    (checkpoint,) = folder.glob("save/CKPT*")
    file = tmp_path / "plain.pt"
    torch.save(main_model.state_dict(), file)
    for place in (folder, folder / "save", checkpoint, file):
        state = CheckpointStart(place).state(main_model)
        assert state.keys() == main_model.state_dict().keys()
    for place in (folder, folder / "save", checkpoint):
        assert list(CheckpointStart(place).classes().lab2ind) == CLASSES
    with pytest.raises(FileNotFoundError, match="Found no label_encoder.txt in .*start_classes"):
        CheckpointStart(file).classes()


def test_class_list_with_one_class_on_each_line(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(CLASSES) + "\n")
    assert read_class_list(path).lab2ind == {name: i for i, name in enumerate(CLASSES)}


GAP = "'up' => 0\n'down' => 2\n================\n'starting_index' => 0\n"  # no class has index 1


@pytest.mark.parametrize("text", ["", "up\n\ndown\n", "up\nup\n", GAP])
def test_class_list_that_is_none(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected each once, one on each line"):
        read_class_list(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ("--tdnn_channels=[8, 8, 8, 8, 14]", "has the shape .* expected"),
        ("--start_folder=there", "Got the start_folder there and the start_checkpoint"),
        ("--start_classes=nowhere.txt", "Found no class list nowhere.txt"),
    ],
)
def test_what_does_not_fit_is_named(
    trained, google_corpus, cache_folder, tmp_path, options, message
):
    start = (*FROZEN, *SMALL, f"--start_checkpoint={trained[0]}", options)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_google(YAML, google_corpus, tmp_path / "run", cache_folder, *start)
    assert not list(tmp_path.glob("run/save/CKPT*"))


def test_damaged_part_and_missing_part_are_named(trained):
    folder, main_model = trained
    (checkpoint,) = folder.glob("save/CKPT*")
    (checkpoint / "classifier.ckpt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Cannot read .*classifier.ckpt .*damaged"):
        CheckpointStart(checkpoint).state(main_model)
    torch.save([1, 2], checkpoint / "classifier.ckpt")
    with pytest.raises(ValueError, match="classifier.ckpt holds list, not a state dict"):
        CheckpointStart(checkpoint).state(main_model)
    shutil.rmtree(checkpoint)
    with pytest.raises(FileNotFoundError, match="expected one file at least of .*classifier.ckpt"):
        CheckpointStart(folder).state(main_model)
