import cv2
import numpy as np

from monai_dental.benchmark.plots import draw_comparison, plot_training


def test_comparison_shows_each_image_with_its_psnr():
    reference = np.full((8, 8), 0.5, dtype=np.float32)
    sample = {
        "label": reference,
        "image": reference + 0.1,
        "pred": reference + 0.01,
        "median": reference,
    }

    figure = draw_comparison([sample, sample])

    captions = [axis.get_xlabel() for axis in figure.axes]
    assert captions == ["reference"] * 2 + ["20.00 dB"] * 2 + ["40.00 dB"] * 2 + ["inf dB"] * 2
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == [
        "original",
        "noisy",
        "DAE",
        "median 5 × 5",
    ]
    assert "data range 1" in figure.get_suptitle()


def test_training_is_drawn_from_its_history(tmp_path):
    (tmp_path / "history.csv").write_text(
        "epoch,loss,val_loss,val_psnr,seconds\n1,0.6,0.59,20,1\n2,0.58,0.57,22,2\n"
    )

    plot_training(str(tmp_path))

    assert cv2.imread(str(tmp_path / "figures" / "training.png")).std() > 0
