import pytest
import torch
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_dental.training import tensorboard
from monai_dental.training.tensorboard import TensorBoard


@pytest.fixture
def train(tmp_path):
    """A function that trains two epochs of three steps, with a validation before and after each."""

    def run():
        noisy = torch.full((3, 8, 8), 0.5)
        noisy[1:] = 9.0  # a map of the noise, for instance
        output = [{"image": noisy, "pred": torch.full((1, 8, 8), 0.4)}]
        validation = Engine(lambda engine, batch: output)
        validation.add_event_handler(
            Events.COMPLETED, lambda: validation.state.metrics.update(val_loss=0.7)
        )
        trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(0.1 * batch)}])
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda: validation.run([None], trainer.state.epoch)
        )
        TensorBoard(str(tmp_path / "eval"), validation, optimizer).attach(trainer)
        validation.run([None])
        trainer.run([1, 2, 3], max_epochs=2)
        return sorted((tmp_path / "eval").glob("events.*"))

    return run


def test_curves_and_pictures_of_a_run_are_in_one_file(train):
    (file,) = train()
    events = EventAccumulator(str(file))
    events.Reload()

    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps == {
        "train_loss": [1, 2, 3, 4, 5, 6],
        "learning_rate": [1, 2, 3, 4, 5, 6],
        "val_loss": [1, 2],
    }
    assert [event.value for event in events.Scalars("train_loss")][:3] == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    assert {event.value for event in events.Scalars("learning_rate")} == {0.25}
    assert sorted(events.Tags()["images"]) == ["denoised", "noisy", "residual"]
    assert [(image.width, image.height) for image in events.Images("residual")] == [(8, 8)] * 2


def test_of_several_processes_one_writes(train, monkeypatch):
    monkeypatch.setattr(tensorboard, "is_main_process", lambda: False)

    assert train() == []
