import numpy as np
import pytest

from monai_dental.benchmark.accuracy_differences import (
    compare_accuracy,
    format_accuracy_differences,
)


def rows(noise, method, values, names=None):
    names = names or [f"{number}.png" for number in range(len(values))]
    return [
        {"noise": noise, "method": method, "image": name, "psnr": value, "psnr_data_range": 1,
         "ssim": value / 50}
        for name, value in zip(names, values, strict=True)
    ]  # fmt: skip


@pytest.fixture
def scores():
    """Twelve images: `better` is always 1 dB above, `same` as often below as above."""
    base = np.random.default_rng(0).normal(30, 3, 12)
    signs = np.tile([0.1, -0.1], 6)
    return [
        row
        for noise in ("white 0.02", "white 0.1")
        for name, values in (("blind", base), ("better", base + 1), ("same", base + signs))
        for row in rows(noise, name, values.tolist())
    ]


def test_each_noise_has_its_paired_differences(scores):
    found = {(d.protocol, d.metric, d.method): d for d in compare_accuracy(scores, "blind", {})}

    assert len(found) == 8
    better = found["white 0.1", "psnr", "better"]
    assert (better.mean, better.low, better.high) == pytest.approx((1, 1, 1))
    assert (better.images, better.patients) == (12, 12)
    assert better.p_holm < 0.01
    assert found["white 0.02", "psnr", "same"].p_holm > 0.5


def test_images_of_a_patient_are_drawn_together(scores):
    patients = {f"{number}.png": str(number // 3) for number in range(12)}

    assert {each.patients for each in compare_accuracy(scores, "blind", patients)} == {4}


def test_images_of_one_name_stay_apart():
    values = {"blind": [30.0, 20.0, 25.0], "other": [31.0, 21.0, 26.0]}
    found = compare_accuracy(
        [row for name, own in values.items() for row in rows("n", name, own, ["a.png"] * 3)],
        "blind", {},
    )  # fmt: skip

    assert {each.images for each in found} == {3}
    assert found[0].mean == pytest.approx(1)


def test_table_has_intervals_and_marks_what_is_more_than_chance(scores):
    table = format_accuracy_differences(compare_accuracy(scores, "blind", {}))

    assert "| PSNR dB minus that of blind | white 0.02 | white 0.1 |" in table
    assert "| better | +1.00 [+1.00, +1.00] * | +1.00 [+1.00, +1.00] * |" in table
    assert " *" not in next(line for line in table.splitlines() if line.startswith("| same"))
