import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityd

from monai_dental.errors import DatasetError
from monai_dental.networks import MedianFilter
from monai_dental.transforms import Filterd, KeepLowFrequenciesd, RestoreRanged, ScaleToUnitd


@pytest.fixture
def image():
    return MetaTensor(5 * torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0)) - 1)


def test_scaling_equals_that_of_monai(image):
    ours = ScaleToUnitd("image")({"image": image})["image"]
    theirs = ScaleIntensityd("image", channel_wise=True)({"image": image})["image"]

    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor())


@pytest.mark.parametrize("flat", [False, True])
def test_restoring_undoes_scaling(image, flat):
    source = torch.full_like(image, 0.3) if flat else image
    data = ScaleToUnitd("image")({"image": source})

    restored = RestoreRanged("pred", "image")({**data, "pred": data["image"]})["pred"]

    torch.testing.assert_close(restored.as_tensor(), source.as_tensor())


@pytest.mark.parametrize("keys", [["image", "label"], ["label", "image"]])
def test_clean_image_is_scaled_by_the_range_of_its_noisy_one(image, keys):
    clean = MetaTensor(image.as_tensor() / 2 + 0.1)

    data = ScaleToUnitd(keys, reference_key="image")({"image": image, "label": clean})

    alone = ScaleToUnitd("image")({"image": image})["image"]
    assert torch.equal(data["image"], alone)
    span = image.as_tensor().amax((-2, -1)) - image.as_tensor().amin((-2, -1))
    difference = (image - clean).as_tensor() / span[:, None, None]
    torch.testing.assert_close((data["image"] - data["label"]).as_tensor(), difference)
    assert data["label"].max() < 1


def test_range_of_the_reference_brings_the_clean_image_back(image):
    clean = MetaTensor(image.as_tensor() / 2 + 0.1)
    data = ScaleToUnitd(["image", "label"], reference_key="image")({"image": image, "label": clean})

    restored = RestoreRanged("label", "label")(data)["label"]

    torch.testing.assert_close(restored.as_tensor(), clean.as_tensor())


def test_low_frequencies_come_from_the_reference(image):
    shifted = image + torch.linspace(0, 1, 7)

    data = KeepLowFrequenciesd("pred", "image", sigma=1.0)({"image": image, "pred": shifted})

    error = data["pred"] - image
    assert error[..., 2:-2].abs().max() < 0.01
    same = KeepLowFrequenciesd("pred", "image", sigma=1.5)({"image": image, "pred": image})
    torch.testing.assert_close(same["pred"].as_tensor(), image.as_tensor())


def test_filter_puts_its_result_under_another_key(image):
    data = Filterd("image", "median", MedianFilter(3))({"image": image})

    assert torch.equal(data["image"], image)
    assert torch.equal(data["median"], MedianFilter(3)(image[None])[0])


def test_label_of_another_size_is_named():
    data = {
        "image": MetaTensor(torch.rand(1, 8, 9), meta={"filename_or_obj": "noisy.png"}),
        "label": MetaTensor(torch.rand(1, 9, 9), meta={"filename_or_obj": "clean.png"}),
    }

    with pytest.raises(DatasetError, match=r"clean\.png has \(9, 9\) .*noisy\.png.*\(8, 9\)"):
        ScaleToUnitd(["image", "label"], reference_key="image")(data)
