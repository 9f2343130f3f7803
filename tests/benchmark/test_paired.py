"""Paired comparisons: known differences are found, and patients are the units."""

import csv

import numpy as np
import pytest

from monai_dental.benchmark.paired import (
    compare_methods,
    format_differences,
    format_latex,
    holm,
    write_differences,
)
from monai_dental.benchmark.scores import Score, write_scores
from monai_dental.cli import main
from monai_dental.errors import DatasetError, OutputError


def make_scores(differences, patients=None, method="dae", base=30.0):
    """A method that is better than the noisy image by so many dB."""
    scores = []
    for index, difference in enumerate(differences):
        patient = "" if patients is None else patients[index]
        image = (f"{index}.png", index)
        for name, psnr in (("noisy", base + index), (method, base + index + difference)):
            scores.append(Score("honest", name, image[0], psnr, 1.0, 0.5, f"d{index}", patient))
    return scores


def psnr_of(differences, method):
    (found,) = (each for each in differences if (each.metric, each.method) == ("psnr", method))
    return found


def test_mean_interval_and_p_are_those_of_the_differences():
    generator = np.random.default_rng(1)
    values = generator.normal(0.4, 1.0, 40)

    found = psnr_of(compare_methods(make_scores(values), "noisy"), "dae")

    error = values.std(ddof=1) / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (found.images, found.patients) == (40, 40)
    assert found.p == found.p_holm


def test_test_of_few_patients_goes_through_all_signs():
    found = psnr_of(compare_methods(make_scores([1.0, 2.0, 3.0]), "noisy"), "dae")

    assert found.p == 2 / 8  # all signs alike, either way


def test_images_of_one_patient_do_not_count_as_many():
    values = [*np.linspace(0.9, 1.1, 10), *np.linspace(-0.3, -0.1, 10), *np.linspace(0.4, 0.6, 10)]
    patients = [name for name in "abc" for _ in range(10)]

    alone = psnr_of(compare_methods(make_scores(values), "noisy"), "dae")
    together = psnr_of(compare_methods(make_scores(values, patients), "noisy"), "dae")

    assert alone.mean == pytest.approx(together.mean)
    assert together.patients == 3
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert alone.p < 0.01 < 0.2 < together.p


def test_no_difference_is_none():
    found = psnr_of(compare_methods(make_scores([0.0] * 12), "noisy"), "dae")

    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_p_values_are_corrected_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_published_psnr_is_compared_at_data_range_one():
    scores = [
        Score("published", "noisy", "1.png", 60.0, 255.0, 0.5, "a"),
        Score("published", "dae", "1.png", 20.0, 1.0, 0.5, "a"),
    ]

    assert psnr_of(compare_methods(scores, "noisy"), "dae").mean == pytest.approx(8.13, abs=0.01)


def test_methods_of_other_images_are_left_out():
    scores = make_scores([1.0, 2.0])
    with pytest.raises(DatasetError, match="no other method was scored on exactly its images"):
        compare_methods(scores[:-1], "noisy")
    with pytest.raises(DatasetError, match="unet: no scores of this method; there are dae, noisy"):
        compare_methods(scores, "unet")


def test_tables_are_of_text_csv_and_latex(tmp_path):
    differences = compare_methods(make_scores([1.0, 2.0, 3.0], method="my_method"), "noisy")

    text, latex = format_differences(differences), format_latex(differences)
    write_differences(differences, tmp_path / "a" / "table.csv")

    assert "my_method        +2.00   [+1.00, +3.00]   0.250      0.250" in text
    assert "3 images of 3 patients" in text
    assert r"my\_method & +2.00 & [+1.00, +3.00] & 0.250 & 0.250 \\" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"95\% CI" in latex
    with (tmp_path / "a" / "table.csv").open(newline="") as file:
        (row, _) = csv.DictReader(file)
    assert float(row["mean"]) == 2.0
    with pytest.raises(OutputError, match="table.txt: .* need a name that ends in .csv or .tex"):
        write_differences(differences, tmp_path / "table.txt")


def test_command_compares_over_the_patients_of_a_list(tmp_path, capsys):
    write_scores(make_scores([1.0, 2.0, 3.0]), tmp_path / "scores.csv")
    for index in range(3):
        (tmp_path / f"{index}.png").touch()
    patients = tmp_path / "list.csv"
    patients.write_text("image,patient\n0.png,a\n1.png,a\n2.png,b\n")
    given = ["scores", str(tmp_path), "--patients", str(patients)]

    assert main([*given, "--reference", "noisy", "--statistics", f"{tmp_path}/t.tex"]) == 0
    assert "3 images of 2 patients" in capsys.readouterr().out
    assert (tmp_path / "t.tex").is_file()
    assert main(given) == 2
    assert "work only with --reference METHOD" in capsys.readouterr().err
    patients.write_text("image,patient\n0.png,a\n1.png,a\n")
    assert main([*given, "--reference", "noisy"]) == 2
    assert "list.csv: no patient for the image 2.png" in capsys.readouterr().err
