import pytest

from monai_dental.benchmark.speed import PANORAMIC, Speed, format_speeds, measure_speed
from monai_dental.errors import BundleError

SIZE = (512, 640)


def test_bundle_convolutions_and_filter_are_measured_in_one_run():
    speeds = measure_speed(["unet"], SIZE, peers=["median"], threads=1, rounds=3)

    assert [s.name for s in speeds] == ["unet, torch", "unet, its convolutions alone", "median"]
    for speed in speeds:
        assert speed.calls == 3
        assert speed.megapixels_per_s == pytest.approx(SIZE[0] * SIZE[1] / 1e6 / speed.seconds)
    assert speeds[0].memory_mb > 0


def test_table_has_the_fastest_first():
    slow, fast = (
        Speed(name, rate, 1 / rate, 2 / rate, 10.0, 3) for name, rate in (("a", 1), ("b", 2))
    )

    lines = format_speeds([slow, fast]).splitlines()

    assert lines[2:] == ["| b | 2 | 0.5 | 1 | 10 | 3 |", "| a | 1 | 1 | 2 | 10 | 3 |"]


def test_unknown_bundle_is_told_before_any_work():
    with pytest.raises(BundleError, match="nonsense"):
        measure_speed(["nonsense"], PANORAMIC)
