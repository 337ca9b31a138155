"""What is told of a training that is under way, on a terminal and elsewhere."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task
from rich.text import Text


class EpochLines(Callback):
    """A plain line per epoch, for logs and pipes."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = {name: f"{float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items())}
        if (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1):
            values.pop("val_miou", None)  # what the last validation found, kept by Lightning
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} {values}", file=sys.stderr, flush=True)


class _Words(ProgressColumn):
    """A column of what a function says of a bar."""

    def __init__(self, say: Callable[[Task], str]) -> None:
        super().__init__()
        self.say = say

    def render(self, task: Task) -> Text:
        return Text(self.say(task))


class RunBar(RichProgressBar):
    """A bar of each epoch on stderr, with its number out of the last and the time that the whole run still takes."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self._begun_s, self._first_step = time.perf_counter(), 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begun_s, self._first_step = time.perf_counter(), trainer.global_step
        super().on_train_start(trainer, pl_module)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)  # the end of the name of TensorBoard's folder
        return shown

    def configure_columns(self, trainer: L.Trainer) -> list[ProgressColumn]:
        def title(bar: Task) -> str:
            if bar.description == self.validation_description:
                return bar.description
            last = trainer.max_epochs or 1
            return f"Epoch {min(trainer.current_epoch + 1, last)} of {last}"

        def left(bar: Task) -> str:
            done = trainer.global_step - self._first_step
            if bar.description == self.validation_description or not done:
                return ""
            to_do = trainer.num_training_batches * (trainer.max_epochs or 1) - trainer.global_step
            return f"{in_words(to_do * (time.perf_counter() - self._begun_s) / done)} left"

        return [_Words(title), BarColumn(), MofNCompleteColumn(), _Words(left)]


def in_words(seconds: float) -> str:
    """A time in the units that a person would tell it in.

    >>> in_words(42.3), in_words(150), in_words(5000)
    ('42 s', '2 min', '1 h 23 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back Lightning's advice on settings that are as they are on purpose, and its dependencies' deprecations."""
    logs = {log: log.level for log in map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))}
    with warnings.catch_warnings():
        for log in logs:
            log.setLevel(logging.WARNING)
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*weights_only.*")
        try:
            yield
        finally:
            for log, level in logs.items():
                log.setLevel(level)
