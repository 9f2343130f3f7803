import copy

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose, RandGaussianNoise

from monai_dental.errors import BundleError
from monai_dental.training.handlers import negative_metric
from monai_dental.training.resume import BestWeights, ResumableEarlyStop, ResumableTraining

SETTINGS = {"seed": 0, "learning_rate": 0.1, "datalist": [{"image": "1.png"}]}


class Killed(Exception):  # noqa: N818 - it stands for a signal
    """An error that ends a run in the middle of an epoch."""


class Training:
    """A training of one weight with random numbers of every kind, one iteration per epoch."""

    def __init__(self, folder, settings=SETTINGS, killed_in=None):
        torch.manual_seed(1)
        self.network = torch.nn.Linear(1, 1)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.1)
        transform = Compose([RandGaussianNoise(prob=1.0)])
        self.epochs, self.drawn = [], []

        def step(engine, batch):
            self.epochs.append(engine.state.epoch)
            drawn = transform(torch.rand(4, 1)) + np.random.rand()
            optimizer.zero_grad()
            self.drawn.append(float(drawn.sum()))
            self.network(drawn).square().mean().backward()
            optimizer.step()
            if engine.state.epoch == killed_in:
                raise Killed

        self.engine = Engine(step)
        self.resumable = ResumableTraining(
            str(folder / "models" / "checkpoint.pt"),
            {"network": self.network, "optimizer": optimizer},
            settings, seed=0, transform=transform,
        )  # fmt: skip
        self.resumable.attach(self.engine)

    def run(self):
        self.engine.run([None], max_epochs=5)
        return self


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a training that was killed in its third epoch."""
    with pytest.raises(Killed):
        Training(tmp_path, killed_in=3).run()
    return tmp_path / "models" / "checkpoint.pt"


def test_killed_training_ends_with_the_weights_of_an_undisturbed_one(checkpoint, tmp_path):
    resumed = Training(tmp_path).run()
    undisturbed = Training(tmp_path / "other").run()

    assert resumed.epochs == [3, 4, 5]
    assert torch.equal(resumed.network.weight, undisturbed.network.weight)
    assert torch.equal(resumed.network.bias, undisturbed.network.bias)


def test_stream_of_random_numbers_goes_on_where_a_kill_left_it(tmp_path):
    def training(folder, **options):
        np.random.seed(3)  # as `set_determinism` at the start of each run
        made = Training(folder, **options)
        made.resumable.seed = None
        made.resumable.transform.set_random_state(4)
        return made

    with pytest.raises(Killed):
        training(tmp_path, killed_in=3).run()
    resumed = training(tmp_path).run()
    undisturbed = training(tmp_path / "other").run()

    assert resumed.epochs == [3, 4, 5]
    assert torch.equal(resumed.network.weight, undisturbed.network.weight)
    assert len(set(undisturbed.drawn)) == 5  # no epoch is the one before again


def test_each_epoch_has_random_numbers_of_its_own(tmp_path):
    training = Training(tmp_path)
    drawn = []
    training.engine.add_event_handler(
        Events.EPOCH_STARTED, lambda: drawn.append((torch.rand(1).item(), np.random.rand()))
    )

    training.run()

    assert len({numbers[0] for numbers in drawn}) == len({numbers[1] for numbers in drawn}) == 5


def test_another_seed_gives_other_random_numbers(tmp_path):
    trainings = [Training(tmp_path) for _ in range(2)]
    trainings[1].resumable.seed = 1

    first, second = (training.run().network.weight for training in trainings)

    assert not torch.equal(first, second)


def test_checkpoint_is_removed_when_the_training_ends(checkpoint, tmp_path):
    assert checkpoint.is_file()

    Training(tmp_path).run()

    assert list(checkpoint.parent.iterdir()) == []


def test_training_that_was_killed_after_its_last_epoch_has_nothing_left_to_do(tmp_path):
    training = Training(tmp_path)
    kept = []
    training.engine.add_event_handler(
        Events.EPOCH_COMPLETED(once=5), lambda: kept.append(training.resumable.path.read_bytes())
    )
    weight = training.run().network.weight
    training.resumable.path.write_bytes(kept[0])

    again = Training(tmp_path).run()

    assert again.epochs == []
    assert torch.equal(again.network.weight, weight)
    assert not again.resumable.path.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 0.2}, "learning_rate"),
        ({"datalist": [], "seed": 1}, "datalist, seed"),
        ({"tau": 0.5}, "tau"),
    ],
)
def test_checkpoint_of_another_training_is_refused(checkpoint, tmp_path, changes, named):
    training = Training(tmp_path, {**SETTINGS, **changes})

    with pytest.raises(
        BundleError, match=f"checkpoint.pt: checkpoint of a training with other {named}; remove it"
    ):
        training.run()

    assert training.epochs == []
    assert checkpoint.is_file()


def test_settings_are_the_same_whether_list_or_tuple(checkpoint, tmp_path):
    same = {**SETTINGS, "datalist": ({"image": "1.png"},)}

    assert Training(tmp_path, same).run().epochs == [3, 4, 5]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other"])
def test_damaged_checkpoint_is_refused(checkpoint, tmp_path, damage):
    whole = checkpoint.read_bytes()
    if damage == "other":
        torch.save({"weight": torch.zeros(1)}, checkpoint)
    else:
        content = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"checkpoint"}
        checkpoint.write_bytes(content[damage])

    with pytest.raises(
        BundleError, match=r"checkpoint\.pt: not a checkpoint of a training; remove it to start"
    ):
        Training(tmp_path).run()


def evaluator(value):
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics = {"val_loss": value}
    return engine


def test_weights_are_written_whenever_the_metric_is_lower_than_ever(tmp_path):
    network = torch.nn.Linear(1, 1)
    best = BestWeights(str(tmp_path / "models" / "model.pt"), network)

    for number, loss in enumerate([0.5, 0.7, 0.4, 0.4, 0.6]):
        network.weight.data.fill_(number)
        best(evaluator(loss))

    assert torch.load(best.path, weights_only=True)["weight"].item() == 2
    assert [path.name for path in best.path.parent.iterdir()] == ["model.pt"]


def test_best_of_an_earlier_run_is_not_written_over_by_a_worse_one(tmp_path):
    network = torch.nn.Linear(1, 1)
    earlier, later = (BestWeights(str(tmp_path / "model.pt"), network) for _ in range(2))
    earlier(evaluator(0.4))
    before = earlier.path.read_bytes()
    network.weight.data.add_(1)

    later.load_state_dict(copy.deepcopy(earlier.state_dict()))
    later(evaluator(0.5))
    assert later.path.read_bytes() == before
    later(evaluator(0.3))

    weights = torch.load(later.path, weights_only=True)
    assert torch.equal(weights["weight"], network.weight)


def test_weights_of_an_earlier_training_are_kept_aside(tmp_path):
    network = torch.nn.Linear(1, 1)
    earlier, later = (BestWeights(str(tmp_path / "model.pt"), network) for _ in range(2))
    earlier(evaluator(0.4))
    before = earlier.path.read_bytes()
    network.weight.data.add_(1)

    later(evaluator(0.5))
    later(evaluator(0.3))

    assert (tmp_path / "model.previous.pt").read_bytes() == before
    assert later.path.read_bytes() != before


def test_weights_that_a_bundle_came_with_outlive_any_number_of_trainings(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").touch()
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.pt").write_text("shipped")
    network = torch.nn.Linear(1, 1)

    for number in range(3):
        network.weight.data.fill_(number)
        BestWeights(str(models / "model.pt"), network)(evaluator(0.4))

    kept = {
        name: torch.load(models / f"{name}.pt", weights_only=True)["weight"].item()
        for name in ("model", "model.previous")
    }
    assert (models / "model.shipped.pt").read_text() == "shipped"
    assert kept == {"model": 2, "model.previous": 1}


def test_weights_of_a_diverged_training_are_never_written(tmp_path):
    best = BestWeights(str(tmp_path / "model.pt"), torch.nn.Linear(1, 1))

    best(evaluator(float("nan")))
    best(evaluator(float("inf")))

    with pytest.raises(BundleError, match=r"model\.pt: no weights written.*finite val_loss"):
        best.require()
    assert list(tmp_path.iterdir()) == []
    best(evaluator(0.5))
    best.require()
    assert best.path.is_file()


@pytest.mark.parametrize("patience", [1, 2])
def test_early_stop_that_is_attached_to_the_trainer_heeds_the_evaluator(patience):
    validation = Engine(lambda engine, batch: None)
    losses = iter([0.5, 0.4, 0.4, 0.4, 0.4])
    validation.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: validation.state.metrics.update(val_loss=next(losses))
    )
    trainer = Engine(lambda engine, batch: None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: validation.run([None]))

    ResumableEarlyStop(patience, evaluator=validation).attach(trainer)
    trainer.run([None], max_epochs=5)

    assert trainer.state.epoch == 2 + patience


def test_early_stop_counts_on_after_a_resume():
    def handler(trainer):
        stop = ResumableEarlyStop(patience=3, score_function=negative_metric("val_loss"))
        stop.set_trainer(trainer=trainer)  # as configs of version 0.1 do
        return stop

    killed, resumed = (Engine(lambda engine, batch: None) for _ in range(2))
    earlier, later = handler(killed), handler(resumed)
    for loss in (0.5, 0.6, 0.6):
        earlier(evaluator(loss))
    later.load_state_dict(earlier.state_dict())
    assert not resumed.should_terminate

    later(evaluator(0.6))

    assert resumed.should_terminate
