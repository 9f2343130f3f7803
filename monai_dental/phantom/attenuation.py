"""The X-ray beam and its attenuation by materials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

MATERIALS = (
    "enamel",
    "dentin",
    "soft_tissue",
    "cortical_bone",
    "trabecular_bone",
    "amalgam",
    "titanium",
    "zirconia",
    "composite",
    "gutta_percha",
)
TUBE_VOLTAGES_KV = (60, 65, 70)

_DEEPEST = (
    -40.0
)  # behind metal, no photon is left; smaller exponentials would be slow denormal numbers
_BLOCK = 1 << 15  # pixels at a time: the intermediate arrays stay in the processor's cache


@dataclass(frozen=True)
class AttenuationTable:
    """Spectra and coefficients by energy; rows are energy bins.

    Attributes:
        energies_kev: Centres of the bins, (E,).
        spectra: Fraction of the tube's photons in each bin, by tube voltage in kV, (E,) each, sum
            1.
        absorbed_fraction: Fraction of the photons that the scintillator absorbs, (E,).
        mass_attenuation: Coefficients in cm2/g by material, (E,) each.
        densities: Densities in g/cm3 by material.
    """

    energies_kev: NDArray[np.float64]
    spectra: dict[int, NDArray[np.float64]]
    absorbed_fraction: NDArray[np.float64]
    mass_attenuation: dict[str, NDArray[np.float64]]
    densities: dict[str, float]

    def linear_attenuation(self, material: str) -> NDArray[np.float64]:
        """Return the linear attenuation coefficient of a material in 1/mm, (E,)."""
        return self.mass_attenuation[material] * (self.densities[material] / 10.0)


@cache
def load_table() -> AttenuationTable:
    """Return the table in the package, which `scripts/make_attenuation_table.py` generates."""
    text = files("monai_dental.phantom").joinpath("attenuation.csv").read_text(encoding="utf-8")
    header, density_row, *rows = [
        line.split(",") for line in text.splitlines() if not line.startswith("#")
    ]
    values = np.array(rows, dtype=np.float64)
    columns = {name: values[:, position] for position, name in enumerate(header)}
    densities = dict(zip(header, density_row, strict=True))
    return AttenuationTable(
        energies_kev=columns["energy_kev"],
        spectra={kv: columns[f"spectrum_{kv}_kv"] for kv in TUBE_VOLTAGES_KV},
        absorbed_fraction=columns["absorbed_fraction"],
        mass_attenuation={name: columns[name] for name in MATERIALS},
        densities={name: float(densities[name]) for name in MATERIALS},
    )


def transmit(thickness: NDArray[np.float32], tube_voltage_kv: int) -> NDArray[np.float32]:
    """Return the energy that the scintillator absorbs behind a stack of materials.

    The Beer-Lambert law is applied to each energy bin, weighted by the spectrum, the photon energy
    and the absorbed fraction. Scatter is not included.

    Args:
        thickness: Path lengths in mm, (materials, H, W), in the order of `MATERIALS`.
        tube_voltage_kv: One of `TUBE_VOLTAGES_KV`.

    Returns:
        Relative signal, (H, W), 1.0 = unattenuated beam.

    Raises:
        ValueError: The number of materials or the tube voltage does not match the table.
    """
    if thickness.shape[0] != len(MATERIALS):
        raise ValueError(f"thickness has {thickness.shape[0]} materials; need {len(MATERIALS)}")
    table = load_table()
    if tube_voltage_kv not in table.spectra:
        raise ValueError(f"tube voltage is {tube_voltage_kv} kV; need one of {TUBE_VOLTAGES_KV}")
    weights = table.spectra[tube_voltage_kv] * table.energies_kev * table.absorbed_fraction
    weights /= weights.sum()
    paths = thickness.reshape(len(MATERIALS), -1)
    used = [row for row in range(len(MATERIALS)) if paths[row].any()]
    coefficients = [table.linear_attenuation(MATERIALS[row]) for row in used]
    signal = np.zeros(paths.shape[1], dtype=np.float32)
    # Plain loops keep the order of the sums, and so every bit, the same for any number of threads.
    for start in range(0, paths.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        depth, term = np.empty_like(signal[block]), np.empty_like(signal[block])
        for energy in np.flatnonzero(weights):
            depth.fill(0)
            for row, coefficient in zip(used, coefficients, strict=True):
                np.multiply(paths[row, block], np.float32(-coefficient[energy]), out=term)
                depth += term
            np.maximum(depth, np.float32(_DEEPEST), out=depth)
            np.exp(depth, out=depth)
            depth *= np.float32(weights[energy])
            signal[block] += depth
    return signal.reshape(thickness.shape[1:])
