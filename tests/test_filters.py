import cv2
import pytest
import torch

from monai_dental.filters import low_pass


def test_low_pass_equals_that_of_opencv():
    image = torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(0))

    blurred = low_pass(image, sigma=2.0)

    for plane, expected in zip(blurred, image, strict=True):
        opencv = cv2.GaussianBlur(expected.numpy(), (13, 13), 2.0, borderType=cv2.BORDER_REPLICATE)
        torch.testing.assert_close(plane, torch.from_numpy(opencv))


def test_low_pass_with_a_gradient_is_the_same():
    image = torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(0))

    blurred = low_pass(image.clone().requires_grad_(), sigma=2.0)

    torch.testing.assert_close(blurred, low_pass(image, sigma=2.0))
    assert blurred.requires_grad


def test_low_pass_keeps_a_flat_image_to_its_borders():
    flat = torch.full((1, 5, 4), 0.7)

    torch.testing.assert_close(low_pass(flat, sigma=3.0), flat)


def test_sigma_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="sigma must be positive, got 0"):
        low_pass(torch.zeros(4, 4), 0)
