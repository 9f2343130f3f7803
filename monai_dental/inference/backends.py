"""Backends that run a network for inference; torch is only imported when needed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dental.errors import MissingPackageError, extra_needed

if TYPE_CHECKING:
    from torch import Tensor, nn

BACKENDS = ("torch", "openvino")

_ABSENT = object()

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, either under WSL


def installed_backends() -> list[str]:
    """Return those of `BACKENDS` whose package is installed."""
    return [name for name in BACKENDS if importlib.util.find_spec(name)]


def runs_on_gpu(device: str | None, backend: str = "torch") -> bool:
    """Return whether a bundle will run on a GPU.

    torch is only imported if there may be a GPU.

    Args:
        device: As in `Denoiser`; None for the config's own, a GPU if torch finds one.
        backend: One of `BACKENDS`.
    """
    if device is not None or backend != "torch":
        return device is not None and not device.startswith("cpu")
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in _GPU_DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def run_by(backend: str, network: nn.Module, precision: str = "auto") -> Callable[..., Tensor]:
    """Return a callable that runs a network with a backend.

    Args:
        backend: "torch", or "openvino", which is faster on some CPUs, uses `torch`'s number of
            threads and runs on no GPU.
        network: Takes and returns (batch, C, H, W), on the CPU for OpenVINO.
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`. For torch the inferer sets
            the precision.

    Raises:
        ValueError: There is no such backend.
        MissingPackageError: OpenVINO is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; need one of {', '.join(BACKENDS)}")
    return network if backend == "torch" else _OpenVinoNetwork(network, precision)


class _OpenVinoNetwork:
    """A network compiled by OpenVINO on the first call, for any height and width."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        self._openvino = _import_openvino()
        self._network = network.eval()
        self._precision = precision
        self._compiled: Any = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's output for a batch, float32."""
        import torch

        if self._compiled is None:
            self._compiled = self._compile(images)
        return torch.from_numpy(self._compiled(images.float().numpy())[0])

    def _compile(self, images: Tensor) -> Any:
        import torch

        from monai_dental.inference.precision import fastest_dtype

        channels = images.shape[1]
        is_reduced = fastest_dtype(images.device, self._precision) == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            model = self._openvino.convert_model(
                self._network,
                example_input=torch.zeros(1, channels, 64, 64),
                input=[self._openvino.PartialShape([-1, channels, -1, -1])],
            )
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if is_reduced else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return self._openvino.Core().compile_model(model, "CPU", settings)


def _import_openvino() -> Any:
    """Import the package without its telemetry, which reports its use over the network.

    It only looks for the telemetry package during import.
    """
    telemetry = sys.modules.get("openvino_telemetry", _ABSENT)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # not importable
    try:
        import openvino
        import openvino.tools.ovc.convert_impl
    except ImportError as error:
        raise MissingPackageError(
            f"backend openvino needs the package openvino: {extra_needed('openvino')}"
        ) from error
    finally:
        if telemetry is _ABSENT:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = telemetry  # type: ignore[assignment]
    return openvino
