"""The beam: table values against published ones, Beer-Lambert against a direct sum."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dental.phantom.attenuation import MATERIALS, TUBE_VOLTAGES_KV, load_table, transmit

# Total mass attenuation coefficients with coherent scattering in cm2/g, NIST: Hubbell & Seltzer,
# NISTIR 5632, tables 3 (element 22) and 4 (Bone, Cortical (ICRU-44); Tissue, Soft (ICRU-44)).
NIST = {
    "cortical_bone": {20: 4.001, 30: 1.331, 40: 0.6655, 50: 0.4242, 60: 0.3148},
    "soft_tissue": {20: 0.8230, 30: 0.3790, 40: 0.2688, 50: 0.2264, 60: 0.2048},
    "titanium": {20: 15.85, 30: 4.972, 40: 2.214, 50: 1.213, 60: 0.7661},
}


def slab(**millimetres: float) -> np.ndarray:
    thickness = np.zeros((len(MATERIALS), 2, 3), dtype=np.float32)
    for material, length in millimetres.items():
        thickness[MATERIALS.index(material)] = length
    return thickness


@pytest.mark.parametrize("material", NIST)
def test_coefficients_are_those_of_nist(material: str) -> None:
    table = load_table()
    for energy, expected in NIST[material].items():
        (row,) = np.flatnonzero(table.energies_kev == energy)
        assert table.mass_attenuation[material][row] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("tube_voltage_kv", TUBE_VOLTAGES_KV)
def test_spectrum_is_normalized_and_ends_at_the_tube_voltage(tube_voltage_kv: int) -> None:
    table = load_table()
    spectrum = table.spectra[tube_voltage_kv]
    assert spectrum.sum() == pytest.approx(1.0, abs=1e-3)
    assert not spectrum[table.energies_kev - 2.5 >= tube_voltage_kv].any()


@pytest.mark.parametrize("tube_voltage_kv", TUBE_VOLTAGES_KV)
def test_slab_follows_beer_lambert(tube_voltage_kv: int) -> None:
    table = load_table()
    lengths = {"soft_tissue": 10.0, "dentin": 4.0, "enamel": 1.5}
    weights = table.spectra[tube_voltage_kv] * table.energies_kev * table.absorbed_fraction
    exponent = sum(
        table.mass_attenuation[name] * table.densities[name] * length / 10
        for name, length in lengths.items()
    )
    expected = (weights * np.exp(-exponent)).sum() / weights.sum()
    signal = transmit(slab(**lengths), tube_voltage_kv)
    assert signal.shape == (2, 3)
    np.testing.assert_allclose(signal, expected, rtol=1e-5)


def test_empty_beam_is_unattenuated() -> None:
    np.testing.assert_allclose(transmit(slab(), 65), 1.0, rtol=1e-6)


@pytest.mark.parametrize("material", MATERIALS)
def test_more_material_lets_less_through(material: str) -> None:
    signals = [transmit(slab(**{material: length}), 65)[0, 0] for length in (0.0, 0.2, 1.0, 3.0)]
    assert all(thin > thick for thin, thick in zip(signals, signals[1:], strict=False))


def test_beam_hardens() -> None:
    first, second = (transmit(slab(dentin=length), 65)[0, 0] for length in (2.0, 4.0))
    assert second > first**2


def test_unknown_tube_voltage_is_refused() -> None:
    with pytest.raises(ValueError, match="90 kV; need one of"):
        transmit(slab(), 90)


def test_wrong_number_of_materials_is_refused() -> None:
    with pytest.raises(ValueError, match="3 materials"):
        transmit(np.zeros((3, 4, 4), dtype=np.float32), 65)
