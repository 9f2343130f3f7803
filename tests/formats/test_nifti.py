from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.formats import read_radiograph, write_radiograph
from monai_dental.radiograph import Encoding, Radiograph


def save(
    path: Path, values: np.ndarray, *, slope: float = 1, intercept: float = 0, kind=nib.Nifti1Image
):
    """Write raw values under a slope, which nibabel itself would apply."""
    image = kind(values, np.diag([0.2, 0.1, 1, 1]))
    image.header.set_slope_inter(1, 0)
    content = bytearray(image.to_bytes())
    header = image.header_class.from_fileobj(__import__("io").BytesIO(bytes(content)))
    header["scl_slope"], header["scl_inter"] = slope, intercept
    binary = header.binaryblock
    content[: len(binary)] = binary
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("slope", [1, 0.37, -2])
def test_stored_values_slope_and_affine_come_back(tmp_path, kind, suffix, dtype, slope) -> None:
    values = np.random.default_rng(0).integers(0, 200, (9, 5)).astype(dtype)
    source = read_radiograph(
        save(tmp_path / f"a{suffix}", values, slope=slope, intercept=3, kind=kind)
    )
    out = tmp_path / f"out{suffix}"
    write_radiograph(source, out)
    before, after = nib.load(tmp_path / f"a{suffix}"), nib.load(out)
    assert after.header.binaryblock == before.header.binaryblock
    assert np.array_equal(after.dataobj.get_unscaled(), values)
    assert (after.dataobj.slope, after.dataobj.inter) == (before.dataobj.slope, 3)
    assert np.array_equal(after.affine, before.affine)
    assert (source.pixel_spacing, source.spacing_keyword) == (pytest.approx((0.1, 0.2)), "pixdim")


def test_negative_slope_turns_the_picture_over(tmp_path) -> None:
    values = np.array([[0, 255]], np.uint8)
    assert read_radiograph(save(tmp_path / "a.nii", values)).pixels.ravel().tolist() == [0, 1]
    turned = read_radiograph(save(tmp_path / "b.nii", values, slope=-1))
    assert turned.pixels.ravel().tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_types_without_a_telling_range_span_their_own(tmp_path, dtype) -> None:
    values = np.arange(-10, 20).reshape(6, 5).astype(dtype)
    radiograph = read_radiograph(save(tmp_path / "a.nii", values))
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 1)


@pytest.mark.parametrize("shape", [(40, 24, 1), (40, 24, 1, 1)])
def test_trailing_single_axes_are_dropped_and_come_back(picture, tmp_path, shape) -> None:
    path = save(tmp_path / "a.nii", picture(8).T.reshape(shape))
    radiograph = read_radiograph(path)
    assert np.array_equal(radiograph.stored, picture(8))
    write_radiograph(radiograph, tmp_path / "out.nii")
    after = nib.load(tmp_path / "out.nii")
    assert after.shape == shape
    assert np.array_equal(after.dataobj, nib.load(path).dataobj)


def test_third_axis_counts_the_frames(picture, tmp_path) -> None:
    volume = np.dstack([picture(8).T, picture(8).T[::-1], picture(8).T[:, ::-1]])
    path = save(tmp_path / "a.nii.gz", volume)
    radiograph = read_radiograph(path)
    assert radiograph.pixels.shape == (3, 24, 40)
    assert np.array_equal(radiograph.stored[1], picture(8)[:, ::-1])
    write_radiograph(radiograph, tmp_path / "out.nii.gz")
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").dataobj, volume)


def test_header_extensions_come_back(tmp_path) -> None:
    image = nib.Nifti1Image(np.arange(20, dtype=np.uint8).reshape(4, 5), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    nib.save(image, tmp_path / "a.nii")
    write_radiograph(read_radiograph(tmp_path / "a.nii"), tmp_path / "out.nii")
    after = nib.load(tmp_path / "out.nii")
    assert after.header.extensions[0].get_content().startswith(b"kept")
    assert np.array_equal(after.dataobj, image.dataobj)


def test_new_file_needs_no_header(picture, tmp_path) -> None:
    encoding = Encoding.full_range(np.uint8, 8)
    radiograph = Radiograph(
        encoding.decode(picture(8)), encoding, "nifti", pixel_spacing=(0.2, 0.1)
    )
    write_radiograph(radiograph, tmp_path / "new.nii.gz")
    back = read_radiograph(tmp_path / "new.nii.gz")
    assert np.array_equal(back.stored, picture(8))
    assert back.pixel_spacing == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, bad) -> None:
    path = save(tmp_path / "a.nii", np.array([[0, bad]], np.float32))
    with pytest.raises(CorruptImageError, match=r"a\.nii: voxels hold NaN or infinity"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4, 5, 2), np.uint8), "4 axes; need 2 or 3"),
        (np.zeros((3, 4), np.complex64), "complex64 voxels; need integers or floats"),
    ],
)
def test_other_nifti_files_are_refused(tmp_path, values, message) -> None:
    path = save(tmp_path / "a.nii", values)
    with pytest.raises(UnsupportedImageError, match=message):
        read_radiograph(path)


