import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from monai_dental.bundle.find import find_bundle
from monai_dental.errors import BundleError, MissingPackageError
from monai_dental.inference.backends import installed_backends, run_by, runs_on_gpu
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks import DenoisingUNet

SIZES = [(1, 1), (33, 47), (64, 96), (201, 130)]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = DenoisingUNet(features=(8, 16), blocks=1, noise_channels=2).eval()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    return network


@torch.inference_mode()
def test_openvino_agrees_with_torch_at_any_size_and_batch(network):
    pytest.importorskip("openvino", reason="pip install -c constraints.txt -e '.[openvino]'")
    compiled = run_by("openvino", network, "float32")

    for size in SIZES:
        images = torch.rand(2, 3, *size)
        expected = network(images)
        torch.testing.assert_close(compiled(images), expected, rtol=1e-4, atol=1e-5)
        assert (expected - images[:, :1]).abs().max() > 0.01


def test_denoiser_gives_the_same_by_either_backend():
    pytest.importorskip("openvino", reason="pip install -c constraints.txt -e '.[openvino]'")
    image = np.random.default_rng(0).random((120, 90), dtype=np.float32)
    bundle = find_bundle("unet")

    by_torch, by_openvino = (
        Denoiser(bundle, backend=backend).denoise(image) for backend in ("torch", "openvino")
    )

    assert np.abs(by_torch - image).max() > 0.01
    np.testing.assert_allclose(by_openvino, by_torch, atol=0.01)  # bfloat16 on either


def test_openvino_takes_the_cpu_of_a_machine_with_a_gpu(monkeypatch):
    pytest.importorskip("openvino", reason="pip install 'monai-dental[openvino]'")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # as the config asks

    denoiser = Denoiser(find_bundle("unet"), backend="openvino")

    assert next(denoiser.network.parameters()).device == torch.device("cpu")


def test_backends_are_those_whose_package_is_installed(monkeypatch):
    has_openvino = importlib.util.find_spec("openvino") is not None
    assert installed_backends() == ["torch", *["openvino"] * has_openvino]

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "torch" or None)
    assert installed_backends() == ["torch"]


@pytest.mark.parametrize(
    ("device", "backend", "expected"),
    [
        (None, "torch", True),
        ("cuda:0", "torch", True),
        ("cpu", "torch", False),
        (None, "openvino", False),
    ],
)
def test_gpu_is_used_where_there_is_one_and_nothing_asks_for_the_cpu(
    monkeypatch, tmp_path, device, backend, expected
):
    monkeypatch.setattr("monai_dental.inference.backends._GPU_DRIVERS", [tmp_path])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    assert runs_on_gpu(device, backend) is expected


def test_torch_is_not_asked_where_no_driver_is(monkeypatch, tmp_path):
    monkeypatch.setattr("monai_dental.inference.backends._GPU_DRIVERS", [tmp_path / "no"])
    monkeypatch.setattr("monai_dental.inference.backends.sys.platform", "linux")
    monkeypatch.setattr("torch.cuda.is_available", lambda: 1 / 0)

    assert runs_on_gpu(None) is False


def test_unknown_backend_is_refused(network):
    with pytest.raises(ValueError, match="'tvm'; need one of torch, openvino"):
        run_by("tvm", network)


def test_missing_openvino_says_how_to_get_it(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingPackageError, match="with its extra 'openvino'"):
        run_by("openvino", network)


def test_openvino_reports_nothing_over_the_network():
    pytest.importorskip("openvino", reason="pip install -c constraints.txt -e '.[openvino]'")
    code = """
import torch
from monai_dental.inference.backends import installed_backends, run_by
from monai_dental.networks import DenoisingUNet
run_by("openvino", DenoisingUNet(features=(4, 8), blocks=1))(torch.rand(1, 1, 16, 16))
import sys
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__, "openvino_telemetry" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_openvino_on_a_gpu_is_refused():
    with pytest.raises(BundleError, match="runs on the cpu"):
        Denoiser(find_bundle("unet"), device="cuda:0", backend="openvino")
