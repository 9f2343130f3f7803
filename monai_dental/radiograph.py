"""Radiographs: pixels, and all that is needed to write them back in the source's format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.errors import CorruptImageError, UnsupportedImageError

StoredArray = NDArray[Any]
PixelArray = NDArray[np.float32]

MAX_PIXELS = 2**28
"""Maximum number of pixels of all frames together: 1 GiB as float32. Without it, a forged header
could ask for any amount of memory. The largest panoramic radiographs have 2**23 pixels, CBCT
volumes ten times as many."""

MAX_FRAME_PIXELS = 2**26
"""Maximum number of pixels of a frame, 8192 x 8192; film of 43 cm scanned at 0.06 mm has
2**25.6."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """The exact mapping between displayed pixels and the values stored in a file.

    The mapping is linear: `zero` is displayed as 0.0 (black) and `one` as 1.0 (white). `zero` is
    greater than `one` if the file displays small values bright (MONOCHROME1, or a negative rescale
    slope). A Modality LUT Sequence adds a monotone table between stored values and this line.

    Attributes:
        dtype: Type of the stored values, in native byte order.
        bits_stored: Bits of a stored value, at most those of `dtype`.
        zero: Stored value (table output if there is a table) displayed as 0.0.
        one: Stored value (table output if there is a table) displayed as 1.0.
        table: Output for each stored value from `minimum` to `maximum`; empty without a table.
    """

    dtype: np.dtype[Any]
    bits_stored: int
    zero: float
    one: float
    table: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check that the values are consistent."""
        if self.dtype.kind not in "uif":
            raise ValueError(f"dtype {self.dtype} is not real; need integers or floats")
        if not 0 < self.bits_stored <= 8 * self.dtype.itemsize:
            raise ValueError(f"{self.bits_stored} bits stored do not fit into {self.dtype}")
        if not np.isfinite([self.zero, self.one]).all() or self.zero == self.one:
            raise ValueError(f"zero {self.zero} and one {self.one} must be finite and differ")
        if self.table and len(self.table) != 1 << self.bits_stored:
            raise ValueError(f"table of {len(self.table)} entries; need {1 << self.bits_stored}")

    @classmethod
    def full_range(
        cls, dtype: np.dtype[Any] | type[Any], bits_stored: int, inverted: bool = False
    ) -> Encoding:
        """Return the encoding that displays the whole range of an integer type as 0 to 1.

        Args:
            dtype: Integer type of the stored values.
            bits_stored: Bits of a stored value.
            inverted: Whether the smallest value is displayed white.

        Returns:
            The encoding, without a table.
        """
        low, high = integer_range(np.dtype(dtype), bits_stored)
        return cls(np.dtype(dtype), bits_stored, *((high, low) if inverted else (low, high)))

    @classmethod
    def own_range(cls, stored: StoredArray, inverted: bool = False) -> Encoding:
        """Return the encoding that displays the smallest value of an image as 0, the largest as 1.

        It is for types whose range is not that of the image: floats, wide and signed integers. A
        constant image is displayed black.

        Args:
            stored: Finite stored values, any shape, not empty.
            inverted: Whether the smallest value is displayed white.

        Returns:
            The encoding, without a table.
        """
        low, high = stored.min().item(), stored.max().item()
        if low == high:
            high = low + max(1, abs(low) * 1e-3)
        dtype = stored.dtype.newbyteorder("=")
        return cls(dtype, 8 * dtype.itemsize, *((high, low) if inverted else (low, high)))

    @property
    def minimum(self) -> int:
        """The smallest stored value that `bits_stored` and the sign allow."""
        return integer_range(self.dtype, self.bits_stored)[0]

    @property
    def maximum(self) -> int:
        """The largest stored value that `bits_stored` and the sign allow."""
        return integer_range(self.dtype, self.bits_stored)[1]

    def decode(self, stored: StoredArray) -> PixelArray:
        """Convert stored values to displayed pixels.

        Args:
            stored: Stored values within the range of `bits_stored`, any shape.

        Returns:
            float32 pixels of the same shape, 0.0 = black as displayed; a new array.
        """
        values = stored
        if self.table:
            values = np.asarray(self.table)[stored.astype(np.int64) - self.minimum]
        working = np.float32 if values.dtype.itemsize <= 2 else np.float64
        if self.zero < self.one:
            pixels = np.subtract(values, self.zero, dtype=working)
        else:  # in this order, no pixel becomes -0.0
            pixels = np.subtract(self.zero, values, dtype=working)
        pixels /= abs(self.one - self.zero)
        return pixels.astype(np.float32, copy=False)

    def encode(
        self, pixels: NDArray[np.floating[Any]], source: StoredArray | None = None
    ) -> StoredArray:
        """Convert displayed pixels to stored values, rounded half to even and clipped to the range.

        Args:
            pixels: Displayed pixels, any shape; values outside [0, 1] are clipped for integers.
            source: Stored values of the source. An unchanged pixel gets the source's stored value,
                even if a table maps several values to one.

        Returns:
            Stored values of `dtype`, of the same shape.

        Raises:
            ValueError: A pixel is not finite, or `source` has another shape.
        """
        stored = np.empty(pixels.shape, self.dtype)
        flat, into = np.ascontiguousarray(pixels).reshape(-1), stored.reshape(-1)
        for at in range(0, flat.size, _BLOCK):  # all of it in float64 would be four times as large
            block = flat[at : at + _BLOCK]
            if not np.isfinite(block).all():
                raise ValueError("pixels hold NaN or infinity; need finite values")
            values = block.astype(np.float64) * (self.one - self.zero) + self.zero
            into[at : at + _BLOCK] = self._nearest(values)
        if source is None or self._is_exact():
            return stored
        if source.shape != pixels.shape:
            raise ValueError(f"pixels of shape {pixels.shape}; the source has {source.shape}")
        return np.where(self.decode(source) == pixels, source, stored).astype(self.dtype)

    def _is_exact(self) -> bool:
        """Return whether `encode(decode(v)) == v` for all v, with float32 and without a table."""
        return not self.table and self.dtype.kind in "ui" and self.dtype.itemsize <= 2

    def _nearest(self, values: NDArray[np.float64]) -> StoredArray:
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        if self.table:
            return self._inverse_table(values).astype(self.dtype)
        np.clip(np.rint(values, out=values), self.minimum, self.maximum, out=values)
        if self.dtype.itemsize < 8:
            return values.astype(self.dtype)
        # float64 cannot hold the largest 64-bit integers, which must not overflow to the other
        # sign.
        safe = np.nextafter(float(self.maximum), 0.0)
        return np.minimum(values, safe).astype(self.dtype)

    def _inverse_table(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        outputs, first = np.unique(np.asarray(self.table), return_index=True)
        upper = np.clip(np.searchsorted(outputs, values), 1, len(outputs) - 1)
        nearer_lower = values - outputs[upper - 1] <= outputs[upper] - values
        return np.asarray(first[upper - nearer_lower] + self.minimum, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One radiograph, multi-frame object or volume.

    Attributes:
        pixels: float32 (rows, columns), or (frames, rows, columns); 0.0 = black as displayed,
            1.0 = white. See `with_pixels` to write a processed radiograph.
        encoding: The mapping to stored values.
        image_format: Format of the source: "png", "jpeg", "tiff", "bmp", "nifti", "dicom".
        source: Source file.
        photometric_interpretation: As in the file; `pixels` are already inverted for MONOCHROME1.
        pixel_spacing: (row, column) spacing in mm, if given in the file.
        spacing_keyword: Kind of the spacing: "PixelSpacing", "ImagerPixelSpacing" (at the detector,
            magnification not corrected), "NominalScannedPixelSpacing", or "pixdim" (NIfTI).
        sop_instance_uid: SOP Instance UID of a DICOM source.
        stored: The source's stored values, for `encoding.decode`; if the radiograph is resampled,
            their shape is not that of `pixels`.
        header: Header for the format's writer: a pydicom Dataset without Pixel Data, or a NIfTI
            header.
        notes: Values that were interpreted differently from what the file says; without patient
            data.
    """

    pixels: PixelArray = field(repr=False)
    encoding: Encoding
    image_format: str
    source: Path | None = None
    photometric_interpretation: str = "MONOCHROME2"
    pixel_spacing: tuple[float, float] | None = None
    spacing_keyword: str | None = None
    sop_instance_uid: str | None = None
    stored: StoredArray | None = field(default=None, repr=False)
    header: Any = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check type and shape of the pixels."""
        if self.pixels.dtype != np.float32:
            raise TypeError(f"pixels are {self.pixels.dtype}; need float32")
        if self.pixels.ndim not in (2, 3) or not self.pixels.size:
            raise ValueError(
                f"pixels have shape {self.pixels.shape}; "
                "need (rows, columns) or (frames, rows, columns)"
            )

    @property
    def frames(self) -> int:
        """Number of frames; 1 for a single image."""
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[0]

    def with_pixels(self, pixels: PixelArray) -> Radiograph:
        """Return the same radiograph with processed pixels.

        Args:
            pixels: float32, with the same number of axes and frames. Another number of rows or
                columns means that the same field of view is resampled, and `pixel_spacing` is
                adapted.

        Returns:
            A new radiograph, which is written like this one.

        Raises:
            ValueError: The number of axes or frames differs.
        """
        if pixels.ndim != self.pixels.ndim or pixels.shape[:-2] != self.pixels.shape[:-2]:
            raise ValueError(f"pixels of shape {pixels.shape}; the source has {self.pixels.shape}")
        spacing = self.pixel_spacing
        if spacing is not None:
            (rows, columns), (new_rows, new_columns) = self.pixels.shape[-2:], pixels.shape[-2:]
            spacing = (spacing[0] * rows / new_rows, spacing[1] * columns / new_columns)
        return replace(self, pixels=pixels, pixel_spacing=spacing)

    def to_stored(self) -> StoredArray:
        """Return the values to store; unchanged pixels get the source's stored values.

        Returns:
            Array of `encoding.dtype`, of the shape of `pixels`.

        Raises:
            ValueError: A pixel is not finite.
        """
        is_resampled = self.stored is not None and self.stored.shape != self.pixels.shape
        return self.encoding.encode(self.pixels, None if is_resampled else self.stored)


def shown_values(radiograph: Radiograph) -> StoredArray:
    """Return the values to store, inverted if the source displays small values bright.

    This is for files without MONOCHROME1, which always display the smallest value black.

    Returns:
        Array of the type and range of the stored values, small = black.
    """
    stored, encoding = radiograph.to_stored(), radiograph.encoding
    if encoding.zero <= encoding.one:
        return stored
    if encoding.table:  # its inputs are stored; `zero` and `one` are outputs
        low, high = float(encoding.minimum), float(encoding.maximum)
    else:
        low, high = encoding.one, encoding.zero
    return np.asarray(low + high - stored, dtype=stored.dtype)


def integer_range(dtype: np.dtype[Any], bits_stored: int) -> tuple[int, int]:
    """Return the smallest and the largest integer of a type with a given number of bits.

    Args:
        dtype: Integer type; only its sign is used.
        bits_stored: Number of bits, including the sign bit.
    """
    if dtype.kind == "i":
        return -(1 << (bits_stored - 1)), (1 << (bits_stored - 1)) - 1
    return 0, (1 << bits_stored) - 1


def check_size(name: str, shape: Sequence[int]) -> None:
    """Check the size in a file's header before anything is decoded.

    Args:
        name: Name of the image for messages.
        shape: Frames (if any), rows and columns.

    Raises:
        CorruptImageError: The image is empty.
        UnsupportedImageError: The image has more than `MAX_PIXELS` pixels, or more than
            `MAX_FRAME_PIXELS` in a frame.
    """
    size = " x ".join(str(int(extent)) for extent in shape)
    if any(extent < 1 for extent in shape):
        raise CorruptImageError(f"{name}: the image is empty ({size} pixels)")
    if math.prod(shape[-2:]) > MAX_FRAME_PIXELS:
        raise UnsupportedImageError(
            f"{name}: {size} pixels; need at most {MAX_FRAME_PIXELS} in a frame"
        )
    if math.prod(shape) > MAX_PIXELS:
        raise UnsupportedImageError(f"{name}: {size} pixels; need at most {MAX_PIXELS} in all")
