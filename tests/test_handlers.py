import csv
from types import SimpleNamespace

from monai_dental.handlers import History, negative_metric


def engine(epoch, **state):
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch, max_epochs=2, **state))


def test_history_has_a_line_for_each_epoch_and_none_of_an_older_validation(tmp_path):
    evaluator = engine(0, metrics={})
    history = History(str(tmp_path / "eval" / "history.csv"), evaluator)

    history.start(engine(0))
    for epoch, losses in ((1, (0.6, 0.8)), (2, (0.5,))):
        for loss in losses:
            history.add_loss(engine(epoch, output=[{"loss": loss}]))
        if epoch == 1:
            evaluator.state.epoch = 1
            evaluator.state.metrics = {"val_loss": 0.7, "val_psnr": 21.0}
        history.write_epoch(engine(epoch))

    with (tmp_path / "eval" / "history.csv").open() as file:
        rows = [(r["epoch"], r["loss"], r["val_loss"], r["val_psnr"]) for r in csv.DictReader(file)]
    assert rows == [("1", "0.7", "0.7", "21.0"), ("2", "0.5", "", "")]


def test_score_grows_as_the_metric_falls():
    score = negative_metric("val_loss")

    assert score(engine(1, metrics={"val_loss": 0.5})) > score(engine(1, metrics={"val_loss": 0.6}))
