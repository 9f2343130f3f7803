"""The training photographs: the list, the conversion, and packages that do not match it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_photographs.py"


@pytest.fixture(scope="module")
def script():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("fetch_photographs", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_photographs"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fetch_photographs"]


def smooth_picture(rows=480, columns=640, channels=3):
    """A picture without noise: slow waves, the full range except for black and white."""
    y, x = np.mgrid[:rows, :columns]
    grey = 0.5 + 0.2 * np.sin(x / 40) + 0.2 * np.cos(y / 30)
    return np.repeat(grey[..., None], channels, 2)


def write(path, picture, depth=np.uint16):
    assert cv2.imwrite(str(path), np.round(picture * np.iinfo(depth).max).astype(depth))
    return path


def list_of(script, tmp_path, monkeypatch, **changes):
    """Make the script read a list of one photograph in a package `sky`."""
    row = {
        "package": "sky",
        "version": "1:2.0-1",
        "sha256": "0" * 64,
        "path": "usr/share/sky/blue.png",
        "title": "blue sky",
        "author": "A. Nobody",
        "licence": "CC0-1.0",
        "factor": "2",
        "holdout": "0",
        "share_alike": "0",
    } | changes
    path = tmp_path / "photographs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    monkeypatch.setattr(script, "LIST", path)


def package_of(tmp_path, picture):
    """Build the package `sky` with a picture; return the folder it is in and its SHA-256."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: sky\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: A. Nobody\n"
        "Description: a picture\n"
    )
    (tree / "usr" / "share" / "sky").mkdir(parents=True)
    write(tree / "usr" / "share" / "sky" / "blue.png", picture)
    packages = tmp_path / "packages"
    packages.mkdir()
    package = packages / "sky_1%3a2.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
    return packages, hashlib.sha256(package.read_bytes()).hexdigest()


def test_each_licence_is_known_and_flagged(script) -> None:
    for photograph in script.read_list(script.LIST):
        licences = script.SHARE_ALIKE if photograph.share_alike else script.PERMISSIVE
        assert photograph.licence in licences, photograph.title
        assert photograph.author, photograph.title


def test_no_picture_is_listed_twice(script) -> None:
    photographs = script.read_list(script.LIST)

    for key in ("file_name", "path"):  # on file systems that ignore case too
        values = [(each.package, str(getattr(each, key)).casefold()) for each in photographs]
        assert len(set(values)) == len(photographs), key


def test_each_picture_is_credited_in_the_docs(script) -> None:
    page = " ".join((_SCRIPT.parents[1] / "docs" / "photographs.md").read_text().split())

    for photograph in script.read_list(script.LIST):
        assert f'"{photograph.title}"' in page, photograph.title
        for author in photograph.author.split(", "):
            assert author in page, author


@pytest.mark.parametrize("folder", ["training", "share_alike", "heldout"])
def test_the_docs_count_the_pictures(script, folder) -> None:
    page = (_SCRIPT.parents[1] / "docs" / "photographs.md").read_text()

    count = sum(each.folder == folder for each in script.read_list(script.LIST))

    assert re.search(rf"^\| `{folder}`[^|]*\| {count} \|", page, re.MULTILINE)


def test_a_package_has_one_version_and_one_checksum(script) -> None:
    photographs = script.read_list(script.LIST)
    packages = {(each.package, each.version, each.sha256) for each in photographs}

    assert len({package for package, _, _ in packages}) == len(packages)
    assert all(len(bytes.fromhex(sha256)) == 32 for _, _, sha256 in packages)


def test_pictures_are_averaged_over_2_or_3_pixels(script) -> None:
    assert {photograph.factor for photograph in script.read_list(script.LIST)} == {2, 3}


def test_held_out_pictures_are_of_several_packages(script) -> None:
    held_out = [each for each in script.read_list(script.LIST) if each.held_out]

    assert len(held_out) >= 12
    assert len({each.package for each in held_out}) >= 5
    assert {each.folder for each in held_out} == {"heldout"}


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_conversion_averages_the_luma(script, tmp_path, depth) -> None:
    picture = smooth_picture() * [0.2, 1.0, 0.6]  # BGR
    path = write(tmp_path / "waves.png", picture, depth)

    grey = script.convert(path, 3)

    luma = picture @ [0.0722, 0.7152, 0.2126]
    expected = luma[:480, :639].reshape(160, 3, 213, 3).mean((1, 3))
    assert grey.dtype == np.uint16
    assert grey.shape == (160, 213)
    np.testing.assert_allclose(grey / 65535, expected, atol=1 / np.iinfo(depth).max)


def test_a_grey_picture_keeps_its_values(script, tmp_path) -> None:
    path = write(tmp_path / "grey.png", smooth_picture(channels=1)[..., 0])

    grey = script.convert(path, 2)

    expected = smooth_picture(channels=1).reshape(240, 2, 320, 2).mean((1, 3))
    np.testing.assert_allclose(grey / 65535, expected, atol=2e-5)


