"""Images to learn from."""

import cv2
import numpy as np
import pytest

from monai_dental.errors import OutputError
from monai_dental.synthetic import SYNTHETIC_VERSION, draw_image, write_images

KINDS = {"panoramic": 0, "leaves": 4, "mix": 7, "intraoral": 10}


@pytest.mark.parametrize("index", KINDS.values(), ids=KINDS.keys())
def test_image_is_the_same_for_ever_and_in_range(index):
    image = draw_image(index, 64)

    assert image.shape == (64, 64)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0
    assert np.array_equal(draw_image(index, 64), image)


def test_golden_means_of_the_first_images():
    # Other values need a new SYNTHETIC_VERSION: the shipped weights have learned from these.
    assert SYNTHETIC_VERSION == 1
    means = [float(draw_image(index, 64).mean()) for index in KINDS.values()]
    assert means == pytest.approx([0.037, 0.6535, 0.4786, 0.4401], abs=0.003)


def test_images_differ():
    images = [draw_image(index, 64) for index in range(4, 10)]

    assert len({image.tobytes() for image in images}) == len(images)


def test_leaves_have_edges_and_flat_parts():
    steps = np.concatenate(
        [np.abs(np.diff(draw_image(index, 128))).ravel() for index in (4, 5, 6, 16, 17, 18)]
    )

    # Of a Gaussian field, the 99th percentile would be 3.8 times the median.
    assert np.quantile(steps, 0.99) > 10 * np.median(steps)


def test_written_images_do_not_depend_on_how_many_there_are(tmp_path):
    few = write_images(tmp_path / "few", count=2, side=48)
    done = []
    many = write_images(tmp_path / "many", count=26, side=48, progress=done.append)

    assert [path.name for path in few] == ["1.png", "2.png"]
    assert [path.read_bytes() for path in many[:2]] == [path.read_bytes() for path in few]
    stored = cv2.imread(str(many[4]), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(stored / 65535, draw_image(4, 48), atol=1e-5)
    assert done == [24, 26]


def test_wrong_count_and_full_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="count is 0; need 1 or more"):
        write_images(tmp_path, count=0)
    (tmp_path / "1.png").touch()
    with pytest.raises(OutputError, match="not empty"):
        write_images(tmp_path, count=1)
