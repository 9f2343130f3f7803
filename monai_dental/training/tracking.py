"""Data of a training or an evaluation that MLflow stores in addition to MONAI's curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler

_LONGEST = 500  # characters of a parameter; MLflow accepts 6000
_OF_TRAINING = ("config_*.json", "history.csv", "events.*")
_OF_EVALUATION = ("config_*.json", "scores.csv", "metrics.csv", "figures/*.png")


class TrackOutputs:
    """Log the settings, config, weights, history and images of a training to MLflow at its end.

    It does nothing unless the handlers include an `MLFlowHandler`, which `--tracking mlflow` adds.

    Args:
        handlers: The trainer's handlers that come before this one.
        settings: Settings of the training; numbers and strings are logged as parameters.
        weights: The weights file.
        output_dir: Folder with the config, the history and TensorBoard's files.
    """

    def __init__(
        self,
        handlers: Iterable[object],
        settings: Mapping[str, Any],
        weights: str,
        output_dir: str,
    ) -> None:
        self._loggers = [each for each in handlers if isinstance(each, MLFlowHandler)]
        self._settings = settings
        self._weights, self._folder = Path(weights), Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        for logger in self._loggers:
            if engine.has_event_handler(logger.close, Events.COMPLETED):
                engine.remove_event_handler(logger.close, Events.COMPLETED)
            engine.add_event_handler(Events.COMPLETED, self._finish, logger)

    def _finish(self, logger: MLFlowHandler) -> None:
        if logger.cur_run is None:
            return
        run = logger.cur_run.info.run_id
        known = logger.client.get_run(run).data.params
        for name, value in self._settings.items():
            if isinstance(value, int | float | str) and name not in known:
                logger.client.log_param(run, name, str(value)[:_LONGEST])
        if self._weights.is_file():
            logger.client.log_artifact(run, str(self._weights))
        _log_files(logger, run, self._folder, _OF_TRAINING)
        with TemporaryDirectory() as folder:
            for picture in _write_pictures(self._folder, Path(folder)):
                logger.client.log_artifact(run, str(picture), "pictures")
        logger.close()


def end_tracking(handlers: Iterable[object], output_dir: str) -> None:
    """Log the results of an evaluation to MLflow, and end its run, which MONAI leaves open.

    The next run without a name would continue an open one.

    Args:
        handlers: The evaluator's handlers; without an `MLFlowHandler`, nothing is done.
        output_dir: Folder with the config and the results.
    """
    for logger in handlers:
        if isinstance(logger, MLFlowHandler) and logger.cur_run is not None:
            _log_files(logger, logger.cur_run.info.run_id, Path(output_dir), _OF_EVALUATION)
            logger.close()


def _log_files(logger: MLFlowHandler, run: str, folder: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                logger.client.log_artifact(run, str(path))


def _write_pictures(log_dir: Path, folder: Path) -> list[Path]:
    """Write the last images of a training, from TensorBoard's newest file, as PNG."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = sorted(log_dir.glob("events.*"), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        return []
    events = EventAccumulator(str(files[-1]), size_guidance={"images": 1})
    events.Reload()
    pictures = []
    for name in events.Tags()["images"]:
        pictures.append(folder / f"{name}.png")
        pictures[-1].write_bytes(events.Images(name)[-1].encoded_image_string)
    return pictures
