"""Panoramic phantoms: anatomy in its place, sizes, determinism, looks in numbers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from monai_dental.phantom import Exposure, simulate_exposure
from monai_dental.phantom.attenuation import MATERIALS
from monai_dental.phantom.canvas import Canvas
from monai_dental.phantom.drawing import METALS, Drawing, draw
from monai_dental.phantom.lesions import LESION_KINDS
from monai_dental.phantom.panorama import Panorama, draw_panorama
from monai_dental.phantom.simulate import draw_panoramic_technique, primary_signal
from monai_dental.phantom.strokes import paint_areas, paint_lines, smooth_line

SIZE = (400, 820)
SMALL = (200, 410)
INDICES = range(1, 5)
SCENES = range(1, 9)


@pytest.fixture(scope="module")
def exposures() -> list[Exposure]:
    return [
        simulate_exposure(index, size=SIZE, bits_stored=16, view="panoramic") for index in INDICES
    ]


@pytest.fixture(scope="module")
def drawings() -> list[tuple[Panorama, Drawing]]:
    scenes = [draw_panorama(index, SMALL) for index in SCENES]
    return [(scene, draw(index, scene, SMALL)) for index, scene in zip(SCENES, scenes, strict=True)]


@pytest.fixture
def canvas() -> Canvas:
    axis = (np.arange(200, dtype=np.float32) - 99.5) * np.float32(0.2)
    x, y = np.meshgrid(axis, axis)
    return Canvas(0.2, 0.0, x, y, np.zeros((len(MATERIALS), 200, 200), dtype=np.float32))


def test_same_index_gives_the_same_bytes(exposures: list[Exposure]) -> None:
    again = simulate_exposure(2, size=SIZE, bits_stored=16, view="panoramic")
    np.testing.assert_array_equal(again.clean, exposures[1].clean)
    np.testing.assert_array_equal(again.noisy, exposures[1].noisy)
    assert again.parameters == exposures[1].parameters
    assert len({exposure.clean.tobytes() for exposure in exposures}) == len(exposures)


def test_panoramic_view_is_never_drawn_by_chance() -> None:
    views = {simulate_exposure(index, size=(16, 16)).parameters["view"] for index in range(1, 13)}
    assert views == {"periapical", "bitewing"}


@pytest.mark.parametrize(
    "size", [(717, 1471), (300, 420), (420, 300), (64, 64), (33, 47), (16, 16)]
)
def test_size_is_rows_and_columns(size: tuple[int, int]) -> None:
    exposure = simulate_exposure(7, size=size, view="panoramic")
    assert exposure.clean.shape == exposure.noisy.shape == size
    assert all(mask.shape == size for mask in exposure.lesions.values())
    assert exposure.pixel_spacing[0] * size[0] == pytest.approx(exposure.parameters["field_mm"][0])
    assert exposure.pixel_spacing[1] * size[1] == pytest.approx(exposure.parameters["field_mm"][1])


def test_same_anatomy_at_every_size() -> None:
    large, small = (
        simulate_exposure(4, size=size, bits_stored=16, view="panoramic").clean.astype(float)
        for size in ((512, 1024), (64, 128))
    )
    shrunk = cv2.GaussianBlur(large.reshape(64, 8, 128, 8).mean(axis=(1, 3)), (0, 0), 0.45)
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.98


def test_pixels_are_those_of_the_usual_film() -> None:
    exposure = simulate_exposure(1, size=(717, 1471), view="panoramic")
    height, width = exposure.parameters["field_mm"]
    assert 140 < height < 160
    assert 285 < width < 320
    assert exposure.pixel_spacing[0] == pytest.approx(0.205, abs=0.015)


def test_parameters_are_json(exposures: list[Exposure]) -> None:
    for exposure in exposures:
        assert json.loads(json.dumps(exposure.parameters)) == exposure.parameters
        assert exposure.parameters["view"] == "panoramic"


def test_both_arches_are_in_the_image(drawings: list[tuple[Panorama, Drawing]]) -> None:
    for scene, drawing in drawings:
        numbers = [tooth.number for tooth in drawing.teeth]
        assert len(set(numbers)) == len(numbers) == len(scene.teeth)
        assert 20 <= len(numbers) <= 32
        assert {number // 10 for number in numbers} == {1, 2, 3, 4}
        rows, columns = np.nonzero(drawing.canvas.layer("enamel") > 0.5)
        assert 0 < rows.min() < rows.max() < SMALL[0] - 1
        assert 0 < columns.min() < columns.max() < SMALL[1] - 1


def test_patient_right_is_on_the_left(drawings: list[tuple[Panorama, Drawing]]) -> None:
    for scene, _ in drawings:
        for tooth in scene.teeth:
            if tooth.number % 10 > 1:
                assert (tooth.x < 0) == (tooth.number // 10 in (1, 4))


def test_occlusal_plane_smiles(drawings: list[tuple[Panorama, Drawing]]) -> None:
    for scene, _ in drawings:
        back = [tooth.y for tooth in scene.teeth if tooth.number % 10 in (6, 7)]
        front = [tooth.y for tooth in scene.teeth if tooth.number % 10 in (1, 2)]
        assert np.mean(back) < np.mean(front)  # y points down


def test_mandible_has_rami_and_no_hole_to_the_neck(
    drawings: list[tuple[Panorama, Drawing]],
) -> None:
    for scene, drawing in drawings:
        (lower,) = [jaw for jaw in scene.jaws if not jaw.is_upper]
        bone = lower.depth_below_crest(drawing.canvas) > 0
        count, _, stats, _ = cv2.connectedComponentsWithStats(bone.astype(np.uint8))
        assert count >= 2
        assert stats[1:, cv2.CC_STAT_AREA].max() > 0.98 * bone.sum()
        x, y = drawing.canvas.x[bone], drawing.canvas.y[bone] - scene.skull.middle
        assert y.min() < scene.skull.condyle[1]
        assert y.max() == pytest.approx(scene.skull.chin, abs=4.0)
        assert abs(x.min() + x.max()) < 16.0
        assert np.ptp(x) == pytest.approx(2 * scene.skull.condyle[0] + 8, abs=16.0)


def test_pontic_stands_over_bone_without_a_root() -> None:
    found = 0
    for index in range(1, 60):
        scene = draw_panorama(index, SIZE)
        for restoration in scene.bridges:
            if restoration.kind == "pontic":
                neighbours = {item.number for item in scene.bridges if item.kind == "crown"}
                assert len(neighbours) >= 2
                found += 1
    assert found >= 3


def test_some_third_molars_are_impacted_and_some_patients_wear_brackets() -> None:
    scenes = [draw_panorama(index, SIZE) for index in range(1, 60)]
    leans = [
        abs(np.degrees(tooth.lean))
        for scene in scenes
        for tooth in scene.teeth
        if tooth.number in (38, 48)
    ]
    assert 0.1 < np.mean(np.array(leans) > 30) < 0.6
    assert 1 <= sum(scene.has_brackets for scene in scenes) < 15


def test_thickness_is_never_negative(drawings: list[tuple[Panorama, Drawing]]) -> None:
    for _, drawing in drawings:
        assert drawing.canvas.thickness.min() > -1e-3
        assert drawing.canvas.thickness.sum(axis=0).max() < 120.0  # mm of anything


def test_noise_is_that_of_real_detectors(exposures: list[Exposure]) -> None:
    sigmas = []
    for exposure in exposures:
        noise = (exposure.noisy.astype(float) - exposure.clean) / 65535
        inside = (exposure.clean > 4000) & (exposure.clean < 61000)
        sigmas.append(noise[inside].std())
        assert abs(noise[inside].mean()) < 0.2 * sigmas[-1]
    assert 0.01 < np.median(sigmas) < 0.03
    assert min(sigmas) > 0.004
    assert max(sigmas) < 0.05


def test_power_falls_as_in_real_radiographs(exposures: list[Exposure]) -> None:
    # Of real ones, P ~ f^-3.6 (median of 33, from 0.012 to 0.12 per pixel of 0.2 mm).
    for exposure in exposures[:4]:
        tile = (exposure.clean[72:328, 154:666] / 65535).astype(np.float64)
        window = np.hanning(256)[:, None] * np.hanning(512)
        power = np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(512))
        edges = np.geomspace(0.0215, 0.215, 8)
        bins = np.digitize(frequency, edges)
        levels = [power[bins == k].mean() for k in range(1, 8)]
        slope = np.polyfit(np.log(edges[1:] * edges[:-1]) / 2, np.log(levels), 1)[0]
        assert -4.3 < slope < -2.9


def test_contrast_uses_the_range(exposures: list[Exposure]) -> None:
    for exposure in exposures:
        low, middle, high = np.percentile(exposure.clean, (5, 50, 95)) / 65535
        assert low < 0.3
        assert 0.3 < middle < 0.7
        assert high > 0.75


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_lesion_lets_more_through_than_sound_tissue(kind: str) -> None:
    found = 0
    for index in range(1, 60):
        scene, technique = draw_panorama(index, SMALL), draw_panoramic_technique(index)
        drawing = draw(index, scene, SMALL)
        if kind not in drawing.lesion_masks:
            continue
        sound = draw(index, scene, SMALL, lesions=())
        mask = drawing.lesion_masks[kind].copy()
        for metal in METALS:
            mask &= drawing.canvas.layer(metal) < 0.01
        elsewhere = ~np.logical_or.reduce(list(drawing.lesion_masks.values()))
        ill, well = primary_signal(drawing, technique), primary_signal(sound, technique)
        assert ill[mask].mean() > 1.02 * well[mask].mean()
        assert np.abs(np.log(ill[elsewhere] / well[elsewhere])).mean() < 0.01
        found += 1
        if found == 2:
            return
    pytest.fail(f"fewer than two of {kind} in 60 phantoms")


def test_area_and_line_are_where_their_points_are(canvas: Canvas) -> None:
    square = ((-5.0, -5.0), (5.0, -5.0), (5.0, 5.0), (-5.0, 5.0))
    # OpenCV's antialiasing widens areas by 0.7, lines by up to 2.4 pixels of 0.2 mm.
    area = paint_areas(canvas, [(1.0, square)], blur=0.0)
    assert area.sum() * 0.04 == pytest.approx(10.2**2, rel=0.04)
    assert np.average(canvas.x, weights=area) == pytest.approx(0.0, abs=0.05)
    line = paint_lines(canvas, [(0.5, ((-8.0, 2.0), (8.0, 2.0)))], width=1.0, blur=0.4)
    assert np.average(canvas.y, weights=line) == pytest.approx(2.0, abs=0.1)
    assert 0.5 * 16.0 * 1.0 <= line.sum() * 0.04 <= 0.5 * 16.6 * 1.6


def test_spline_goes_through_its_knots() -> None:
    knots = ((0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0))
    line = np.array(smooth_line(knots))
    for knot in knots:
        assert np.hypot(*(line - knot).T).min() < 1e-9
