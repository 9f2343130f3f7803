"""Drawn anatomy: bodies are round, teeth have correct sizes, each material is in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monai_dental.phantom.attenuation import MATERIALS
from monai_dental.phantom.bone import LIGAMENT_MM, shell_chord
from monai_dental.phantom.canvas import Canvas
from monai_dental.phantom.dentition import (
    LOWER_DIMENSIONS,
    UPPER_DIMENSIONS,
    Tooth,
    draw_tooth,
)
from monai_dental.phantom.drawing import draw
from monai_dental.phantom.projection import ToothProjection, chord, project_tooth
from monai_dental.phantom.restorations import Restoration, restore
from monai_dental.phantom.scene import draw_scene

NUMBERS = [11, 13, 15, 16, 31, 43, 45, 46]
PITCH = 0.1


@pytest.fixture
def canvas() -> Canvas:
    """A canvas of 40 mm without warp and tilt."""
    axis = (np.arange(400, dtype=np.float32) - 199.5) * np.float32(PITCH)
    x, y = np.meshgrid(axis, axis)
    return Canvas(PITCH, 0.0, x, y, np.zeros((len(MATERIALS), 400, 400), dtype=np.float32))


def upright_tooth(number: int) -> Tooth:
    y = 12.0 if number < 30 else -12.0
    tooth = draw_tooth(np.random.default_rng(number), number, x=0.0, y=y, scale=1.0, age=0.3)
    return replace(tooth, lean=0.0)


def project(number: int, canvas: Canvas) -> ToothProjection:
    projection = project_tooth(upright_tooth(number), canvas)
    assert projection is not None
    return projection


def filling(kind: str, number: int) -> Restoration:
    return Restoration(kind, number, center=0.0, reach=0.4, floor=2.5, share=0.5)


def test_chord_of_an_ellipse_has_its_area() -> None:
    offset = np.linspace(-3, 3, 6001, dtype=np.float32)
    lengths = chord(offset, np.full_like(offset, 2.0), 5.0)
    assert lengths.sum() * 0.001 == pytest.approx(np.pi * 2.0 * 2.5, rel=1e-3)
    assert lengths.max() == pytest.approx(5.0)


def test_shell_is_thickest_at_its_tangent() -> None:
    distance = np.linspace(-2, 1, 301, dtype=np.float32)
    lengths = shell_chord(distance, 0.0, LIGAMENT_MM)
    assert distance[lengths.argmax()] == pytest.approx(0.0, abs=0.02)
    assert lengths[distance > LIGAMENT_MM + 0.01].max() == 0
    assert lengths[0] == pytest.approx(2 * LIGAMENT_MM, rel=0.05)


@pytest.mark.parametrize("number", NUMBERS)
def test_tooth_has_the_published_size(number: int, canvas: Canvas) -> None:
    quadrant, position = divmod(number, 10)
    table = UPPER_DIMENSIONS if quadrant < 3 else LOWER_DIMENSIONS
    crown, root, width, _, depth = table[position - 1]
    outer = project(number, canvas).outer
    rows, columns = np.flatnonzero(outer.any(axis=1)), np.flatnonzero(outer.any(axis=0))
    assert np.ptp(rows) * PITCH == pytest.approx(crown + root, rel=0.2)
    assert np.ptp(columns) * PITCH == pytest.approx(width, rel=0.2)
    assert outer.max() == pytest.approx(depth, rel=0.2)


@pytest.mark.parametrize("number", NUMBERS)
def test_layers_fill_the_tooth(number: int, canvas: Canvas) -> None:
    projection = project(number, canvas)
    total = sum(projection.layers.values())
    np.testing.assert_allclose(total, projection.outer, atol=1e-4)
    assert all(layer.min() >= -1e-6 for layer in projection.layers.values())


@pytest.mark.parametrize("number", NUMBERS)
def test_enamel_covers_the_crown_alone(number: int, canvas: Canvas) -> None:
    projection = project(number, canvas)
    below = projection.v > projection.tooth.crown_length + 0.2
    assert projection.layers["enamel"][below].max() < 1e-4
    assert projection.layers["enamel"].max() > 2.0


@pytest.mark.parametrize("number", NUMBERS)
def test_pulp_lies_inside_the_dentin(number: int, canvas: Canvas) -> None:
    projection = project(number, canvas)
    pulp, dentin = projection.layers["soft_tissue"], projection.layers["dentin"]
    assert pulp.max() > 1.0
    assert (dentin >= 0.24 * pulp).all()
    assert pulp[projection.v < 0.3 * projection.tooth.crown_length].max() == 0


@pytest.mark.parametrize("kind", ["amalgam", "composite"])
def test_filling_replaces_tooth(kind: str, canvas: Canvas) -> None:
    sound = project(46, canvas)
    filled = restore(sound, filling(kind, 46))
    assert filled.layers[kind].max() > 2.0
    assert filled.layers[kind][sound.v > 6.0].max() == 0
    np.testing.assert_allclose(sum(filled.layers.values()), sound.outer, atol=1e-3)


def test_root_filling_replaces_pulp(canvas: Canvas) -> None:
    sound = project(45, canvas)
    treated = restore(sound, filling("root_filling", 45))
    assert treated.layers["gutta_percha"].max() > 0.3
    assert treated.layers["soft_tissue"].sum() < 0.3 * sound.layers["soft_tissue"].sum()


def test_implant_has_no_ligament(canvas: Canvas) -> None:
    implant = restore(project(46, canvas), filling("implant", 46))
    assert implant.layers["titanium"].max() > 3.0
    assert "dentin" not in implant.layers
    assert implant.root_distance.min() > 10.0


@pytest.mark.parametrize("index", range(1, 9))
def test_thickness_is_never_negative(index: int) -> None:
    scene = draw_scene(index, (200, 200))
    drawing = draw(index, scene, (200, 200))
    assert drawing.canvas.thickness.min() > -1e-3
    assert drawing.canvas.thickness.sum(axis=0).max() < 80.0  # mm of anything
