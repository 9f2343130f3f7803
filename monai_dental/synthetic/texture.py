"""Random textures like those of fine bone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def draw_texture(
    generator: np.random.Generator, size: tuple[int, int], steepness: float | None = None
) -> Field:
    """Return a random field whose amplitude falls with a power of the frequency.

    Args:
        generator: Source of the texture.
        size: Rows and columns.
        steepness: Exponent of the power spectrum's falloff; None for a random one between rough and
            smooth. That of trabecular bone is about 1.5 to 3.5.

    Returns:
        Mean 0 and standard deviation 1, (rows, columns).

    References:
        Benhamou et al., J. Bone Miner. Res. 9(12), 1994, for the fractal texture of bone.
    """
    beta = generator.uniform(1.2, 3.2) if steepness is None else steepness
    rows, columns = (int(cv2.getOptimalDFTSize(side)) for side in size)
    spectrum = np.fft.rfft2(generator.standard_normal((rows, columns), dtype=np.float32))
    stretch = generator.uniform(0.5, 1.0)
    turn = generator.uniform(0, np.pi)
    down = np.fft.fftfreq(rows)[:, None]
    across = np.fft.rfftfreq(columns)
    u = across * np.cos(turn) + down * np.sin(turn)
    v = (down * np.cos(turn) - across * np.sin(turn)) * stretch
    lowest = generator.uniform(1 / 128, 1 / 16)
    spectrum *= (u * u + v * v + lowest**2) ** (-beta / 4)
    field = np.fft.irfft2(spectrum, s=(rows, columns))[: size[0], : size[1]].astype(np.float32)
    if generator.random() < 0.5:  # struts or holes rather than clouds
        field = np.abs(field - np.float32(generator.uniform(-1, 1) * field.std()))
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)
