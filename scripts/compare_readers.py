"""List the DICOM files that dcmtk, GDCM or pydicom can open but this package cannot.

    python scripts/compare_readers.py FOLDER [--peers PYTHON] [--all]

Reads, derives and writes every file of a folder in memory. Files that cannot be derived are tried
with the others: dcmtk (dcmj2pnm, dcml2pnm) and, in the Python of --peers, GDCM (python-gdcm) and
pydicom with its decoders (pylibjpeg, pyjpegls). Without --all, files that this package refuses on
purpose are skipped. Prints a line for each file that one of the others opens, with this package's
reason. The exit status is 1 if any reason is not an intended one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.errors import MonaiDentalError

DERIVATION = Derivation("Noise reduction", "comparison", "1", "0" * 64, 1.0)
MEANT = {
    r"Photometric Interpretation is '|channels differ": "in colour",
    r"Photometric Interpretation is missing": "black and white cannot be told apart",
    r"Bits Allocated is \d+; need 8 or 16": "no radiograph has other bits",
    r"(Bits Stored|High Bit) is \d+; need": "which bits are meant cannot be told",
    r"Bits Allocated is missing|Columns is missing": "the pixels cannot be laid out",
    r"holds floats": "no radiograph is of floats",
    r"Transfer Syntax UID is '(MPEG|HEVC|JPIP)": "video, or pixels that are elsewhere",
    r"not a DICOM file": "neither a preamble nor an image",
    r"not monotone": "a Modality LUT that cannot be undone",
    r"LUT Data has \d+ entries; need": "a Modality LUT that is cut off",
    r"changes its sign between frames": "frames that are shown in opposite ways",
    r"SOP (Class|Instance) UID is missing": "nothing to refer to as the source",
    r"Pixel Data has \d+ (bytes|frames); need \d+": "cut off: what is missing would be made up",
    r"it ends before|its end marker is missing": "cut off: what is missing would be made up",
    r"the image is empty": "no pixels",
    r"need at most \d+ in a frame": "no radiograph is so large",
}
"""Intended reasons to refuse a file that others may open, with explanations."""
_GDCM = """
import sys, gdcm
reader = gdcm.ImageReader()
reader.SetFileName(sys.argv[1])
sys.exit(not (reader.Read() and len(reader.GetImage().GetBuffer())))
"""
_PYDICOM = """
import sys, pydicom
sys.exit(not pydicom.dcmread(sys.argv[1], force=True).pixel_array.size)
"""


def our_reason(path: Path) -> str | None:
    """Return why a file cannot be derived, or None if it can."""
    try:
        encode_dataset(derive(to_radiograph(read_dataset(path), path), DERIVATION))
    except MonaiDentalError as error:
        text = str(error).replace(str(path), "FILE")
        return re.sub(r"^(FILE|file FILE|(an )?instance ([\d.]+|without UID)): ", "", text)
    except Exception as error:  # noqa: BLE001 - report it and continue
        return f"unexpected {type(error).__name__}"
    return None


def opened_by(path: Path, peers: Path | None) -> list[str]:
    """Return the toolkits that decode the pixels of a file."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "out"))
        commands = {
            "dcmtk": [["dcmj2pnm", str(path), out], ["dcml2pnm", str(path), out]],
        }
        if peers is not None:
            commands["GDCM"] = [[str(peers), "-c", _GDCM, str(path)]]
            commands["pydicom"] = [[str(peers), "-c", _PYDICOM, str(path)]]
        return [name for name, tried in commands.items() if any(map(succeeds, tried))]


def succeeds(command: list[str]) -> bool:
    """Return whether a program succeeds within a time limit."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Compare the readers, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--peers", metavar="PYTHON", type=Path, help="with GDCM and pydicom")
    parser.add_argument("--all", action="store_true", help="include files refused on purpose")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for path in sorted(each for each in arguments.folder.rglob("*") if each.is_file()):
        reason = our_reason(path)
        if reason is None:
            counts["derived by us"] += 1
            continue
        why = next((why for each, why in MEANT.items() if re.search(each, reason)), None)
        if why is not None and not arguments.all:
            counts["refused on purpose"] += 1
            continue
        others = opened_by(path, arguments.peers)
        if not others:
            counts["opened by nobody"] += 1
            continue
        counts["refused on purpose, opened by others" if why else "opened by others alone"] += 1
        name = path.relative_to(arguments.folder)
        print("\t".join([str(name), "+".join(others), reason, why or "NOT MEANT"]), flush=True)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return 1 if counts["opened by others alone"] else 0


if __name__ == "__main__":
    sys.exit(main())
