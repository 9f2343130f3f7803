"""TensorBoard logs of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from ignite.engine import Engine, Events

from monai_dental.training.distributed import is_main_process, outputs_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_RESIDUAL_GAIN = 4.0


class TensorBoard:
    """Write curves and images of a training for TensorBoard, one file per run.

    The curves are the loss and the learning rate by iteration, and the validation metrics by epoch.
    The images show one validation image: noisy, denoised, and the residual (noisy minus denoised),
    amplified four times on mid-grey.

    Attach it to the trainer. Only the process of rank 0 writes.

    Args:
        log_dir: Folder for the file.
        evaluator: The engine of the validation, whose outputs have `image` and `pred`, (C, H, W)
            in [0, 1]; the first channel is shown.
        optimizer: The optimizer; the learning rate shown is that of its first parameter group.
    """

    def __init__(self, log_dir: str, evaluator: Engine, optimizer: torch.optim.Optimizer) -> None:
        self.log_dir = Path(log_dir)
        self.evaluator = evaluator
        self.optimizer = optimizer
        self._writer: SummaryWriter | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if is_main_process():
            engine.add_event_handler(Events.STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.write_iteration)
            engine.add_event_handler(Events.COMPLETED, self.close)
            self.evaluator.add_event_handler(Events.COMPLETED, self.write_validation)

    def start(self, engine: Engine) -> None:
        """Open a file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self.log_dir)

    def write_iteration(self, engine: Engine) -> None:
        """Write loss and learning rate."""
        if self._writer is not None:
            step = engine.state.iteration
            loss = float(outputs_of(engine)[0]["loss"])
            self._writer.add_scalar("train_loss", loss, step)
            self._writer.add_scalar("learning_rate", self.optimizer.param_groups[0]["lr"], step)

    def write_validation(self, engine: Engine) -> None:
        """Write metrics and images, except for a validation before the training."""
        if self._writer is None:
            return
        epoch = engine.state.epoch
        for name, value in engine.state.metrics.items():
            self._writer.add_scalar(name, float(value), epoch)
        output = outputs_of(engine)[0]
        noisy, denoised = (output[key][:1].detach().float().cpu() for key in ("image", "pred"))
        residual = 0.5 + _RESIDUAL_GAIN * (noisy - denoised)
        pictures = {"noisy": noisy, "denoised": denoised, "residual": residual}
        for name, picture in pictures.items():
            self._writer.add_image(name, torch.as_tensor(picture).clamp(0, 1), epoch)

    def close(self, engine: Engine) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
