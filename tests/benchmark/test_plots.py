import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from monai_dental.benchmark.plots import (
    DenoisedFigures,
    draw_comparison,
    draw_denoised,
    draw_training,
    plot_training,
)


def test_comparison_shows_each_image_with_its_psnr():
    reference = np.full((8, 8), 0.5, dtype=np.float32)
    sample = {
        "label": reference,
        "image": reference + 0.1,
        "pred": reference + 0.01,
        "median": reference,
    }

    figure = draw_comparison([sample, sample], "DAE")

    captions = [axis.get_xlabel() for axis in figure.axes]
    assert captions == ["reference"] * 2 + ["20.00 dB"] * 2 + ["40.00 dB"] * 2 + ["inf dB"] * 2
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == [
        "original",
        "noisy",
        "DAE",
        "median 5 × 5",
    ]
    assert "data range 1" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("history", "panels"),
    [
        ("epoch,loss,val_loss,val_psnr,seconds\n1,0.6,0.59,20,1\n2,0.58,0.57,22,2\n", 2),
        ("epoch,loss,val_loss,seconds\n1,0.6,,1\n2,0.58,0.57,2\n", 1),
    ],
)
def test_training_is_drawn_from_its_history_with_psnr_where_there_is_one(tmp_path, history, panels):
    (tmp_path / "history.csv").write_text(history)

    plot_training(str(tmp_path))

    figure = cv2.imread(str(tmp_path / "figures" / "training.png"))
    assert figure.std() > 0
    height, width, _ = figure.shape
    assert round(width / height / 1.3) == panels


@pytest.mark.parametrize("epochs", [2, 3, 4, 40])
def test_epochs_are_whole_numbers(epochs):
    rows = [{"epoch": str(n + 1), "loss": "0.5", "val_loss": "0.6"} for n in range(epochs)]

    (axis,) = draw_training(rows).axes

    assert all(tick == int(tick) for tick in axis.get_xticks())


@pytest.fixture
def pair():
    """A noisy and a denoised image; what varies is below and right of the middle."""
    rng = np.random.default_rng(0)
    denoised = np.full((300, 400), 0.5, dtype=np.float32)
    denoised[170:280, 250:390] += 0.3 * np.sin(np.arange(140, dtype=np.float32))
    return denoised + rng.normal(0, 0.05, denoised.shape).astype(np.float32), denoised


def test_denoised_is_shown_beside_the_noisy_image_with_what_was_removed(pair):
    figure = draw_denoised(*pair)

    top = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[:3]]
    for shown, expected in zip(top, (*pair, pair[0] - pair[1]), strict=True):
        np.testing.assert_array_equal(shown, expected)
    limits = [axis.images[0].get_clim() for axis in figure.axes]
    assert limits[0] == limits[1] == (pair[1].min(), pair[1].max())
    assert limits[2] == limits[5] == pytest.approx((-0.2, 0.2), rel=0.02)
    assert figure.axes[2].get_title() == f"noisy - denoised, grey ± {limits[2][1]:.4f} of the range"


def test_detail_is_the_busiest_part_of_all_three(pair):
    figure = draw_denoised(*pair)

    caption = figure.axes[3].get_ylabel()
    top, bottom, left, right = (int(number) for number in re.findall(r"\d+", caption))
    assert (bottom - top, right - left) == (128, 128)
    assert top >= 100
    assert left >= 200
    details = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[3:]]
    for shown, image in zip(details, (*pair, pair[0] - pair[1]), strict=True):
        np.testing.assert_array_equal(shown, image[top:bottom, left:right])


@pytest.mark.parametrize("shape", [(5, 7), (200, 30), (1, 1)])
def test_small_or_flat_image_is_drawn(shape, tmp_path):
    image = np.full(shape, 0.5, dtype=np.float32)

    figure = draw_denoised(image, image)

    figure.savefig(tmp_path / "figure.png")
    detail = figure.axes[3].images[0].get_array()
    assert detail.shape == (min(shape), min(shape))


def test_first_images_of_an_inference_are_drawn_and_no_more(tmp_path):
    figures = DenoisedFigures(str(tmp_path / "figures"), count=3)
    item = {"image": torch.rand(1, 16, 16), "pred": torch.rand(1, 16, 16)}

    for _ in range(3):
        figures(SimpleNamespace(state=SimpleNamespace(output=[item, item])))

    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["1.png", "2.png", "3.png"]
    assert all(cv2.imread(str(tmp_path / "figures" / name)).std() > 0 for name in names)


def test_no_folder_is_made_for_no_figures(tmp_path):
    figures = DenoisedFigures(str(tmp_path / "figures"), count=0)
    item = {"image": torch.rand(1, 16, 16), "pred": torch.rand(1, 16, 16)}

    figures(SimpleNamespace(state=SimpleNamespace(output=[item])))

    assert not (tmp_path / "figures").exists()
