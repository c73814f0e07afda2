"""Training on episodes: one Brain for all tasks.

A batch is an episode of N speakers. What is asked of it and what that costs is the task's.
"""

import json
import random
import time
from functools import partial

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import get_rank
from torch.utils.data import DataLoader

from vofp_plugin.dataio.episodes import EpisodeDataset
from vofp_plugin.evaluation.evaluator import Evaluator
from vofp_plugin.utils.files import whole_file
from vofp_plugin.utils.seeds import number_of, seeded

COMPILING = ("compile", "jit", "compile_module_keys", "jit_module_keys")


class PersonalizedBrain(sb.Brain):
    """Trains `modules.model`, a `PersonalizedModel` or `SharedModel`, on episodes of a task.

    Arguments
    ---------
    **kwargs : dict
        As for `speechbrain.Brain`; `hparams` needs the keys of `HPARAMS_NEEDED`.
    """

    HPARAMS_NEEDED = (
        "seed",
        "task",
        "episodes",
        "episode_shape",
        "episodes_per_epoch",
        "epoch_counter",
        "augmentations",
        "lr",
        "opt_class",
        "lr_scheduler",
        "train_logger",
        "test_shots",
        "test_samples",
    )
    # SpeechBrain's Augmenter of features, and what only models with an encoder need.
    HPARAMS_OPTIONAL = ("fea_augment", "personalizer_lr")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        missing = [key for key in self.HPARAMS_NEEDED if not hasattr(self.hparams, key)]
        if missing:
            raise ValueError(f"The YAML lacks the keys {missing}, which the Brain needs.")
        self._check_options()
        self.hparams.task.check(self.modules.model)
        self.history = History()
        self.evaluator = Evaluator(
            self.modules.model,
            self.hparams.task,
            self.hparams.test_shots,
            self.hparams.test_samples,
            self.evaluation_ctx,
        )
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("history", self.history)

    def _check_options(self):
        """Refuses options of SpeechBrain's that would do nothing here, or the wrong thing."""
        if self.data_parallel_backend:
            raise ValueError(
                "Got --data_parallel_backend, which splits episodes; start the training with "
                "torchrun instead."
            )
        if self.remove_vector_weight_decay:
            raise ValueError(
                "Got --remove_vector_weight_decay, which SpeechBrain follows only in optimizers of "
                "its own making: leave it out."
            )
        for option in COMPILING:
            if getattr(self, option):
                raise ValueError(
                    f"Got --{option}, which would hide what a model is behind what it was compiled "
                    "to, and keep the weights of one speaker for the next: leave it out."
                )

    def fit_speakers(self, train_set, rows, validate):
        """Trains on episodes, and validates after every epoch; or once, without epochs.

        Arguments
        ---------
        train_set : DynamicItemDataset
            With the items id, feats, relative_length, label and spoken.
        rows : list of dict
            Manifest row of every item of `train_set`.
        validate : callable
            Without arguments; gives "accuracy" and "nll" (nats) of validation speakers.
        """
        place = {"rank": get_rank() or 0, "num_processes": self._num_processes()}
        self.episodes = self.hparams.episodes(rows, **place)
        self.train_set, self.validate = train_set, validate
        valid_set = DataLoader([None], batch_size=None, collate_fn=None)  # `validate` has its own
        self.fit(self.hparams.epoch_counter, EpisodeDataset(train_set), valid_set)
        if not self.history.epochs:  # no epoch to train: the start is validated and kept
            self.history.start()
            self.history.finish(epoch=0)
            self._fit_valid(valid_set, epoch=0, enable=False)

    def _num_processes(self):
        return torch.distributed.get_world_size() if self.distributed_launch else 1

    def on_fit_batch_start(self, batch, should_step):
        """Stops the clock of what is spent waiting for data."""
        self.history.arrive()

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Starts it again."""
        self.history.wait()

    def compute_forward(self, batch, stage):
        """Runs the queries of an episode as its task asks them."""
        batch = batch.to(self.device)
        generator = self._seed_step()
        feats = self._augment(batch, generator)
        spoken = batch.spoken.bool()
        parts = (batch.relative_length, batch.label, batch.filled, spoken, batch.voice)
        self.episode = self.hparams.episode_shape.split(feats, *parts)
        return self.hparams.task.predict(self.modules.model, self.episode, generator)

    def _seed_step(self):
        """Seeds by batch, so that a resumed run draws what an uninterrupted one does.

        Batches of several processes are numbered in turns, as if one process had them all.
        """
        parts = self.grad_accumulation_factor
        own_number = self.optimizer_step * parts + (self.step - 1) % parts
        batch_number = own_number * self._num_processes() + (get_rank() or 0)
        place = (self.hparams.seed, batch_number, 0)
        # For dropout and SpeechBrain's augmentations, which take no generator: other draws, since
        # the same ones would tie the masks of an episode to its speakers.
        masks = number_of("masks", *place)
        torch.manual_seed(masks)
        random.seed(masks)
        return seeded("step", *place)

    def _augment(self, batch, generator):
        """Features of an episode, changed alike for a voice, then each utterance by itself."""
        feats = batch.feats
        for augment in self.hparams.augmentations:
            feats = augment(feats, batch.voice, batch.room, generator)
        if getattr(self.hparams, "fea_augment", None) is None:
            return feats
        feats, _ = self.hparams.fea_augment(feats, batch.relative_length)
        if len(feats) != len(batch.id):
            raise ValueError(
                f"Got {len(feats)} utterances of fea_augment for {len(batch.id)}; expected as "
                "many: leave out concat_original, parallel_augment and repeat_augment."
            )
        return feats

    def compute_objectives(self, predictions, batch, stage):
        """Computes the loss of the task, and keeps its terms for the log."""
        terms = self.hparams.task.objective(predictions, self.episode)
        self.history.add(**{name: value.item() for name, value in terms.items()})
        return terms["loss"]

    def init_optimizers(self):
        """Makes the YAML's optimizer for the main model and, at its own rate, for all else.

        They are two because SpeechBrain clips the gradients of the first parameter group of each.
        Every optimizer has the YAML's schedule, which is called as torch's `OneCycleLR`.
        """
        model = self.modules.model
        trained = [p for p in model.parameters() if p.requires_grad]
        main = [p for p in model.main_model.parameters() if p.requires_grad]
        others = [p for p in trained if all(p is not m for m in main)]
        rates = {}
        if main:
            rates["main"] = (main, self.hparams.lr)
        if others:
            if not hasattr(self.hparams, "personalizer_lr"):
                raise ValueError(
                    "The YAML lacks personalizer_lr, the rate of all but the main model."
                )
            rates["personalizer"] = (others, self.hparams.personalizer_lr)
        steps = self.hparams.episodes_per_epoch // self.grad_accumulation_factor
        if steps < 1:
            raise ValueError(
                f"Got --grad_accumulation_factor={self.grad_accumulation_factor} for "
                f"{self.hparams.episodes_per_epoch} episodes_per_epoch, so no step is ever done; "
                "expected as many episodes at least."
            )
        steps *= self.hparams.epoch_counter.limit
        self.optimizers_dict, self.schedules = {}, {}
        for name, (parameters, rate) in rates.items():
            optimizer = self.hparams.opt_class(parameters, lr=rate)
            self.optimizers_dict[name] = optimizer
            self.schedules[name] = self.hparams.lr_scheduler(
                optimizer, max_lr=rate, total_steps=max(2, steps) + 1
            )
            if self.checkpointer is not None:
                self.checkpointer.add_recoverable(f"{name}_optimizer", optimizer)
                self.checkpointer.add_recoverable(f"{name}_schedule", self.schedules[name])

    def _should_save_intra_epoch_ckpt(self, *args):
        """Whether to save in the middle of an epoch: never with gradients that are not used yet."""
        used = self.step % self.grad_accumulation_factor == 0
        return used and super()._should_save_intra_epoch_ckpt(*args)

    def optimizers_step(self):
        """Averages gradients over processes, then steps optimizers and schedules."""
        if self.distributed_launch:
            for parameter in self.modules.parameters():
                if not parameter.requires_grad:
                    continue
                if parameter.grad is None:  # here, but perhaps not in another process
                    parameter.grad = torch.zeros_like(parameter)
                self._average(parameter.grad)
        super().optimizers_step()
        for schedule in self.schedules.values():
            schedule.step()

    def _wrap_distributed(self):
        """Starts all processes from the same weights, without torch's DDP wrapper.

        DDP sees only what runs through `forward`, but `draw` runs the personalizer; and
        SpeechBrain would turn every BatchNorm, weight-injected ones included, into SyncBatchNorm,
        which a CPU refuses. `optimizers_step` averages the gradients instead.
        """
        if self.distributed_launch:
            self._broadcast(self.modules.state_dict().values())

    def _average(self, tensor):
        """Makes a tensor the mean of those of all processes, in place."""
        torch.distributed.all_reduce(tensor)
        tensor /= self._num_processes()

    def _pooled(self, numbers):
        """Means of some numbers over all processes."""
        pooled = torch.tensor(numbers, device=self.device)
        self._average(pooled)
        return pooled.tolist()

    @staticmethod
    def _broadcast(tensors):
        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Loads the last checkpoint.

        The one-cycle schedule ends there. A few dozen validation speakers cannot tell an epoch
        before it that would be better: choosing one cost up to 2.5 points on unseen speakers.
        """
        checkpointer = self.checkpointer
        if checkpointer is None or checkpointer.recover_if_possible(
            max_key=max_key, min_key=min_key
        ):
            return
        raise RuntimeError(
            f"Found no whole checkpoint in {checkpointer.checkpoints_dir}; train first, or give "
            "the --output_folder of a finished run."
        )

    def on_stage_start(self, stage, epoch=None):
        """Starts the clock of an epoch, and draws its episodes."""
        if stage == sb.Stage.TRAIN:
            self.history.start()
            self.episodes.set_epoch(epoch)
        elif hasattr(self.modules.model, "learn"):
            self.modules.eval()
            self.modules.model.learn(self._train_batches())

    def evaluate_batch(self, batch, stage):
        """Validates once for all, and keeps the scores for the log; returns the NLL."""
        self.valid_scores = self.validate()
        return torch.tensor(self.valid_scores["nll"])

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs an epoch and keeps its checkpoint."""
        if stage == sb.Stage.TRAIN:
            if self.distributed_launch:  # running statistics of BatchNorm differ by process
                self._broadcast(self.modules.buffers())
            self.history.finish(epoch, self._pooled if self.distributed_launch else list)
        elif stage == sb.Stage.VALID:
            scores = {f"valid_{name}": value for name, value in self.valid_scores.items()}
            self.history.epochs[-1].update(scores)
            numbers = dict(self.history.epochs[-1])
            self.hparams.train_logger.log_stats({"epoch": numbers.pop("epoch")}, numbers)
            if self.checkpointer is not None:
                self.checkpointer.save_and_keep_only(meta=scores)

    def _train_batches(self):
        """Features and labels of the training set, augmented as if each were of a speaker alone."""
        generator = seeded("learn", self.hparams.seed)
        for items in DataLoader(self.train_set, batch_size=256, collate_fn=list):
            feats = torch.stack([item["feats"] for item in items]).to(self.device)
            alone = torch.arange(len(feats))
            for augment in self.hparams.augmentations:
                feats = augment(feats, alone, alone, generator)
            labels = torch.stack([torch.as_tensor(item["label"]) for item in items])
            yield feats, labels.to(self.device)

    def make_dataloader(self, dataset, stage, ckpt_prefix="dataloader-", **loader_kwargs):
        """Makes the loader of episodes for training, and SpeechBrain's for the rest."""
        if stage != sb.Stage.TRAIN:
            return super().make_dataloader(dataset, stage, ckpt_prefix, **loader_kwargs)
        # All clips are of one length, so nothing is padded: that takes five times as long.
        collate = partial(PaddedBatch, padded_keys=[], apply_default_convert=False)
        loader = sb.dataio.dataloader.make_dataloader(
            dataset, batch_sampler=self.episodes, **{"collate_fn": collate, **loader_kwargs}
        )
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable(f"{ckpt_prefix}{stage.name}", loader)
        return loader


