import csv
import logging
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from monai_dental.training.handlers import (
    AutoClip,
    History,
    RestartSchedule,
    WeightAverage,
    negative_metric,
)


def engine(epoch, **state):
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch, max_epochs=4, **state))


def run(history, epochs, validated):
    """Run a history over epochs with a loss each, some of them with validation."""
    history.start(engine(0))
    for epoch, losses in epochs.items():
        history.start_epoch(engine(epoch))
        for loss in losses:
            history.add_loss(engine(epoch, output=[{"loss": loss}]))
        if epoch in validated:
            history.evaluator.state.epoch = epoch
            history.evaluator.state.metrics = validated[epoch]
        history.write_epoch(engine(epoch))


def rows(path):
    with path.open(newline="") as file:
        return [tuple(row)[:-1] for row in csv.reader(file)]  # without the seconds


@pytest.fixture
def path(tmp_path):
    return tmp_path / "eval" / "history.csv"


def test_history_has_a_line_for_each_epoch_and_none_of_an_older_validation(path):
    history = History(str(path), engine(0, metrics={}))

    run(history, {1: (0.6, 0.8), 2: (0.5,)}, {1: {"val_loss": 0.7, "val_psnr": 21.0}})

    assert rows(path) == [
        ("epoch", "loss", "val_loss", "val_psnr"),
        ("1", "0.7", "0.7", "21.0"),
        ("2", "0.5", "", ""),
    ]


def test_history_has_the_metrics_that_it_is_told(path, caplog):
    caplog.set_level(logging.INFO)
    history = History(str(path), engine(0, metrics={}), ["val_loss", "val_ssim"])

    run(history, {1: (0.5,)}, {1: {"val_loss": 0.7, "val_ssim": 0.9, "val_psnr": 21.0}})

    assert rows(path) == [("epoch", "loss", "val_loss", "val_ssim"), ("1", "0.5", "0.7", "0.9")]
    assert "epoch 1/4: loss 0.50000, validation loss 0.70000, val_ssim 0.90000;" in caplog.text
    assert "PSNR" not in caplog.text


def test_history_of_another_training_is_replaced(path):
    for loss in (0.5, 0.4):
        run(History(str(path), engine(0), ["val_loss"]), {1: (loss,)}, {})

    assert rows(path) == [("epoch", "loss", "val_loss"), ("1", "0.4", "")]


@pytest.mark.parametrize("tail", ["", "3,0.1,,9\r\n", "3,0.1", "1"])
def test_resumed_training_goes_on_with_the_lines_of_the_epochs_that_are_done(path, tail):
    run(History(str(path), engine(0), ["val_loss"]), {1: (0.5,), 2: (0.4,)}, {1: {"val_loss": 1}})
    with path.open("a", newline="") as file:
        file.write(tail)  # of an epoch that was killed before its checkpoint

    run(History(str(path), engine(0), ["val_loss"]), {3: (0.3,)}, {3: {"val_loss": 2}})

    assert rows(path) == [
        ("epoch", "loss", "val_loss"),
        ("1", "0.5", "1.0"),
        ("2", "0.4", ""),
        ("3", "0.3", "2.0"),
    ]


def test_resumed_training_without_its_history_begins_one(path):
    run(History(str(path), engine(0), ["val_loss"]), {3: (0.3,)}, {})

    assert rows(path) == [("epoch", "loss", "val_loss"), ("3", "0.3", "")]


