"""Hundreds of damaged codestreams in one batch: each is one row, and the run ends."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from monai_dental.dicom import read_dataset, to_radiograph

MUTATIONS = 26  # of each of 12 transfer syntaxes


def mutate(codestream: bytes, generator: np.random.Generator) -> bytes:
    """Damage a codestream at one to eight places: other bytes, lost ones, zeros, twice the same."""
    damaged = bytearray(codestream)
    for _ in range(generator.integers(1, 9)):
        # Half of the damage goes where the headers are.
        end = len(damaged) if generator.random() < 0.5 else min(len(damaged), 120)
        at = int(generator.integers(0, end))
        length = int(generator.integers(1, 9))
        kind = generator.integers(0, 5)
        if kind < 2:
            damaged[at] = int(generator.integers(0, 256))
        elif kind == 2:
            del damaged[at : at + length]
        elif kind == 3:
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        else:
            damaged[at:at] = damaged[at : at + length]
        damaged = damaged or bytearray(b"\0")
    return bytes(damaged)


def test_damaged_codestreams_never_end_the_run(
    add_file, batch, rows, outputs, dicom_dataset, encapsulated_syntaxes, tmp_path, capfd
) -> None:
    generator = np.random.default_rng(5)
    for syntax in filter(lambda each: uid.UID(each).is_transfer_syntax, encapsulated_syntaxes):
        bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
        source = dicom_dataset(bits_stored=bits, transfer_syntax=syntax)
        (frame,) = generate_frames(source.PixelData, number_of_frames=1)
        for number in range(MUTATIONS):
            add_file(
                f"{uid.UID(syntax).keyword}{number}.dcm", bits_stored=bits, transfer_syntax=syntax,
                PixelData=encapsulate([mutate(frame, generator)]),
            )  # fmt: skip

    assert batch("--workers", 2, "--time-limit", 30, "--memory-limit", 1000) == 1

    reasons = Counter(row.reason for row in rows().values() if row.outcome == "failed")
    counts = Counter(row.outcome for row in rows().values())
    print(counts, reasons.most_common(8))
    assert counts.total() >= 300
    assert set(counts) == {"derived", "failed"}
    assert counts["failed"] > 100
    assert not [reason for reason in reasons if "unexpected" in reason]
    assert "Traceback" not in capfd.readouterr().err
    assert set(outputs()) == {row.output for row in rows().values() if row.output}
    for name in outputs():
        to_radiograph(read_dataset(tmp_path / "out" / name))
