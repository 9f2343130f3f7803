import math
from dataclasses import replace

import numpy as np
import pytest

from monai_dental.benchmark.lesions import REGIONS, Case, cut, draw_case, lesion_ratios
from monai_dental.phantom.detector import Detector, DisplayCurve
from monai_dental.phantom.drawing import draw
from monai_dental.phantom.scene import draw_scene

INDEX, SMALL = 10004, (100, 100)
KIND = "periapical_lesion"


@pytest.fixture(scope="module")
def case():
    return draw_case(10001, KIND)


@pytest.fixture(scope="module")
def regions(case):
    return {name: cut(case.expose(name), case.places, REGIONS[KIND]) for name in case.signals}


@pytest.fixture
def flat():
    """Return a case of constant signal with quantum noise only."""
    detector = Detector(photons=4000.0, blur=0.7, electronic_noise=0.0, gain=1.0)
    curve = DisplayCurve(kind="log", black=0.9, white=0.09, gamma=1.0)
    return Case({"flat": np.full((200, 200), 0.3, dtype=np.float32)}, detector, curve)


@pytest.mark.parametrize("view", ["bitewing", "periapical"])
def test_given_lesions_are_drawn_as_the_phantoms_own(view):
    scene = draw_scene(INDEX, SMALL, view)
    own = draw(INDEX, scene, SMALL)
    assert own.lesions

    given = draw(INDEX, scene, SMALL, lesions=own.lesions)
    assert given.canvas.thickness.tobytes() == own.canvas.thickness.tobytes()
    sound = draw(INDEX, scene, SMALL, lesions=()).canvas.thickness
    assert np.abs(sound - own.canvas.thickness).max() > 1


def test_less_severe_cavity_is_shallower():
    scene = draw_scene(INDEX, SMALL, "periapical")
    lesion = next(one for one in draw(INDEX, scene, SMALL).lesions if one.kind == KIND)
    sound, faint, whole = (
        draw(INDEX, scene, SMALL, lesions=lesions).canvas.thickness.astype(np.float64)
        for lesions in ((), [replace(lesion, severity=0.3)], [lesion])
    )
    assert 0 < np.abs(faint - sound).sum() < np.abs(whole - sound).sum()


def test_lesions_are_dark_and_stronger_where_distinct(regions):
    lost = {name: regions["absent"] - regions[name] for name in ("faint", "distinct")}
    assert (lost["distinct"].max(axis=(1, 2)) > lost["faint"].max(axis=(1, 2))).all()
    assert (lost["faint"].max(axis=(1, 2)) > 0).all()
    assert lost["distinct"].min() > -0.002


def test_lesions_lie_in_the_middle_of_their_regions(regions):
    side = REGIONS[KIND]
    positions = np.indices((side, side))
    for lost in regions["absent"] - regions["distinct"]:
        middle = [(lost * at).sum() / lost.sum() for at in positions]
        assert middle == pytest.approx([side / 2, side / 2], abs=side / 12)


def test_ratios_are_positive_and_fall_as_noise_grows(regions):
    noise = np.random.default_rng(0).normal(0, 0.01, regions["absent"].shape)
    clean = regions["absent"], regions["distinct"]
    ratios = [lesion_ratios(regions["distinct"] + by * noise, *clean) for by in (1, 4)]
    assert [len(each) for each in ratios] == [len(noise)] * 2
    assert min(ratios[0]) > 1
    assert all(np.array(ratios[0]) > 2 * np.array(ratios[1]))
    with pytest.raises(ValueError, match="a pixel of lesion"):
        lesion_ratios(noise, clean[0], clean[0])


def test_noise_is_by_seed_and_signal(case):
    noisy = case.expose("absent", (1, 2))
    assert (case.expose("absent", (1, 2)) == noisy).all()
    assert (case.expose("absent", (1, 3)) != noisy).any()
    flat = replace(case, signals={name: case.signals["absent"] for name in case.signals})
    assert (flat.expose("faint", (1, 2)) != flat.expose("absent", (1, 2))).any()


def test_half_dose_doubles_the_variance_of_quanta(flat):
    noise = [case.expose("flat", (1,)).std() for case in (flat, flat.halved())]
    assert noise[1] / noise[0] == pytest.approx(math.sqrt(2), abs=0.05)
    assert flat.expose("flat").std() == 0


def test_squares_lie_around_their_places():
    image = np.arange(400).reshape(20, 20)
    squares = cut(image, ((10, 6), (4, 4)), 4)
    assert squares.shape == (2, 4, 4)
    assert squares[:, 2, 2].tolist() == [image[10, 6], image[4, 4]]
