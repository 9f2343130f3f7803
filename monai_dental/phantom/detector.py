"""The response of a sensor: quanta, blur, electronic noise, display curve, stored values."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.phantom.canvas import Field


@dataclass(frozen=True)
class Detector:
    """An intraoral sensor and its exposure.

    Attributes:
        photons: Noise-equivalent quanta per image pixel in the unattenuated beam.
        blur: Standard deviation of the Gaussian point spread function, image pixels.
        electronic_noise: Standard deviation of the noise after the blur, in units of the
            unattenuated signal.
        gain: Full-well value in units of the unattenuated signal; brighter signals saturate.
    """

    photons: float
    blur: float
    electronic_noise: float
    gain: float

    def record(self, signal: Field) -> Field:
        """Return the noise-free recorded signal: blurred and saturated, (H, W)."""
        return self._saturate(self._spread(signal))

    def record_noisy(self, signal: Field, generator: np.random.Generator) -> Field:
        """Return the recorded signal with its noise, (H, W).

        Poisson noise comes before the blur, which correlates it, Gaussian noise after it.

        Args:
            signal: Noise-free signal at the scintillator, (H, W), 1.0 = unattenuated beam.
            generator: Source of the noise.
        """
        quanta = generator.poisson(signal * np.float32(self.photons)).astype(np.float32)
        recorded = self._spread(quanta * np.float32(1 / self.photons))
        recorded += np.float32(self.electronic_noise) * generator.standard_normal(
            signal.shape, dtype=np.float32
        )
        return self._saturate(recorded)

    def _spread(self, signal: Field) -> Field:
        if self.blur == 0:
            return np.array(signal, dtype=np.float32)
        blurred = cv2.GaussianBlur(signal, (0, 0), self.blur, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(blurred, dtype=np.float32)

    def _saturate(self, signal: Field) -> Field:
        return np.asarray(np.minimum(signal, np.float32(self.gain)), dtype=np.float32)


@dataclass(frozen=True)
class DisplayCurve:
    """The mapping of the recorded signal to display values, dense = bright.

    Attributes:
        kind: `"log"` (linear in attenuation) or `"root"` (linear in a root of the signal, darker
            teeth).
        black: Recorded signal that is shown black.
        white: Recorded signal that is shown white, less than `black`.
        gamma: Exponent of the display value after the window; 1.0 for no change.
    """

    kind: str
    black: float
    white: float
    gamma: float

    def show(self, signal: Field) -> Field:
        """Return display values in [0, 1], 1 = most attenuated, clipped to the window."""
        floor = np.float32(self.white * 0.5)
        value = self._scale(np.maximum(signal, floor))
        black, white = self._scale(np.array([self.black, self.white], dtype=np.float32))
        shown = np.clip((value - black) / (white - black), 0, 1)
        return np.asarray(shown ** np.float32(self.gamma), dtype=np.float32)

    def _scale(self, signal: Field) -> Field:
        return np.log(signal) if self.kind == "log" else signal ** np.float32(0.15)


def to_stored_values(display: Field, bits_stored: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return display values in [0, 1] as integers from 0 to 2**bits_stored - 1, rounded.

    Raises:
        ValueError: `bits_stored` is not 8, 10, 12 or 16.
    """
    if bits_stored not in (8, 10, 12, 16):
        raise ValueError(f"bits_stored is {bits_stored}; need 8, 10, 12 or 16")
    values = np.rint(display * np.float32(2**bits_stored - 1))
    if bits_stored == 8:
        return np.asarray(values, dtype=np.uint8)
    return np.asarray(values, dtype=np.uint16)