def test_time_left_is_that_of_the_epochs_of_this_run(path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("monai_dental.training.handlers.time.monotonic", lambda: next(clock))

    run(History(str(path), engine(0), []), {3: (0.3,)}, {})

    assert "epoch 3/4: loss 0.30000; 30 s left" in caplog.text


def test_score_grows_as_the_metric_falls():
    score = negative_metric("val_loss")

    assert score(engine(1, metrics={"val_loss": 0.5})) > score(engine(1, metrics={"val_loss": 0.6}))


@pytest.fixture
def clip():
    """A network with two weights, and a function that gives it a gradient and clips that."""
    network = torch.nn.Linear(2, 1, bias=False)
    handler = AutoClip(network, percentile=50)

    def clipped(*gradient):
        network.weight.grad = torch.tensor([gradient])
        handler(engine(1))
        return network.weight.grad[0].tolist()

    return handler, clipped


def test_gradient_is_clipped_to_a_percentile_of_those_before(clip):
    handler, clipped = clip

    assert clipped(3.0, 4.0) == pytest.approx([3, 4])
    assert clipped(0.6, 0.8) == pytest.approx([0.6, 0.8])
    assert clipped(3000.0, 4000.0) == pytest.approx([3, 4], rel=1e-4)
    assert handler.norms == pytest.approx([5, 1, 5000])


def test_gradient_that_is_not_finite_becomes_zero_and_is_forgotten(clip):
    handler, clipped = clip
    clipped(3.0, 4.0)

    assert clipped(float("nan"), 1.0) == [0, 0]
    assert clipped(float("inf"), 1.0) == [0, 0]
    assert handler.norms == pytest.approx([5])


@pytest.fixture
def scaled_step():
    """A network that is clipped to the smallest norm, and a training step of it with a scaler."""
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = SimpleNamespace(scaler=scaler, optimizer=optimizer)
    handler = AutoClip(network, percentile=0)

    def step(*gradient):
        optimizer.zero_grad()
        scaler.scale((network.weight * torch.tensor([gradient])).sum()).backward()
        handler(trainer)
        scaler.step(optimizer)
        scaler.update()
        return (-network.weight[0]).tolist()

    return handler, scaler, step


def test_scaled_gradient_is_clipped_as_it_is_without_its_scale(scaled_step):
    handler, scaler, step = scaled_step

    assert step(3.0, 4.0) == pytest.approx([3, 4])
    assert step(30.0, 40.0) == pytest.approx([6, 8], rel=1e-4)
    assert handler.norms == pytest.approx([5, 50])


def test_scaled_gradient_that_is_not_finite_is_left_to_the_scaler(scaled_step):
    handler, scaler, step = scaled_step
    step(3.0, 4.0)

    assert step(float("inf"), 1.0) == pytest.approx([3, 4])  # the step was skipped
    assert scaler.get_scale() == 512
    assert handler.norms == pytest.approx([5])


def test_scaler_that_is_off_leaves_gradients_to_the_clipping(scaled_step):
    handler, _, step = scaled_step
    trainer = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", enabled=False), optimizer=None)
    handler.network.weight.grad = torch.tensor([[float("nan"), 1.0]])

    handler(trainer)

    assert handler.network.weight.grad.tolist() == [[0, 0]]


def test_clipping_goes_on_with_the_norms_of_an_earlier_run(clip):
    handler, clipped = clip
    clipped(3.0, 4.0)
    another = AutoClip(torch.nn.Linear(2, 1))

    another.load_state_dict(handler.state_dict())

    assert another.norms == handler.norms


@pytest.mark.parametrize("length", [4, 20])
def test_schedule_begins_anew_in_a_run_that_would_exceed_it(length):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=length)
    engine = Engine(lambda engine, batch: rates.append(optimizer.param_groups[0]["lr"]))
    RestartSchedule(schedule).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    runs = []

    for number in (1, 2, 3):
        rates = []
        optimizer.step()
        engine.run(range(length), max_epochs=number)
        runs.append(rates)

    assert len(runs[0]) == length
    assert runs[0] == runs[1] == runs[2]
    assert min(runs[0]) < 0.05 < 0.8 < max(runs[0])


def test_schedule_of_a_resumed_run_goes_on():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=6)
    restart = RestartSchedule(schedule)
    engine = Engine(lambda engine, batch: None)
    optimizer.step()
    for _ in range(4):
        schedule.step()
    engine.state.epoch, engine.state.max_epochs, engine.state.epoch_length = 2, 3, 2

    restart(engine)

    assert schedule.last_epoch == 4


def averaged_training(epochs=1):
    """A trainer of one weight that halves its error each step, its running mean, the weight."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = WeightAverage(network, momentum=0.5)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=epochs,
        train_data_loader=[{"image": torch.ones(1, 1), "label": torch.ones(1, 1)}] * 3,
        network=network, optimizer=torch.optim.SGD(network.parameters(), lr=0.25),
        loss_function=torch.nn.MSELoss(), train_handlers=[average],
    )  # fmt: skip
    return trainer, average, network


def test_average_is_the_running_mean_of_the_weights():
    trainer, average, network = averaged_training()

    trainer.run()

    # Weights 0.5, 0.75 and 0.875; the first is the mean, of which later ones are a half at least.
    assert network.weight.item() == pytest.approx(0.875)
    assert 0.5 < average.network.weight.item() < 0.875


def test_average_begins_with_the_weights_that_the_network_was_given():
    trainer, average, network = averaged_training()
    with torch.no_grad():
        network.weight.fill_(0.3)  # after the mean was made

    evaluator = Engine(lambda engine, batch: average.network.weight.item())
    average.attach(evaluator)
    state = evaluator.run([0])

    assert state.output == pytest.approx(0.3)


def test_average_begins_anew_with_the_weights_of_a_new_round():
    trainer, average, network = averaged_training()
    trainer.run()
    with torch.no_grad():
        network.weight.fill_(-4.0)  # as a federation's server gives them

    evaluator = Engine(lambda engine, batch: average.network.weight.item())
    average.attach(evaluator)
    state = evaluator.run([0])

    assert state.output == pytest.approx(-4.0)


def test_average_goes_on_after_a_resume():
    trainer, average, network = averaged_training()
    trainer.run()
    other_trainer, other, other_network = averaged_training()
    other_trainer.run()
    with torch.no_grad():
        network.weight.fill_(0.9)
    other.load_state_dict(average.state_dict())
    other_network.load_state_dict(network.state_dict())

    evaluator = Engine(lambda engine, batch: other.network.weight.item())
    other.attach(evaluator)
    state = evaluator.run([0])

    assert state.output == pytest.approx(average.network.weight.item())
    assert state.output != pytest.approx(0.9)
