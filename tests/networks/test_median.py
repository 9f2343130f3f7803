import pytest
import torch

from monai_dental.networks import MedianFilter


def test_median_removes_a_single_outlier():
    image = torch.full((1, 1, 9, 9), 0.5)
    image[..., 4, 4] = 1.0

    assert (MedianFilter(5)(image) == 0.5).all()


def test_median_equals_the_middle_of_each_window():
    image = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))

    filtered = MedianFilter(5)(image)

    windows = image.unfold(-2, 5, 1).unfold(-2, 5, 1).flatten(-2)
    assert torch.equal(filtered[..., 2:-2, 2:-2], windows.median(-1).values)


def test_median_of_another_kernel_size_is_refused():
    with pytest.raises(ValueError, match="kernel_size must be 3 or 5 for float images, got 7"):
        MedianFilter(7)
