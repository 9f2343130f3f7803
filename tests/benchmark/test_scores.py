from types import SimpleNamespace

import pytest
import torch

from monai_dental.benchmark.scores import (
    Score,
    ScoresWriter,
    format_scores,
    read_scores,
    write_scores,
)
from monai_dental.errors import DatasetError


def test_scores_come_back_from_the_file(tmp_path):
    scores = [
        Score("honest", "dae", "1.png", 24.5, 1.0, 0.8),
        Score("honest", "noisy", "1.png", 23.1, 1.0, 0.6),
    ]
    write_scores(scores, tmp_path / "scores.csv")

    assert read_scores([tmp_path]) == scores


def test_method_scored_in_two_folders_is_taken_from_the_first(tmp_path):
    for folder, value in [("a", 1.0), ("b", 2.0)]:
        write_scores(
            [Score("honest", "median", "1.png", value, 1.0, 0.5)], tmp_path / folder / "scores.csv"
        )

    (score,) = read_scores([tmp_path / "a", tmp_path / "b"])
    assert score.psnr == 1.0


def test_folder_without_scores_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"scores\.csv: no scores here"):
        read_scores([tmp_path])


def test_table_gives_mean_deviation_and_data_range(tmp_path):
    scores = [
        Score("honest", "dae", f"{index}.png", psnr, 1.0, 0.8)
        for index, psnr in enumerate((24.0, 26.0))
    ]
    scores += [Score("published", "dae", "0.png", 69.13, 255.0, 0.5)]
    write_scores(scores, tmp_path / "scores.csv")

    table = format_scores([str(tmp_path)])

    honest, published, _ = table.split("\n\n")
    assert honest.startswith("Honest protocol: scored against the clean image")
    assert "2 images" in honest
    assert "PSNR dB (data range 1)" in honest
    assert "25.00 ± 1.41" in honest
    assert published.startswith("Published protocol: scored against the noisy image")
    assert "PSNR 'dB' (peak 255)" in published
    assert "69.13 ± 0.00" in published
    assert "21.00 ± 0.00" in published


def test_writer_gives_each_image_its_scores(tmp_path):
    details = {
        "honest.model.psnr": torch.tensor([[24.0], [25.0]]),
        "honest.model.ssim": torch.tensor([[0.7], [0.8]]),
        "published.median.psnr": torch.tensor([[68.0], [69.0]]),
        "published.median.ssim": torch.tensor([[0.5], [0.6]]),
    }
    engine = SimpleNamespace(state=SimpleNamespace(metric_details=details))
    datalist = [{"image": "/data/a.png"}, {"image": "/data/b.png"}]

    ScoresWriter(str(tmp_path / "scores.csv"), "dae", datalist)(engine)

    scores = read_scores([tmp_path])
    assert [(s.protocol, s.method, s.image, s.psnr, s.psnr_data_range) for s in scores] == [
        ("honest", "dae", "a.png", 24.0, 1.0),
        ("honest", "dae", "b.png", 25.0, 1.0),
        ("published", "median", "a.png", 68.0, 255.0),
        ("published", "median", "b.png", 69.0, 255.0),
    ]


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path):
    datalist = [{"image": "/data/a/1.png"}, {"image": "/data/b/1.png"}]

    assert ScoresWriter(str(tmp_path / "scores.csv"), "dae", datalist).images == [
        "a/1.png",
        "b/1.png",
    ]
