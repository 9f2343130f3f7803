"""Write the phantom's attenuation table from published data.

A maintainers' tool, run once: `python scripts/make_attenuation_table.py`. It needs xraydb (mass
attenuation coefficients after Elam, Ravel & Sieber, Radiat. Phys. Chem. 63, 2002) and spekpy (tube
spectra, Poludniowski et al., Med. Phys. 48, 2021). The package itself does not need them, as the
table is checked in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spekpy
import xraydb
from numpy.typing import NDArray

TABLE = Path(__file__).parents[1] / "monai_dental" / "phantom" / "attenuation.csv"

ENERGIES_KEV = np.arange(15.0, 71.0, 5.0)  # bin centres; each bin extends 2.5 keV to both sides
TUBE_VOLTAGES_KV = (60, 65, 70)
ANODE_ANGLE_DEG = 12.5  # typical of intraoral tubes
FILTRATION_MM_AL = 2.0  # IEC 60601-2-65 requires at least 1.5 mm Al at up to 70 kV
SCINTILLATOR_MM_CSI = 0.1  # typical of intraoral CMOS sensors
CSI_DENSITY = 4.51

HYDROXYAPATITE = {"Ca": 0.3989, "P": 0.1850, "O": 0.4141, "H": 0.0020}
COLLAGEN = {"H": 0.07, "C": 0.51, "N": 0.18, "O": 0.24}
WATER = {"H": 0.1119, "O": 0.8881}


def mix(*parts: tuple[float, dict[str, float]]) -> dict[str, float]:
    """Return the mass fractions of a mixture of (mass fraction, composition) parts."""
    fractions: dict[str, float] = {}
    for share, composition in parts:
        for element, fraction in composition.items():
            fractions[element] = fractions.get(element, 0.0) + share * fraction
    return fractions


# name: (density in g/cm3, mass fractions, source)
MATERIALS: dict[str, tuple[float, dict[str, float], str]] = {
    "enamel": (
        2.95,
        mix((0.96, HYDROXYAPATITE), (0.01, COLLAGEN), (0.03, WATER)),
        "96 % hydroxyapatite, 1 % protein, 3 % water (Nanci, Ten Cate's Oral Histology)",
    ),
    "dentin": (
        2.14,
        mix((0.70, HYDROXYAPATITE), (0.20, COLLAGEN), (0.10, WATER)),
        "70 % hydroxyapatite, 20 % collagen, 10 % water (Nanci, Ten Cate's Oral Histology)",
    ),
    "soft_tissue": (
        1.06,
        {
            "H": 0.102,
            "C": 0.143,
            "N": 0.034,
            "O": 0.708,
            "Na": 0.002,
            "P": 0.003,
            "S": 0.003,
            "Cl": 0.002,
            "K": 0.003,
        },
        "Tissue, soft (ICRU-44); also pulp, periodontal ligament and granulation tissue",
    ),
    "cortical_bone": (
        1.92,
        {
            "H": 0.034,
            "C": 0.155,
            "N": 0.042,
            "O": 0.435,
            "Na": 0.001,
            "Mg": 0.002,
            "P": 0.103,
            "S": 0.003,
            "Ca": 0.225,
        },
        "Bone, cortical (ICRU-44)",
    ),
    "trabecular_bone": (
        1.18,
        {
            "H": 0.085,
            "C": 0.404,
            "N": 0.028,
            "O": 0.367,
            "Na": 0.001,
            "Mg": 0.001,
            "P": 0.034,
            "S": 0.002,
            "Cl": 0.002,
            "K": 0.001,
            "Ca": 0.074,
            "Fe": 0.001,
        },
        "Skeleton, spongiosa (ICRU-46)",
    ),
    "amalgam": (
        11.0,
        {"Hg": 0.45, "Ag": 0.31, "Sn": 0.14, "Cu": 0.10},
        "high-copper dental amalgam, typical",
    ),
    "titanium": (4.51, {"Ti": 1.0}, "commercially pure titanium"),
    "zirconia": (
        6.05,
        {"Zr": 0.702, "Y": 0.041, "O": 0.257},
        "3Y-TZP: 94.8 % ZrO2, 5.2 % Y2O3",
    ),
    "composite": (
        2.10,
        {"H": 0.020, "C": 0.160, "O": 0.440, "Si": 0.260, "Al": 0.060, "Ba": 0.060},
        "resin with 75 % glass, 6 % barium: 1 mm shadows as 2.5 mm aluminium, typical",
    ),
    "gutta_percha": (
        2.20,
        {"Zn": 0.522, "O": 0.170, "Ba": 0.088, "S": 0.021, "C": 0.176, "H": 0.023},
        "65 % ZnO, 15 % BaSO4, 20 % polyisoprene, typical",
    ),
}


def mass_attenuation(
    fractions: dict[str, float], energies_kev: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the total mass attenuation coefficient of a mixture in cm2/g."""
    total = sum(fractions.values())
    coefficients = np.zeros_like(energies_kev)
    for element, fraction in fractions.items():
        coefficients += fraction / total * xraydb.mu_elam(element, energies_kev * 1e3, kind="total")
    return coefficients


def binned_spectrum(tube_voltage_kv: float) -> NDArray[np.float64]:
    """Return the fraction of the tube's photons in each energy bin, sum 1."""
    tube = spekpy.Spek(kvp=tube_voltage_kv, th=ANODE_ANGLE_DEG)
    tube.filter("Al", FILTRATION_MM_AL)
    energies, fluence = tube.get_spectrum()
    edges = np.append(ENERGIES_KEV - 2.5, ENERGIES_KEV[-1] + 2.5)
    counts, _ = np.histogram(energies, bins=edges, weights=fluence)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def table_lines() -> list[str]:
    """Return the lines of the table, header first."""
    absorbed = 1.0 - np.exp(
        -mass_attenuation({"Cs": 0.5115, "I": 0.4885}, ENERGIES_KEV)
        * CSI_DENSITY
        * SCINTILLATOR_MM_CSI
        / 10.0
    )
    columns = {"energy_kev": ENERGIES_KEV}
    columns |= {f"spectrum_{kv}_kv": binned_spectrum(kv) for kv in TUBE_VOLTAGES_KV}
    columns["absorbed_fraction"] = absorbed
    columns |= {
        name: mass_attenuation(fractions, ENERGIES_KEV)
        for name, (_, fractions, _) in MATERIALS.items()
    }
    density_row = ["density"] + [""] * (len(TUBE_VOLTAGES_KV) + 1)
    density_row += [f"{density:g}" for density, _, _ in MATERIALS.values()]
    return [
        "# Spectra and mass attenuation coefficients (cm2/g) of the dental phantom.",
        "# Made by scripts/make_attenuation_table.py; do not edit by hand.",
        f"# Coefficients: xraydb {xraydb.__version__} mu_elam(kind='total') at the bin centre.",
        f"# Spectra: spekpy {spekpy.__version__}, tungsten, {ANODE_ANGLE_DEG} degrees, "
        f"{FILTRATION_MM_AL} mm Al; share of photons in bins of 5 keV.",
        f"# absorbed_fraction: of a {SCINTILLATOR_MM_CSI} mm CsI scintillator.",
        "# Materials, density in g/cm3 in the row named so:",
        *(f"# {name}: {source}" for name, (_, _, source) in MATERIALS.items()),
        ",".join(columns),
        ",".join(density_row),
        *(",".join(f"{value:.5g}" for value in row) for row in zip(*columns.values(), strict=True)),
    ]


if __name__ == "__main__":
    TABLE.write_text("\n".join(table_lines()) + "\n", encoding="utf-8")
