"""What a node reports of each archive."""

from __future__ import annotations

from monai_dental.node.health import ArchiveHealth, Health
from monai_dental.node.log import COUNTERS


def health_of(number: int, **counts: int) -> Health:
    archives = {f"A{each}@h:104": ArchiveHealth(**counts) for each in range(number)}
    return Health(dict.fromkeys(COUNTERS, 0), {}, 0, 1, False, 0, 0, archives=archives)


def test_metrics_have_the_numbers_of_each_archive() -> None:
    found = health_of(2, forwarded=3, retries=2, waiting=4, failures=1)

    text = found.metrics().decode()

    for name, value in (
        ("forwarded_total", 3), ("retries_total", 2), ("waiting", 4), ("failures", 1)
    ):  # fmt: skip
        for archive in ("A0@h:104", "A1@h:104"):
            line = f'monai_dental_node_archive_{name}{{archive="{archive}"}} {float(value)}'
            assert line in text.splitlines()
    assert found.problems == [
        f"forwarding to A{each}@h:104 failed 1 times in a row" for each in range(2)
    ]


def test_metrics_have_a_bounded_number_of_labels() -> None:
    lines = health_of(100, forwarded=3).metrics().decode().splitlines()

    forwarded = [each for each in lines if each.startswith("monai_dental_node_archive_forwarded_t")]
    assert len(forwarded) == 33
    assert 'monai_dental_node_archive_forwarded_total{archive="others"} 204.0' in forwarded
