"""Whole phantoms: determinism, lesions, sizes, looks in numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from monai_dental.phantom import PHANTOM_VERSION, Exposure, simulate_exposure
from monai_dental.phantom.drawing import draw
from monai_dental.phantom.lesions import LESION_KINDS
from monai_dental.phantom.scene import draw_scene
from monai_dental.phantom.simulate import draw_technique, primary_signal
from monai_dental.phantom.streams import random_stream

SIZE = (400, 400)

# Means of the clean images 1 to 4: `[(e.clean / 65535).mean() for e in exposures[:4]]`.
GOLDEN_MEANS = [0.4966, 0.5048, 0.6227, 0.5291]


@pytest.fixture(scope="module")
def exposures() -> list[Exposure]:
    return [simulate_exposure(index, size=SIZE, bits_stored=16) for index in range(1, 25)]


def test_same_index_gives_the_same_bytes(exposures: list[Exposure]) -> None:
    again = simulate_exposure(3, size=SIZE, bits_stored=16)
    np.testing.assert_array_equal(again.clean, exposures[2].clean)
    np.testing.assert_array_equal(again.noisy, exposures[2].noisy)
    assert again.parameters == exposures[2].parameters


def test_different_indices_differ(exposures: list[Exposure]) -> None:
    digests = {exposure.clean.tobytes() for exposure in exposures}
    assert len(digests) == len(exposures)


def test_streams_of_different_names_are_independent() -> None:
    draws = {
        (index, name): random_stream(index, name).random(50)
        for index in (1, 2)
        for name in ("lesions", "noise")
    }
    first, *others = draws.values()
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 0.5 for other in others)
    np.testing.assert_array_equal(random_stream(1, "lesions").random(50), first)


def test_golden_statistics_of_the_first_phantoms(exposures: list[Exposure]) -> None:
    # Other values need a new PHANTOM_VERSION: the phantoms are no longer the same.
    assert PHANTOM_VERSION == 1
    means = [float((exposure.clean / 65535).mean()) for exposure in exposures[:4]]
    assert means == pytest.approx(GOLDEN_MEANS, abs=0.003)


@pytest.mark.parametrize("bits_stored", [8, 10, 12, 16])
def test_stored_values_fit_their_bits(bits_stored: int) -> None:
    exposure = simulate_exposure(5, size=(64, 80), bits_stored=bits_stored)
    for image in (exposure.clean, exposure.noisy):
        assert image.dtype == (np.uint8 if bits_stored == 8 else np.uint16)
        assert image.max() <= 2**bits_stored - 1
        assert image.max() > 0.8 * 2**bits_stored


@pytest.mark.parametrize("size", [(512, 512), (300, 420), (420, 300), (64, 64), (33, 47)])
def test_size_is_rows_and_columns(size: tuple[int, int]) -> None:
    exposure = simulate_exposure(7, size=size)
    assert exposure.clean.shape == exposure.noisy.shape == size
    assert all(mask.shape == size for mask in exposure.lesions.values())
    assert exposure.pixel_spacing[0] * size[0] == pytest.approx(exposure.parameters["field_mm"][0])
    assert exposure.pixel_spacing[1] * size[1] == pytest.approx(exposure.parameters["field_mm"][1])


def test_same_anatomy_at_every_size() -> None:
    large = simulate_exposure(4, size=(512, 512), bits_stored=16).clean.astype(float)
    small = simulate_exposure(4, size=(64, 64), bits_stored=16).clean.astype(float)
    # The sensor's blur is a part of a pixel, so it is wider in mm at the smaller size.
    shrunk = cv2.GaussianBlur(large.reshape(64, 8, 64, 8).mean(axis=(1, 3)), (0, 0), 0.75)
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.98


def test_noise_is_that_of_real_sensors(exposures: list[Exposure]) -> None:
    sigmas, correlations = [], []
    for exposure in exposures:
        noise = (exposure.noisy.astype(float) - exposure.clean) / 65535
        inside = (exposure.clean > 4000) & (exposure.clean < 61000)
        pairs = inside[:, 1:] & inside[:, :-1]
        sigmas.append(noise[inside].std())
        correlations.append(np.corrcoef(noise[:, 1:][pairs], noise[:, :-1][pairs])[0, 1])
        assert abs(noise[inside].mean()) < 0.2 * sigmas[-1]
    assert 0.01 < np.median(sigmas) < 0.03
    assert min(sigmas) > 0.004
    assert max(sigmas) < 0.05
    assert 0.5 < np.median(correlations) < 0.75


def test_contrast_uses_the_range(exposures: list[Exposure]) -> None:
    for exposure in exposures:
        low, high = np.percentile(exposure.clean, (2, 98)) / 65535
        assert high - low > 0.4


@pytest.mark.parametrize("view", ["periapical", "bitewing"])
def test_view_can_be_chosen(view: str) -> None:
    exposure = simulate_exposure(1, size=(64, 64), view=view)
    assert exposure.parameters["view"] == view
    arches = {number // 10 in (1, 2) for number in exposure.parameters["teeth"]}
    assert len(arches) == (2 if view == "bitewing" else 1)


def test_parameters_are_json(exposures: list[Exposure]) -> None:
    for exposure in exposures:
        assert json.loads(json.dumps(exposure.parameters)) == exposure.parameters
        assert exposure.parameters["teeth"]


def test_every_kind_of_lesion_occurs(exposures: list[Exposure]) -> None:
    more = [simulate_exposure(index, size=(64, 64)) for index in range(25, 85)]
    kinds = {kind for exposure in [*exposures, *more] for kind in exposure.lesions}
    assert kinds == set(LESION_KINDS)
    assert any(not exposure.lesions for exposure in exposures)


def test_masks_are_where_parameters_tell_of_lesions(exposures: list[Exposure]) -> None:
    for exposure in exposures:
        assert set(exposure.lesions) == {item["kind"] for item in exposure.parameters["lesions"]}
        for mask in exposure.lesions.values():
            assert mask.dtype == np.bool_
            assert 0 < mask.mean() < 0.25


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_lesion_lets_more_through_than_sound_tissue(kind: str) -> None:
    found = 0
    for index in range(1, 60):
        scene, technique = draw_scene(index, SIZE), draw_technique(index)
        drawing = draw(index, scene, SIZE)
        if kind not in drawing.lesion_masks:
            continue
        sound = draw(index, scene, SIZE, lesions=())
        mask = drawing.lesion_masks[kind] & ~drawing.is_unexposed
        elsewhere = ~np.logical_or.reduce(list(drawing.lesion_masks.values()))
        ill, well = primary_signal(drawing, technique), primary_signal(sound, technique)
        assert ill[mask].mean() > 1.02 * well[mask].mean()
        assert np.abs(np.log(ill[elsewhere] / well[elsewhere])).mean() < 0.01
        found += 1
        if found == 2:
            return
    pytest.fail(f"fewer than two of {kind} in 60 phantoms")


def test_unknown_view_is_refused() -> None:
    with pytest.raises(ValueError, match="view is 'occlusal'"):
        simulate_exposure(1, view="occlusal")


def test_tiny_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size is \(8, 512\)"):
        simulate_exposure(1, size=(8, 512))


def test_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="index is -1"):
        simulate_exposure(-1)


def test_import_needs_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; import monai_dental.phantom; "
        "print([name for name in ('torch', 'monai', 'scipy', 'pydicom') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
