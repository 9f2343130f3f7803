"""Data of a radiograph for the viewer: exact grey values, and how to show them."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset

from monai_dental.dicom.elements import rescale_slopes
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.radiograph import Radiograph, StoredArray

THUMBNAIL_SIDE = 160
"""Longest side of a thumbnail, in pixels."""

_TYPES = ("u1", "u2", "i2")


def describe(radiograph: Radiograph) -> dict[str, Any]:
    """Return a radiograph's properties that the viewer needs besides its grey values, as JSON.

    Returns:
        `rows`, `columns`, `frames`; `dtype` of `grey_values`; `black` and `white`, the file's grey
        values for black and white; `bits`, those stored; `isWhole`, whether grey values are whole
        numbers; `format`; `spacing`, (row, column) in mm, and `spacingKeyword`, if the file has
        them; `windows`, each with `black` and `white`.
    """
    encoding = radiograph.encoding
    return {
        "rows": int(radiograph.pixels.shape[-2]),
        "columns": int(radiograph.pixels.shape[-1]),
        "frames": radiograph.frames,
        "dtype": _dtype(radiograph),
        "black": float(encoding.zero),
        "white": float(encoding.one),
        "bits": encoding.bits_stored,
        "isWhole": encoding.dtype.kind in "ui",
        "format": radiograph.image_format,
        "spacing": None if radiograph.pixel_spacing is None else list(radiograph.pixel_spacing),
        "spacingKeyword": radiograph.spacing_keyword,
        "windows": _windows(radiograph),
    }


def grey_values(radiograph: Radiograph) -> StoredArray:
    """Return the grey values, (frames, rows, columns), little endian.

    Grey values are the stored values, or the outputs of a Modality LUT if there is one: the scale
    on which intensity is linear from black to white. Types other than 8 and 16 bits become float32.

    Args:
        radiograph: As it was read, or with processed pixels.
    """
    encoding = radiograph.encoding
    stored = radiograph.to_stored()
    if encoding.table:
        stored = np.asarray(encoding.table)[stored.astype(np.int64) - encoding.minimum]
    frames = stored.reshape(-1, *stored.shape[-2:])
    return np.ascontiguousarray(frames, np.dtype(_dtype(radiograph)).newbyteorder("<"))


def packed(values: StoredArray) -> str:
    """Return an image, (rows, columns), as text, for a standalone page.

    Deflate compresses noisy pixels poorly. It works better on the steps from each pixel to the
    next, with all their lowest bytes grouped. `Plane.unpack` (pixels.js) decodes the text.

    Args:
        values: Of 8, 16 or 32 bits.
    """
    size = values.dtype.itemsize
    whole = np.ascontiguousarray(values).view(f"<u{size}")
    steps = np.diff(whole, axis=1, prepend=whole.dtype.type(0))
    parts = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, size).T)
    return base64.b64encode(zlib.compress(parts.tobytes())).decode()


def thumbnail(radiograph: Radiograph) -> bytes:
    """Return a small 8-bit PNG of the middle frame."""
    pixels = radiograph.pixels
    frame = pixels if pixels.ndim == 2 else pixels[len(pixels) // 2]
    share = min(1.0, THUMBNAIL_SIDE / max(frame.shape))
    size = max(1, round(frame.shape[1] * share)), max(1, round(frame.shape[0] * share))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    low, high = (float(value) for value in np.quantile(small, (0.002, 0.998)))
    if high - low < 1e-6:
        low, high = low - 0.5, low + 0.5
    shown = np.rint(np.clip((small - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    _, encoded = cv2.imencode(".png", shown)
    return encoded.tobytes()


def _dtype(radiograph: Radiograph) -> str:
    encoding = radiograph.encoding
    if encoding.table:
        low, high = min(encoding.table), max(encoding.table)
        return "u2" if low >= 0 and high < 1 << 16 else "f4"
    kind = f"{encoding.dtype.kind}{encoding.dtype.itemsize}"
    return kind if kind in _TYPES else "f4"


def _windows(radiograph: Radiograph) -> list[dict[str, Any]]:
    """The file's windows (PS3.3 C.11.2.1.2), in grey values; invalid ones are left out."""
    header = radiograph.header
    if not isinstance(header, Dataset):
        return []
    with quiet_pydicom():
        try:
            return _read_windows(header, radiograph)
        except PYDICOM_ERRORS:
            return []


def _read_windows(header: Dataset, radiograph: Radiograph) -> list[dict[str, Any]]:
    function = str(header.get("VOILUTFunction") or "LINEAR")
    if function not in ("LINEAR", "LINEAR_EXACT"):
        return []
    centers, widths = (_numbers(header, f"Window{name}") for name in ("Center", "Width"))
    names = header.get("WindowCenterWidthExplanation") or ""
    labels = [names] if isinstance(names, str) else [str(name) for name in names]
    slopes = rescale_slopes(header)
    slope, intercept = 1.0, 0.0
    if slopes and not radiograph.encoding.table:
        slope, intercept = slopes[0], float(header.get("RescaleIntercept") or 0)
    is_inverted = radiograph.photometric_interpretation == "MONOCHROME1"
    windows = []
    for place, (center, width) in enumerate(zip(centers, widths, strict=False)):
        is_exact = function == "LINEAR_EXACT"
        middle, half = (center, width / 2) if is_exact else (center - 0.5, (width - 1) / 2)
        if not (math.isfinite(middle) and half > 0 and slope):
            continue
        black, white = ((each - intercept) / slope for each in (middle - half, middle + half))
        if is_inverted:
            black, white = white, black
        label = labels[place] if place < len(labels) else ""
        windows.append({"black": black, "white": white, "label": label})
    return windows


def _numbers(header: Dataset, keyword: str) -> list[float]:
    value = header.get(keyword)
    if value is None or value == "":
        return []
    return [float(each) for each in (value if hasattr(value, "__iter__") else [value])]
