import re

import pytest
import torch
from ignite.engine import Engine

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
        Score("honest", "dae", "1.png", 24.5, 1.0, 0.8, "ab"),
        Score("honest", "noisy", "1.png", 23.1, 1.0, 0.6, "ab"),
    ]
    write_scores(scores, tmp_path / "scores.csv")

    assert read_scores([tmp_path]) == scores


def test_method_scored_in_two_folders_is_taken_from_the_first(tmp_path):
    for folder, value in [("a", 1.0), ("b", 2.0)]:
        write_scores(
            [Score("honest", "median", "1.png", value, 1.0, 0.5, "ab")],
            tmp_path / folder / "scores.csv",
        )

    (score,) = read_scores([tmp_path / "a", tmp_path / "b"])
    assert score.psnr == 1.0


def test_folder_without_scores_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"scores\.csv: no scores here"):
        read_scores([tmp_path])


def test_table_gives_mean_deviation_and_data_range(tmp_path):
    scores = [
        Score("honest", "dae", f"{index}.png", psnr, 1.0, 0.8, "ab")
        for index, psnr in enumerate((24.0, 26.0))
    ]
    scores += [Score("published", "dae", "0.png", 69.13, 255.0, 0.5, "ab")]
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


def evaluate(writer, details, sides, offset=0.0):
    """Run a writer on an evaluation of images of these sizes."""
    images = [torch.full((1, side, side), float(i)) for i, side in enumerate(sides)]
    engine = Engine(lambda engine, image: [{"image": image + offset, "label": image}])
    engine.state_dict_user_keys.append("metric_details")
    writer.attach(engine)
    engine.state.metric_details = details
    engine.run(images)


@pytest.mark.parametrize(("sides", "offset"), [([4, 8], 0.0), ([4, 4], 0.5)])
def test_other_images_of_the_same_names_have_other_digests(tmp_path, sides, offset):
    details = {f"honest.noisy.{name}": torch.ones(2, 1) for name in ("psnr", "ssim")}
    datalist = [{"image": "/data/a.png"}, {"image": "/data/b.png"}]
    digests = []
    for sides_of, offset_of in (([4, 4], 0.0), ([4, 4], 0.0), (sides, offset)):
        writer = ScoresWriter(str(tmp_path / "scores.csv"), "dae", datalist)
        evaluate(writer, details, sides_of, offset_of)
        digests.append([score.digest for score in read_scores([tmp_path])])

    assert digests[0] == digests[1]
    assert digests[0][1] != digests[2][1]


def test_scores_of_other_images_are_never_averaged_together(tmp_path):
    # Small images, two large ones of the same names, and four large ones, two of them the same.
    evaluations = {
        "dae": [("1.png", "small 1"), ("2.png", "small 2")],
        "unet": [("1.png", "large 1"), ("2.png", "large 2")],
        "blind": [(f"{i}.png", f"large {i}") for i in (1, 2, 3, 4)],
    }
    for method, images in evaluations.items():
        scores = [
            Score("honest", name, image, psnr + int(image[0]), 1.0, 0.5, digest)
            for name, psnr in (("noisy", 10.0), (method, 20.0))
            for image, digest in images
        ]
        write_scores(scores, tmp_path / method / "scores.csv")

    *tables, note = format_scores([str(tmp_path / method) for method in evaluations]).split("\n\n")

    assert [re.findall(r"(\d) images|(\d\d\.\d\d) ±", table) for table in tables] == [
        [("2", ""), ("", "11.50"), ("", "21.50")],  # noisy, dae
        [("2", ""), ("", "11.50"), ("", "21.50"), ("", "21.50")],  # noisy, blind, unet
        [("4", ""), ("", "12.50"), ("", "22.50")],  # noisy, blind
    ]
    assert "Not all were scored on the same images" in note
    assert "Not all" not in format_scores([str(tmp_path / "dae"), str(tmp_path / "dae")])


def test_scores_that_do_not_tell_their_images_are_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("protocol,method,image\nhonest,dae,1.png\n")

    with pytest.raises(DatasetError, match=r"scores\.csv: it does not name its images; evaluate"):
        read_scores([tmp_path])


def test_writer_gives_each_image_its_scores(tmp_path):
    details = {
        "honest.model.psnr": torch.tensor([[24.0], [25.0]]),
        "honest.model.ssim": torch.tensor([[0.7], [0.8]]),
        "published.median.psnr": torch.tensor([[68.0], [69.0]]),
        "published.median.ssim": torch.tensor([[0.5], [0.6]]),
    }
    datalist = [{"image": "/data/a.png"}, {"image": "/data/b.png"}]
    evaluate(ScoresWriter(str(tmp_path / "scores.csv"), "dae", datalist), details, [4, 4])

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
