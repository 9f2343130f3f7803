import cv2
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged, ScaleIntensityd

from monai_dental.dicom.derive import Derivation
from monai_dental.networks import MedianFilter
from monai_dental.reader import RadiographReader
from monai_dental.transforms import (
    Filterd,
    FixedGaussianNoised,
    KeepLowFrequenciesd,
    RestoreRanged,
    SaveRadiographd,
    ScaleToUnitd,
)

DERIVATION = Derivation("Noise reduction", "model", "1.0", "0" * 64, 1.0)


@pytest.fixture
def image():
    return MetaTensor(5 * torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0)) - 1)


def test_fixed_noise_is_the_same_at_every_call(image):
    add_noise = FixedGaussianNoised("image", sigma=0.07, seed=3)

    first, second = (add_noise({"image": image})["image"] for _ in range(2))

    assert torch.equal(first, second)
    assert not torch.equal(first, image)


def test_fixed_noise_differs_between_images_and_seeds(image):
    def noise(data, seed):
        return FixedGaussianNoised("image", sigma=1.0, seed=seed)({"image": data})["image"] - data

    assert not torch.allclose(noise(image, 0), noise(image + 1, 0), atol=0.01)
    assert not torch.allclose(noise(image, 0), noise(image, 1), atol=0.01)


def test_equal_images_under_two_keys_get_equal_noise(image):
    data = FixedGaussianNoised(["image", "label"], sigma=0.07)({"image": image, "label": image})

    assert torch.equal(data["image"], data["label"])


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


def load_and_save(path, output_dir, change, **arguments):
    load = [LoadImaged("image", reader=RadiographReader), EnsureChannelFirstd("image")]
    data = Compose(load)({"image": str(path)})
    save = SaveRadiographd("pred", str(output_dir), DERIVATION, **arguments)
    return save({**data, "pred": change(data["image"])})


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".nii", ".nii.gz", ".dcm"])
def test_saved_image_is_as_its_source_was(radiograph_file, picture, tmp_path, suffix):
    path = radiograph_file(picture(8), suffix)

    load_and_save(path, tmp_path / "out", lambda image: image)

    reader = RadiographReader()
    source, saved = (reader.get_data(reader.read(p)) for p in (path, tmp_path / "out" / path.name))
    assert np.array_equal(saved[0], source[0])
    assert saved[1]["bits_stored"] == source[1]["bits_stored"]


def test_saved_tree_is_that_of_the_source(radiograph_file, picture, tmp_path):
    (tmp_path / "in" / "below").mkdir(parents=True)
    path = radiograph_file(picture(8), ".png").rename(tmp_path / "in" / "below" / "a.png")

    load_and_save(path, tmp_path / "out", lambda image: image, source_dir=str(tmp_path / "in"))

    assert (tmp_path / "out" / "below" / "a.png").is_file()


def test_saved_image_is_clipped_to_the_range(radiograph_file, picture, tmp_path):
    path = radiograph_file(picture(8), ".png")

    load_and_save(path, tmp_path / "out", lambda image: 9 * image - 3)

    saved = cv2.imread(str(tmp_path / "out" / path.name), cv2.IMREAD_UNCHANGED)
    assert (saved.min(), saved.max()) == (0, 255)


def test_saver_is_one_that_monai_label_takes_out():
    assert issubclass(SaveRadiographd, SaveImaged)
