"""A MONAI `ImageReader` for all formats, so that training and inference read the same pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config.type_definitions import PathLike
from monai.data.image_reader import ImageReader
from monai.utils.misc import ensure_tuple
from numpy.typing import NDArray

from monai_dental.errors import UnsupportedImageError
from monai_dental.formats import is_supported_name, read_radiograph
from monai_dental.radiograph import Radiograph


class RadiographReader(ImageReader):
    """Reads radiographs of every supported format for `LoadImage` and `LoadImaged`.

    In a bundle config: `"reader": "monai_dental.formats.reader.RadiographReader"`.

    `read` opens no file; `get_data` reads. After an error in `read`, `LoadImage` would try MONAI's
    own readers, which transpose the image, show MONOCHROME1 as a negative or accept colour. An
    error in `get_data` reaches the user.
    """

    def __init__(self, max_frames: int | None = None) -> None:
        """Initialize the reader.

        Args:
            max_frames: Maximum number of frames of a file; None for no limit. With 1, arrays are
                always (rows, columns).

        Raises:
            ValueError: `max_frames` is not positive.
        """
        super().__init__()
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames is {max_frames}; need at least 1, or None")
        self.max_frames = max_frames

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Return whether files may be supported by their names; no file is opened.

        Args:
            filename: One or more files.

        Returns:
            True if all names have a known suffix, or none, as is common for DICOM files.
        """
        return all(is_supported_name(Path(name)) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[Path]:
        """Return the paths of the files to read, for `get_data`.

        Args:
            data: One or more files.
            kwargs: Not supported.

        Raises:
            TypeError: Options are given.
        """
        if kwargs:
            raise TypeError(f"unknown options {sorted(kwargs)}; need none")
        return [Path(name) for name in ensure_tuple(data)]

    def get_data(
        self, img: Sequence[Path | Radiograph] | Path | Radiograph
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read the files.

        Args:
            img: Result of `read`, or radiographs; several must have the same shape, and become
                channels.

        Returns:
            Pixels in [0, 1], 0 = black: (rows, columns), or (frames, rows, columns) for a
            multi-frame file or several files; and the metadata of the first one: `affine` (axes
            row, column; mm), `spatial_shape` (rows, columns), `original_channel_dim`,
            `pixel_spacing` ((row, column) in mm, NaN if unknown), `spacing_keyword`,
            `photometric_interpretation`, `image_format`, `sop_instance_uid` ("" if there is none),
            `bits_stored`, `stored_zero`, `stored_one`.

        Raises:
            UnsupportedImageError: A file is not supported, or has more than `max_frames` frames.
            CorruptImageError: A file is broken.
            ValueError: Several files have different shapes.
        """
        items = [img] if isinstance(img, (Path, Radiograph)) else list(img)
        radiographs = [self._load(item) for item in items]
        shapes = {radiograph.pixels.shape for radiograph in radiographs}
        if len(shapes) != 1:
            raise ValueError(f"files of shapes {sorted(shapes)} cannot be stacked; need one shape")
        metadata = _metadata(radiographs[0])
        if len(radiographs) == 1:
            return radiographs[0].pixels, metadata
        metadata["original_channel_dim"] = 0
        pixels = [
            radiograph.pixels.reshape(-1, *metadata["spatial_shape"]) for radiograph in radiographs
        ]
        return np.concatenate(pixels), metadata

    def _load(self, item: Path | Radiograph) -> Radiograph:
        radiograph = item if isinstance(item, Radiograph) else read_radiograph(item)
        if self.max_frames is not None and radiograph.frames > self.max_frames:
            name = radiograph.source or "radiograph"
            needed = "a single frame" if self.max_frames == 1 else f"at most {self.max_frames}"
            raise UnsupportedImageError(f"{name}: has {radiograph.frames} frames; need {needed}")
        return radiograph


def _metadata(radiograph: Radiograph) -> dict[str, Any]:
    """Return metadata with the same types for all formats, so that mixed batches collate."""
    row, column = radiograph.pixel_spacing or (1.0, 1.0)
    is_stack = radiograph.pixels.ndim == 3
    return {
        "affine": np.diag([row, column, 1.0, 1.0]),
        "spatial_shape": np.asarray(radiograph.pixels.shape[-2:]),
        "original_channel_dim": 0 if is_stack else "no_channel",
        "pixel_spacing": np.asarray(radiograph.pixel_spacing or (math.nan, math.nan)),
        "spacing_keyword": radiograph.spacing_keyword or "",
        "photometric_interpretation": radiograph.photometric_interpretation,
        "image_format": radiograph.image_format,
        "sop_instance_uid": radiograph.sop_instance_uid or "",
        "bits_stored": radiograph.encoding.bits_stored,
        "stored_zero": float(radiograph.encoding.zero),
        "stored_one": float(radiograph.encoding.one),
    }