def refused_within(path: Path, limit: int, error: type[Exception], message: str) -> None:
    """Check that reading is refused, and allocates fewer than `limit` bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message):
            read_radiograph(path)
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_gzip_bomb_is_refused_without_its_memory(tmp_path, kind) -> None:
    content = kind(np.zeros((16, 16), np.uint8), np.eye(4)).to_bytes()
    bomb = tmp_path / "a.nii.gz"
    bomb.write_bytes(gzip.compress(content + bytes(2**26)))
    message = f"gunzips to more than the {len(content)} bytes that its NIfTI header declares"
    refused_within(bomb, 2**22, CorruptImageError, rf"a\.nii\.gz: {message}")
    bomb.write_bytes(gzip.compress(content + bytes(1)))
    refused_within(bomb, 2**22, CorruptImageError, message)


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        (
            "dim",
            [2, 2**14, 20000, 1, 1, 1, 1, 1],
            UnsupportedImageError,
            "need at most 67108864 in",
        ),
        ("dim", [4, 2, 2, 2, 2**14, 1, 1, 1], UnsupportedImageError, "4 axes; need 2 or 3"),
        ("vox_offset", 2.0**25, UnsupportedImageError, "vox_offset is 33554432 bytes; need at"),
        ("vox_offset", np.inf, CorruptImageError, "cannot be decoded: OverflowError"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_header_is_checked_before_the_rest_is_read(
    tmp_path, suffix, field, value, error, message
) -> None:
    header = nib.Nifti1Image(np.zeros((16, 16), np.uint8), np.eye(4)).header
    header["magic"], header["vox_offset"] = b"n+1", 352
    header[field] = value
    content = header.binaryblock + bytes(2**26)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    refused_within(path, 2**22, error, message)


@pytest.mark.parametrize(
    ("suffix", "length", "message"),
    [
        (".nii.gz", 100, "cannot be decoded: WrapStructError"),
        (".nii.gz", 347, "cannot be decoded: WrapStructError"),
        (".nii.gz", 352, "cut off: 352 bytes; need 67109216"),
        (".nii", 352, "cut off: 352 bytes; need 67109216"),
        (".nii", 1000, "cut off: 1000 bytes; need 67109216"),
    ],
)
def test_truncated_file_takes_no_more_than_it_holds(tmp_path, suffix, length, message) -> None:
    header = nib.Nifti1Image(np.zeros((16, 16), np.uint8), np.eye(4)).header
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["dim"] = [2, 2**13, 2**13, 1, 1, 1, 1, 1]
    content = (header.binaryblock + bytes(1000))[:length]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    refused_within(path, 2**22, CorruptImageError, message)


def test_bytes_after_the_voxels_of_a_plain_file_are_ignored(picture, tmp_path) -> None:
    path = save(tmp_path / "a.nii", picture(8).T)
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert np.array_equal(read_radiograph(path).stored, picture(8))


@pytest.mark.parametrize("shape", [(40, 24), (40, 24, 3)])
def test_resampled_image_keeps_its_place_in_the_world(picture, tmp_path, shape) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    affine = np.array([[0, -0.2, 0, 5], [0.1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    source = read_radiograph(tmp_path / "a.nii")

    smaller = source.with_pixels(source.pixels[..., ::2, ::4].copy())
    write_radiograph(smaller, tmp_path / "b.nii")

    after = nib.load(tmp_path / "b.nii")
    assert after.shape == (10, 12, *shape[2:])
    assert read_radiograph(tmp_path / "b.nii").pixel_spacing == pytest.approx((0.4, 0.4))
    for corner in ([-0.5, -0.5, 0, 1], [39.5, 23.5, 0, 1]):
        scaled = [(corner[0] + 0.5) / 4 - 0.5, (corner[1] + 0.5) / 2 - 0.5, 0, 1]
        assert after.affine @ scaled == pytest.approx(affine @ corner, abs=1e-5)
        assert after.get_qform() @ scaled == pytest.approx(affine @ corner, abs=1e-5)
