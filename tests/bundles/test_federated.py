"""The bundles as clients of MONAI's federated learning, run from a different folder."""

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject

from monai_dental.bundle.find import PREFIX, find_bundle

ROUNDS = 3
SMALL = {"validation_count": 2, "batch_size": 1, "num_workers": 0}
PATCHES = {"val_interval": 1, "patch_size": 64, "validation_size": 64, "images_per_epoch": 12}


@pytest.mark.filterwarnings("ignore:executing the bundle config")
@pytest.mark.parametrize("name", ["blind", "dae", "unet"])
def test_client_trains_for_three_rounds_evaluates_and_sends_weights(
    name, phantoms, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    root = find_bundle(name)
    folders = {"ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path / "eval")}
    noisy, clean = str(phantoms / "noisy"), str(phantoms / "clean")
    train = {**SMALL, **(PATCHES if name != "dae" else {}), **folders, "dataset_dir": clean}
    evaluate = {"validation_count": 2, **folders, "dataset_dir": noisy, "label_dir": clean}
    client = MonaiAlgo(
        f"{PREFIX}{name}", send_weight_diff=False, train_kwargs=train, eval_kwargs=evaluate
    )
    client.initialize({ExtraItems.CLIENT_NAME: "site", ExtraItems.APP_ROOT: str(root.parent)})
    shipped = torch.load(root / "models" / "model.pt", weights_only=True)
    weights = shipped
    rates = []

    for _ in range(ROUNDS):
        client.train(ExchangeObject(weights=weights))
        sent = client.get_weights()
        assert sent.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] > 0
        weights = {key: value.clone() for key, value in sent.weights.items()}  # over a network
        rates.append(client.trainer.optimizer.param_groups[0]["lr"])
    metrics = client.evaluate(ExchangeObject(weights=weights)).metrics
    client.finalize()

    assert client.trainer.state.epoch == ROUNDS
    assert weights.keys() == shipped.keys()
    assert any(not torch.equal(weights[key], shipped[key]) for key in weights)
    assert max(rates) == pytest.approx(min(rates))  # each round has the schedule of a training
    assert metrics["honest.model.psnr"] > 10
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("models", "eval")] == []
    assert torch.load(root / "models" / "model.pt", weights_only=True).keys() == shipped.keys()