@register_checkpoint_hooks
class History:
    """Means of the loss terms of every epoch, its seconds and the share of them without data.

    They are kept in the checkpoint.

    Example
    -------
    >>> history = History()
    >>> history.start()
    >>> history.add(loss=1.0)
    >>> history.add(loss=2.0)
    >>> history.finish(epoch=1)
    >>> history.epochs[0]["train_loss"]
    1.5
    """

    def __init__(self):
        self.epochs = []
        self._terms = []  # of each step of the unfinished epoch
        self._seconds = 0.0  # that the unfinished epoch took before it was interrupted
        self._waited = 0.0  # seconds of the unfinished epoch in which there was no batch
        self._started = self._waiting_since = time.time()

    def start(self):
        """Starts an epoch, or goes on with the unfinished one."""
        self._started = self._waiting_since = time.time()

    def wait(self):
        """Begins to wait for a batch."""
        self._waiting_since = time.time()

    def arrive(self):
        """Ends waiting: the batch is there."""
        self._waited += time.time() - self._waiting_since

    def add(self, **terms):
        """Adds the loss terms of one step, as floats."""
        self._terms.append(terms)

    def finish(self, epoch, pool=list):
        """Ends an epoch, of any number of steps; `pool` makes its means those of all processes."""
        names = list(self._terms[0]) if self._terms else []
        means = [sum(terms[name] for terms in self._terms) / len(self._terms) for name in names]
        means = {f"train_{name}": x for name, x in zip(names, pool(means), strict=True)}
        seconds = self._elapsed()
        waiting = self._waited / max(seconds, self._waited, 1e-9)
        self.epochs.append({"epoch": epoch, **means, "seconds": seconds, "waiting": waiting})
        self._terms, self._seconds, self._waited = [], 0.0, 0.0

    @mark_as_saver
    def save(self, path):
        """Writes the epochs to `path`, as JSON; last the unfinished one, if there is one."""
        unfinished = {"terms": self._terms, "seconds": self._elapsed(), "waited": self._waited}
        with whole_file(path) as partial:
            partial.write_text(json.dumps(self.epochs + [unfinished] * bool(self._terms)))

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Reads the epochs from `path`."""
        with open(path, encoding="utf-8") as stream:
            self.epochs = json.load(stream)
        self._terms, self._seconds, self._waited = [], 0.0, 0.0
        if not end_of_epoch:
            unfinished = self.epochs.pop()
            self._terms, self._seconds = unfinished["terms"], unfinished["seconds"]
            self._waited = unfinished["waited"]

    def _elapsed(self):
        return self._seconds + time.time() - self._started