@pytest.mark.parametrize("sigma", [0.002, 0.01])
def test_residual_noise_is_that_of_the_flat_parts(script, sigma) -> None:
    image = smooth_picture(channels=1)[..., 0]
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    noise[:, 320:] += np.random.default_rng(1).normal(0, 0.1, (480, 320))  # a texture

    measured = script.residual_noise((image + noise).astype(np.float32))

    assert measured == pytest.approx(sigma, rel=0.2)


def test_a_noisy_picture_is_refused(script, tmp_path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (480, 640, 3))
    path = write(tmp_path / "noisy.png", smooth_picture() + noise)

    with pytest.raises(script.FetchError, match=r"noisy\.png: noise of 0\.00\d+ is left"):
        script.convert(path, 2)


def test_what_is_no_picture_is_refused(script, tmp_path) -> None:
    (tmp_path / "words.jpg").write_text("no picture")

    with pytest.raises(script.FetchError, match=r"words\.jpg: no 8- or 16-bit picture"):
        script.convert(tmp_path / "words.jpg", 2)


def test_fetch_writes_pictures_and_credits(script, tmp_path, monkeypatch, capsys) -> None:
    packages, sha256 = package_of(tmp_path, smooth_picture())
    list_of(script, tmp_path, monkeypatch, sha256=sha256)

    code = script.main(["--packages", str(packages), "--output", str(tmp_path / "new" / "out")])

    assert code == 0, capsys.readouterr().err
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    grey = cv2.imread(str(out / "training" / "sky-blue_sky.png"), cv2.IMREAD_UNCHANGED)
    assert (grey.shape, grey.dtype) == ((240, 320), np.uint16)
    with (out / "CREDITS.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {
                "file": "training/sky-blue_sky.png",
                "title": "blue sky",
                "author": "A. Nobody",
                "licence": "CC0-1.0",
                "package": "sky",
                "version": "1:2.0-1",
            }
        ]


@pytest.mark.parametrize(("options", "count"), [([], 0), (["--share-alike"], 1)])
def test_share_alike_pictures_come_when_asked_for(
    script, tmp_path, monkeypatch, options, count
) -> None:
    packages, sha256 = package_of(tmp_path, smooth_picture())
    list_of(
        script, tmp_path, monkeypatch, sha256=sha256, licence="GPL-2.0-or-later", share_alike="1"
    )

    script.main(["--packages", str(packages), "--output", str(tmp_path / "out"), *options])

    assert len(list((tmp_path / "out").rglob("*.png"))) == count


def test_a_wrong_checksum_is_refused_with_one_line(script, tmp_path, monkeypatch, capsys) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "sky_1%3a2.0-1_all.deb").write_bytes(b"another file")
    list_of(script, tmp_path, monkeypatch)

    code = script.main(["--packages", str(packages), "--output", str(tmp_path / "out")])

    error = capsys.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    assert "sky_1%3a2.0-1_all.deb: SHA-256 is " in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packages", "photographs.csv"]


def test_a_missing_package_is_refused_with_one_line(script, tmp_path, monkeypatch, capsys) -> None:
    list_of(script, tmp_path, monkeypatch)

    code = script.main(["--packages", str(tmp_path), "--output", str(tmp_path / "out")])

    assert code == 1
    assert capsys.readouterr().err == f"{tmp_path}: no sky_1%3a2.0-1_*.deb; download it\n"


def test_a_machine_without_apt_is_told_so(script, tmp_path, monkeypatch, capsys) -> None:
    list_of(script, tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))

    code = script.main(["--output", str(tmp_path / "out")])

    assert code == 1
    assert capsys.readouterr().err == (
        "sky=1:2.0-1: there is no apt-get here; use Debian, or --packages DIR\n"
    )


def test_a_version_that_is_gone_is_named(script, tmp_path, monkeypatch, capsys) -> None:
    list_of(script, tmp_path, monkeypatch)
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(
        "#!/bin/sh\necho \"E: Version '1:2.0-1' for 'sky' was not found\" >&2\nexit 100\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/usr/bin:/bin")

    code = script.main(["--output", str(tmp_path / "out")])

    assert code == 1
    assert capsys.readouterr().err == (
        "sky=1:2.0-1: apt-get failed: E: Version '1:2.0-1' for 'sky' was not found\n"
    )


def test_a_folder_that_is_there_is_left_alone(script, tmp_path, monkeypatch, capsys) -> None:
    list_of(script, tmp_path, monkeypatch)

    code = script.main(["--output", str(tmp_path)])

    assert code == 2
    assert "is there already" in capsys.readouterr().err


def test_names_come_from_titles(script) -> None:
    photograph = script.read_list(script.LIST)[0]

    named = dataclasses.replace(photograph, package="sky", title="blue sky")

    assert named.file_name == "sky-blue_sky.png"
