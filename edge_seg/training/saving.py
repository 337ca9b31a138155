"""How a training is saved and stopped: between steps, whole, and with what a resumed run must share."""

import io
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from edge_seg.errors import DataError
from edge_seg.files import write_whole
from edge_seg.recipe import Recipe
from edge_seg.training.options import TrainOptions, recipe_fields

SAVE_EVERY_S = 60.0
RUN = "edge_seg_run"
"""Where a checkpoint holds what `LastCheckpoint` was given of the run."""
NEWER = ("compile", "init", "encoder_weights")
"""What runs of older versions do not tell of themselves: they go on whatever it is now."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Write `checkpoint` to `path`."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getvalue())


class LastCheckpoint(Callback):
    """Saves to `path` after each epoch, every minute and on Ctrl-C or SIGTERM, always after a whole step.

    Within a step the parts of its state do not belong together, so Ctrl-C ends the step first; a second one stops at
    once and saves nothing. It must be the last of the callbacks: the others' work on a step is then done.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        self.path, self.run = path, run
        self._asked_to_stop = False
        self._tells = True
        self._saved_s = time.perf_counter()
        self._handler_before: Any = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._tells = trainer.local_rank == 0  # a terminal's Ctrl-C comes to all processes of its machine
        if threading.current_thread() is threading.main_thread():
            self._handler_before = signal.signal(signal.SIGINT, self._stop)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[RUN] = self.run

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        due = time.perf_counter() - self._saved_s > SAVE_EVERY_S
        if _any_process(trainer, due or self._asked_to_stop or trainer.received_sigterm):
            self._save(trainer)
            if _any_process(trainer, self._asked_to_stop):
                self._restore_handler()
                raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore_handler()
        if self._asked_to_stop:
            raise KeyboardInterrupt

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore_handler()

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_s = time.perf_counter()

    def _stop(self, _: int, frame: FrameType | None) -> None:
        if self._asked_to_stop:
            raise KeyboardInterrupt
        self._asked_to_stop = True
        if self._tells:
            print("Stopping after this step; --resume goes on from it. Ctrl-C again stops at once.", file=sys.stderr)

    def _restore_handler(self) -> None:
        if self._handler_before is not None:
            signal.signal(signal.SIGINT, self._handler_before)
            self._handler_before = None


def _any_process(trainer: L.Trainer, asked: bool) -> bool:
    """Whether one of the processes asks for it: they save and stop together, or they wait for each other for ever."""
    if trainer.world_size == 1:
        return asked
    return bool(trainer.strategy.reduce_boolean_decision(asked, all=False))


def check_last(options: TrainOptions) -> None:
    """DataError where a new run would replace the last checkpoint of another, and where there is none to resume."""
    last = options.last
    if last.is_file() and not options.resume:
        raise DataError(f"{last} is of an earlier run. Type --resume to go on with it, or choose another --out.")
    if options.resume and not last.is_file():
        raise DataError(f"There is no run to resume in {options.run_dir}. Leave out --resume, or give its --out.")


def read_last(task: nn.Module, options: TrainOptions, now: Mapping[str, object]) -> dict[str, Any] | None:
    """The last checkpoint of the run to resume, or None for a new run; DataError where the two do not go together.

    `check_last` has seen that it is there. `now` is what they must have in common; of the first weights it is what is
    given, since the checkpoint has them.
    """
    last = options.last
    if not options.resume:
        return None
    try:
        saved: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True)
        shapes = {name: tensor.shape for name, tensor in saved["state_dict"].items()}
    except Exception as error:  # whatever a damaged file makes of torch.load
        raise DataError(f"{last} is damaged ({type(error).__name__}). Delete it and start again.") from error
    before = saved.get(RUN, {}).get("options")
    if before is None:
        raise DataError(f"{last} is of an older version. Start again with another --out.")
    given = {name: value for name, value in options.first_weights().items() if value not in (None, "random")}
    now = {**now, **given}
    # A run of an older version had the defaults of what its recipe lacked, and did not tell what is NEWER.
    before = recipe_fields(Recipe()) | {name: now[name] for name in NEWER if name in now} | before
    other = [f"{name} {before.get(name)}, not {value}" for name, value in now.items() if before.get(name) != value]
    if other:
        raise DataError(f"{last} was made with {'; '.join(other)}. Give the options of the run to resume.")
    if shapes != {name: tensor.shape for name, tensor in task.state_dict().items()}:
        raise DataError(f"{last} holds tensors that {options.arch} has not here. Start again with another --out.")
    return saved
