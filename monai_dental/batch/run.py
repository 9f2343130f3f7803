"""The loop: read, denoise, store; one outcome for each instance, even if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.batch.source import InstanceSource
from monai_dental.batch.target import InstanceTarget
from monai_dental.errors import MonaiDentalError, unexpected, without_path

if TYPE_CHECKING:
    from monai_dental.inference.denoiser import Denoiser


@dataclass(frozen=True)
class Outcome:
    """The outcome of one instance.

    Attributes:
        path: The source file.
        reason: Why it failed; None if it was denoised.
    """

    path: Path
    reason: str | None = None


def denoise_instances(
    source: InstanceSource, denoiser: Denoiser, target: InstanceTarget, strength: float = 1.0
) -> Iterator[Outcome]:
    """Denoise every instance of a source into a target.

    Args:
        source: Where the instances come from.
        denoiser: The network.
        target: Where the results go.
        strength: Fraction of the network's correction that is applied, 0 to 1.

    Yields:
        One outcome for each instance, in the order of the source. A bad instance does not stop the
        loop; only the kind and place of an unexpected error are reported; see `unexpected`.
    """
    derivation = denoiser.derivation_at(strength)
    for instance in source:
        try:
            radiograph = instance.read()
            denoised = radiograph.with_pixels(denoiser.denoise(radiograph.pixels, strength))
            target.store(denoised, instance.name, derivation)
        except MonaiDentalError as error:
            yield Outcome(instance.path, without_path(error, instance.path))
        except Exception as error:  # noqa: BLE001 - one bad file does not end the loop
            yield Outcome(instance.path, unexpected(error))
        else:
            yield Outcome(instance.path)
