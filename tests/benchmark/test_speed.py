import numpy as np
import pytest
from torch import nn

from monai_dental.benchmark import speed
from monai_dental.benchmark.speed import PANORAMIC, Speed, format_speeds, measure_speed
from monai_dental.bundle.find import find_bundle
from monai_dental.errors import BundleError
from monai_dental.inference.denoiser import Denoiser

SIZE = (512, 640)


def test_bundle_convolutions_and_filter_are_measured_in_one_run():
    speeds = measure_speed(["unet"], SIZE, peers=["median"], threads=1, rounds=3)

    assert [s.name for s in speeds] == ["unet, torch", "unet, its convolutions alone", "median"]
    for row in speeds:
        assert row.calls == 3
        assert row.megapixels_per_s == pytest.approx(SIZE[0] * SIZE[1] / 1e6 / row.seconds)
    assert speeds[0].memory_mb > 0
    assert speeds[0].share == speeds[0].megapixels_per_s / speeds[1].megapixels_per_s
    assert speeds[1].share is speeds[2].share is None


def test_each_convolution_runs_alone(monkeypatch):
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    network = Denoiser(find_bundle("unet")).network
    run = speed._convolutions(find_bundle("unet"), np.zeros((64, 64), np.float32))
    calls = []
    for kind in kinds:
        monkeypatch.setattr(kind, "forward", lambda module, x: calls.append(module))

    run(np.zeros((64, 64), np.float32))

    assert len(calls) == sum(isinstance(module, kinds) for module in network.modules())


def test_convolutions_of_a_gpu_are_waited_for(monkeypatch):
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    run = speed._convolutions(find_bundle("dae"), image)
    waited = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: waited.append(True))

    run(image)

    assert waited == [True]


def test_table_has_the_fastest_first():
    slow, fast = Speed("a", 1, 1, 2, 10.0, 3), Speed("b", 2, 0.5, 1, 10.0, 3, share=2 / 3)

    lines = format_speeds([slow, fast]).splitlines()

    assert lines[2:] == ["| b | 2 | 67% | 0.5 | 1 | 10 | 3 |", "| a | 1 |  | 1 | 2 | 10 | 3 |"]


def test_unknown_bundle_is_told_before_any_work():
    with pytest.raises(BundleError, match="nonsense"):
        measure_speed(["nonsense"], PANORAMIC)
