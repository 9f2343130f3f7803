import warnings

import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import shift

from monai_dental.phantom import simulate_exposure
from monai_dental.transforms import CheckRegistrationd
from monai_dental.transforms.registration import shift_between


@pytest.fixture(scope="module")
def anatomy():
    """A simulated radiograph without noise, (H, W), in [0, 1]."""
    return simulate_exposure(1, size=(256, 256), bits_stored=16).clean / 65535


def noisy(image, sigma, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.as_tensor(image, dtype=torch.float32)
    return image + sigma * torch.randn(image.shape, generator=generator)


@pytest.mark.parametrize("by", [(0, 0), (0.3, 0.2), (0.7, 0), (3.4, -5.2)])
def test_shift_is_measured_through_noise_and_another_exposure(anatomy, by):
    low_dose = noisy(anatomy, 0.05, 1)
    moved = 0.8 * shift(anatomy, by, mode="nearest") + 0.1

    measured = shift_between(noisy(moved, 0.01, 2), low_dose)

    assert measured == pytest.approx(by, abs=0.15)


@pytest.mark.parametrize("by", [0.1, 0.3])
def test_pair_that_lies_upon_itself_passes(anatomy, by):
    check = CheckRegistrationd("image")
    moved = shift(anatomy, (by, 0), mode="nearest")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check({"image": noisy(anatomy, 0.03, 1)[None], "label": torch.tensor(moved)[None]})


def test_shifted_pair_is_named(anatomy):
    moved = torch.tensor(shift(anatomy, (0, 0.8), mode="nearest"))[None]
    image = MetaTensor(noisy(anatomy, 0.03, 1)[None], meta={"filename_or_obj": "low/1.png"})

    with pytest.warns(UserWarning, match=r"low/1\.png and .*: shifted by -?0\.\d rows and -0\.8"):
        CheckRegistrationd("image")({"image": image, "label": moved})


def test_images_of_nothing_in_common_are_named():
    flat, noise = torch.zeros(1, 64, 64), torch.rand(1, 64, 64)

    with pytest.warns(UserWarning, match="nothing in common found"):
        CheckRegistrationd("image")({"image": noise, "label": flat})
