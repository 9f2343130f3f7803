"""NIfTI with nibabel: `.nii` and `.nii.gz`.

By convention, the first array axis of the file is x (columns), the second is y (rows), and the
third counts the frames. So an image p of shape (rows, columns) is stored as p.T, and read back as
p. The affine is kept but not used: a radiograph has no position in patient space.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Image
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import Encoding, Radiograph, check_size

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_MAX_OFFSET = 2**24  # bytes before the voxels: the header and its extensions
_CHUNK = 2**20
_ERRORS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    zlib.error,
    OverflowError,
    ValueError,
)
_MM_PER_UNIT = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}


def read_nifti(path: Path) -> Radiograph:
    """Read a NIfTI-1 or NIfTI-2 file with one image or a stack of images.

    Unsigned 8 and 16-bit values are scaled by the full range of their type, all others (signed,
    wide or float, whose type does not show the range in use) by the range of the image. The file's
    slope and intercept are kept; a negative slope inverts the image.

    Returns:
        The radiograph, (rows, columns), or (frames, rows, columns) for three axes.

    Raises:
        CorruptImageError: The file is truncated, gunzips to more than its header declares, or holds
            NaN or infinity.
        UnsupportedImageError: The image is too large, has more than three axes, or is not real.
    """
    try:
        image = _load(path)
        header = image.header
        shape = _checked_shape(path, header)
        stored = np.asarray(image.dataobj.get_unscaled()).reshape(shape, order="F")
        # nibabel moves the slope from the header to the array proxy; a missing one is 1 there.
        header = header.copy()
        header["scl_slope"], header["scl_inter"] = image.dataobj.slope, image.dataobj.inter
        spacing = _spacing(header)
    except _ERRORS as error:
        raise CorruptImageError(f"{path}: cannot be decoded: {type(error).__name__}") from error
    stored = np.ascontiguousarray(stored.T, dtype=stored.dtype.newbyteorder("="))
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise CorruptImageError(f"{path}: voxels hold NaN or infinity; need finite values")
    is_inverted = bool(header["scl_slope"] < 0)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        encoding = Encoding.full_range(stored.dtype, 8 * stored.dtype.itemsize, is_inverted)
    else:
        encoding = Encoding.own_range(stored, is_inverted)
    return Radiograph(
        pixels=encoding.decode(stored),
        encoding=encoding,
        image_format="nifti",
        source=path,
        pixel_spacing=spacing,
        spacing_keyword="pixdim" if spacing else None,
        stored=stored,
        header=header,
    )


def encode_nifti(radiograph: Radiograph, *, is_compressed: bool) -> bytes:
    """Encode a NIfTI file with the source's header: affine, spacing, type, slope, extensions.

    Args:
        radiograph: The radiograph; its header is a NIfTI header, or None for a new NIfTI-1 file.
        is_compressed: Whether to gzip the file.
    """
    stored = radiograph.to_stored()
    header = _new_header(radiograph) if radiograph.header is None else radiograph.header.copy()
    if int(np.prod(header.get_data_shape())) != stored.size:
        _resample(header, stored.shape)
    stream = io.BytesIO()
    # Not written by nibabel, which would apply the slope again and round.
    header["magic"] = header["magic"].item().replace(b"ni", b"n+")
    offset = int(header["sizeof_hdr"]) + 4 + int(header.extensions.get_sizeondisk())
    header["vox_offset"] = offset
    header.write_to(stream)
    stream.write(bytes(offset - stream.tell()))
    stream.write(stored.T.astype(header.get_data_dtype()).tobytes(order="F"))
    content = stream.getvalue()
    return gzip.compress(content, mtime=0) if is_compressed else content


def _load(path: Path) -> Any:
    """Read the image to its end, which checks a gzip file's checksum, unlike nibabel.

    The header is checked first, and no more is read and gunzipped than it declares.
    """
    with path.open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_compressed else path.open("rb") as opened:
        stream = cast(BinaryIO, opened)
        start = stream.read(_HEADER_BYTES)
        kind = Nifti2Image if start[4:8] == b"n+2\0" else Nifti1Image
        size = _declared_size(path, kind.header_class, start)
        content = io.BytesIO()
        content.write(start)
        # In chunks: read(size) would allocate the full size, even for a short file.
        while chunk := stream.read(max(min(_CHUNK, size - content.tell()), 0)):
            content.write(chunk)
        if is_compressed and (content.tell() > size or stream.read(1)):
            raise CorruptImageError(
                f"{path}: gunzips to more than the {size} bytes that its NIfTI header declares"
            )
    if content.tell() < size:  # nibabel would allocate the voxels first
        raise CorruptImageError(f"{path}: cut off: {content.tell()} bytes; need {size}")
    content.seek(0)
    return kind.from_stream(content)


def _declared_size(path: Path, kind: Any, start: bytes) -> int:
    """Return the size of the gunzipped file in bytes according to its header, within the limits."""
    header = kind(start[: kind.template_dtype.itemsize])
    _checked_shape(path, header)
    offset = header.get_data_offset()
    if offset > _MAX_OFFSET:
        raise UnsupportedImageError(
            f"{path}: vox_offset is {offset} bytes; need at most {_MAX_OFFSET}"
        )
    voxels = math.prod(int(extent) for extent in header.get_data_shape())
    return int(offset + voxels * header.get_data_dtype().itemsize)


def _checked_shape(path: Path, header: Any) -> tuple[int, ...]:
    """Return the shape without trailing axes of length 1, and check that it is supported."""
    shape: tuple[int, ...] = header.get_data_shape()
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    dtype = header.get_data_dtype()
    if len(shape) not in (2, 3):
        raise UnsupportedImageError(f"{path}: {len(shape)} axes; need 2 or 3")
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnsupportedImageError(f"{path}: {dtype} voxels; need integers or floats")
    check_size(str(path), shape)
    return shape


def _spacing(header: Any) -> tuple[float, float] | None:
    """Return the (row, column) spacing in mm; rows are the second axis."""
    factor = _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    column, row = (float(zoom) * factor for zoom in header.get_zooms()[:2])
    return (row, column) if np.isfinite([row, column]).all() and min(row, column) > 0 else None


def _resample(header: Any, shape: tuple[int, ...]) -> None:
    """Adapt a header to another number of rows and columns over the same field of view."""
    old = header.get_data_shape()
    new = (*shape[:-3:-1], *old[2:])
    factors = np.divide(old[:2], new[:2])
    step = np.diag([*factors, 1.0, 1.0])
    step[:2, 3] = (factors - 1) / 2  # the centre of the first pixel moves
    qform, sform = header.get_qform() @ step, header.get_sform() @ step
    header.set_data_shape(new)
    header.set_zooms((*(header.get_zooms()[:2] * factors), *header.get_zooms()[2:]))
    if header["qform_code"] > 0:
        header.set_qform(qform, int(header["qform_code"]))
    if header["sform_code"] > 0:
        header.set_sform(sform, int(header["sform_code"]))


def _new_header(radiograph: Radiograph) -> Any:
    header: Any = Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(radiograph.encoding.dtype)
    header.set_data_shape(radiograph.pixels.shape[::-1])
    row, column = radiograph.pixel_spacing or (1.0, 1.0)
    header.set_zooms((column, row, 1.0)[: radiograph.pixels.ndim])
    header.set_xyzt_units("mm")
    header.set_slope_inter(1.0, 0.0)
    header["magic"] = b"n+1"
    return header
