"""The value that flows: a radiograph's pixels, and all it takes to write it back as it was."""

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
"""Most pixels, of all frames together, that are decoded: 1 GiB as float32. A forged header would
otherwise ask for any amount of memory; the largest panoramic radiographs have 2**23 pixels, CBCT
volumes ten times as many."""

MAX_FRAME_PIXELS = 2**26
"""Most pixels of one frame, 8192 x 8192; film of 43 cm scanned at 0.06 mm has 2**25.6."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """The exact way between displayed pixels and the values stored in a file.

    The way is linear: `zero` is shown as 0.0 (black) and `one` as 1.0 (white); `zero` is the
    greater one where the file shows small values bright (MONOCHROME1, or a negative rescale slope).
    Only a Modality LUT Sequence puts a monotone table between the stored value and that line.

    Attributes:
        dtype: Type of the stored values, in native byte order.
        bits_stored: Bits of a stored value, at most those of `dtype`.
        zero: Stored value (table output, where there is a table) shown as 0.0.
        one: Stored value (table output, where there is a table) shown as 1.0.
        table: Output for every stored value from `minimum` to `maximum`; empty without a table.
    """

    dtype: np.dtype[Any]
    bits_stored: int
    zero: float
    one: float
    table: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check that the values fit together."""
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
        """The encoding that shows the whole range of an integer type as 0 to 1.

        Args:
            dtype: Integer type of the stored values.
            bits_stored: Bits of a stored value.
            inverted: Whether the smallest value is shown white.

        Returns:
            The encoding, without a table.
        """
        low, high = integer_range(np.dtype(dtype), bits_stored)
        return cls(np.dtype(dtype), bits_stored, *((high, low) if inverted else (low, high)))

    @classmethod
    def own_range(cls, stored: StoredArray, inverted: bool = False) -> Encoding:
        """The encoding that shows the least value of one image as 0 and its greatest as 1.

        For types whose range says nothing about the image: floats, wide and signed integers. A
        constant image is shown black.

        Args:
            stored: Finite stored values, any shape, not empty.
            inverted: Whether the smallest value is shown white.

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
        """Turn stored values into displayed pixels.

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
        else:  # the other way around: no pixel becomes -0.0
            pixels = np.subtract(self.zero, values, dtype=working)
        pixels /= abs(self.one - self.zero)
        return pixels.astype(np.float32, copy=False)

    def encode(
        self, pixels: NDArray[np.floating[Any]], source: StoredArray | None = None
    ) -> StoredArray:
        """Turn displayed pixels into stored values, rounded half to even and clipped to the range.

        Args:
            pixels: Displayed pixels, any shape; values outside [0, 1] are clipped for integers.
            source: Stored values of the source. Where a pixel is still what the source shows, the
                source's own value comes back, even where a table maps several values to one.

        Returns:
            Stored values of `dtype`, of the same shape.

        Raises:
            ValueError: A pixel is not finite, or `source` has another shape.
        """
        stored = np.empty(pixels.shape, self.dtype)
        flat, into = np.ascontiguousarray(pixels).reshape(-1), stored.reshape(-1)
        for at in range(0, flat.size, _BLOCK):  # float64 of all of it would be four times as large
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
        """Whether float32 pixels and no table make `encode(decode(v)) == v` sure."""
        return not self.table and self.dtype.kind in "ui" and self.dtype.itemsize <= 2

    def _nearest(self, values: NDArray[np.float64]) -> StoredArray:
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        if self.table:
            return self._inverse_table(values).astype(self.dtype)
        np.clip(np.rint(values, out=values), self.minimum, self.maximum, out=values)
        if self.dtype.itemsize < 8:
            return values.astype(self.dtype)
        # float64 cannot hold the largest 64-bit integers: they must not overflow to the other sign.
        safe = np.nextafter(float(self.maximum), 0.0)
        return np.minimum(values, safe).astype(self.dtype)

    def _inverse_table(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        outputs, first = np.unique(np.asarray(self.table), return_index=True)
        upper = np.clip(np.searchsorted(outputs, values), 1, len(outputs) - 1)
        nearer_lower = values - outputs[upper - 1] <= outputs[upper] - values
        return np.asarray(first[upper - nearer_lower] + self.minimum, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One radiograph, or one multi-frame object or volume of them.

    Attributes:
        pixels: float32 (rows, columns), or (frames, rows, columns); 0.0 = black as displayed,
            1.0 = white. See `with_pixels` to write a processed radiograph.
        encoding: The way back to stored values.
        image_format: Name of the format it came from: "png", "jpeg", "tiff", "bmp", "nifti",
            "dicom".
        source: File it came from.
        photometric_interpretation: As in the file; pixels are turned over already.
        pixel_spacing: (row, column) spacing in mm, where the file tells it.
        spacing_keyword: What the spacing is: "PixelSpacing", "ImagerPixelSpacing" (at the detector,
            magnification not corrected), "NominalScannedPixelSpacing", or "pixdim" (NIfTI).
        sop_instance_uid: SOP Instance UID of a DICOM source.
        stored: The source's stored values, as `encoding.decode` takes them; where the radiograph
            is resampled, of another shape than `pixels`.
        header: What the format's writer needs: a pydicom Dataset without Pixel Data, or a NIfTI
            header.
        notes: What the file says otherwise than it was taken; without patient data.
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
        """The same radiograph with processed pixels.

        Args:
            pixels: float32, as many axes and frames as now. Another number of rows or columns
                means that the same field of view is resampled: `pixel_spacing` follows.

        Returns:
            A new radiograph, which is written as this one would be.

        Raises:
            ValueError: The number of axes or frames is another.
        """
        if pixels.ndim != self.pixels.ndim or pixels.shape[:-2] != self.pixels.shape[:-2]:
            raise ValueError(f"pixels of shape {pixels.shape}; the source has {self.pixels.shape}")
        spacing = self.pixel_spacing
        if spacing is not None:
            (rows, columns), (new_rows, new_columns) = self.pixels.shape[-2:], pixels.shape[-2:]
            spacing = (spacing[0] * rows / new_rows, spacing[1] * columns / new_columns)
        return replace(self, pixels=pixels, pixel_spacing=spacing)

    def to_stored(self) -> StoredArray:
        """The pixels as values to store; where a pixel is the source's, the source's own value.

        Returns:
            Array of `encoding.dtype`, of the shape of `pixels`.

        Raises:
            ValueError: A pixel is not finite.
        """
        is_resampled = self.stored is not None and self.stored.shape != self.pixels.shape
        return self.encoding.encode(self.pixels, None if is_resampled else self.stored)


def shown_values(radiograph: Radiograph) -> StoredArray:
    """The values to store, turned over where the source shows small values bright.

    For files that cannot say MONOCHROME1, and always show the smallest value black.

    Args:
        radiograph: A radiograph.

    Returns:
        Array of the type and range of the stored values, small = black.
    """
    stored, encoding = radiograph.to_stored(), radiograph.encoding
    if encoding.zero <= encoding.one:
        return stored
    if encoding.table:  # its inputs are what is stored; the line runs over its outputs
        low, high = float(encoding.minimum), float(encoding.maximum)
    else:
        low, high = encoding.one, encoding.zero
    return np.asarray(low + high - stored, dtype=stored.dtype)


def integer_range(dtype: np.dtype[Any], bits_stored: int) -> tuple[int, int]:
    """The smallest and the largest integer of a type that holds only so many bits.

    Args:
        dtype: Integer type; tells the sign.
        bits_stored: Number of bits, the sign's among them.

    Returns:
        (smallest, largest).
    """
    if dtype.kind == "i":
        return -(1 << (bits_stored - 1)), (1 << (bits_stored - 1)) - 1
    return 0, (1 << bits_stored) - 1


def check_size(name: str, shape: Sequence[int]) -> None:
    """Check the size that a file's header tells, before anything is decoded.

    Args:
        name: How messages name the image.
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
