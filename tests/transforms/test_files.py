import cv2
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged

from monai_dental.dicom.derive import Derivation
from monai_dental.errors import OutputError
from monai_dental.formats import read_radiograph
from monai_dental.formats.reader import RadiographReader
from monai_dental.transforms import SaveRadiographd

DERIVATION = Derivation("Noise reduction", "model", "1.0", "0" * 64, 1.0)


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

    load_and_save(path, tmp_path / "out", lambda image: 1.4 * image - 0.2)

    saved = cv2.imread(str(tmp_path / "out" / path.name), cv2.IMREAD_UNCHANGED)
    assert (saved.min(), saved.max()) == (0, 255)


@pytest.mark.parametrize("change", [
    lambda image: 255 * image, lambda image: image - 1.5, lambda image: image * float("nan")
])  # fmt: skip
def test_pixels_of_another_scale_are_refused(radiograph_file, picture, tmp_path, change):
    path = radiograph_file(picture(12), ".dcm")

    with pytest.raises(OutputError, match=r"source\.dcm: the pixels to write range from"):
        load_and_save(path, tmp_path / "out", change)

    assert not (tmp_path / "out").exists()


def test_share_of_the_correction_is_written_and_goes_on(radiograph_file, picture, tmp_path):
    path = radiograph_file(picture(8), ".png")

    result = load_and_save(path, tmp_path / "out", lambda image: 0 * image, strength=0.5)

    saved = read_radiograph(tmp_path / "out" / path.name)
    half = read_radiograph(path).pixels / 2
    np.testing.assert_allclose(result["pred"].numpy(), half[None], atol=1e-6)
    np.testing.assert_allclose(saved.pixels, half, atol=0.5 / 255 + 1e-6)


def test_saver_is_one_that_monai_label_takes_out():
    assert issubclass(SaveRadiographd, SaveImaged)
