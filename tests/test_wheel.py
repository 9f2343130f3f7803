"""The wheel: an installation by `pip install .` works in another environment."""

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an installation, far from the checkout."""
    return install(CHECKOUT, tmp_path_factory.mktemp("wheel"))


def install(source, folder):
    """Install a source folder into another folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--quiet", "--wheel-dir", folder, source], check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_ships_bundles_and_type_marker_and_nothing_else(installed):
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    bundle = installed / "monai_dental" / "shipped_bundles" / "dental_xray_denoising_dae"

    assert names == {"monai_dental"}
    assert (installed / "monai_dental" / "py.typed").is_file()
    assert (bundle / "LICENSE").is_file()
    assert (bundle / "configs" / "train.json").is_file()
    assert [path.name for path in (bundle / "models").iterdir()] == ["model.pt"]
    assert sorted(path.name for path in bundle.iterdir()) == [
        "LICENSE",
        "configs",
        "docs",
        "models",
    ]


def test_metadata_says_who_made_it_under_which_licence_and_no_address_that_is_not_there(installed):
    (info,) = installed.glob("*.dist-info")
    metadata = email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))

    assert metadata["Author"] == "The monai_dental authors"
    assert metadata["License-Expression"] == "Apache-2.0"
    licences = metadata.get_all("License-File")
    assert licences == ["LICENSE"]
    for name in licences:
        assert (info / "licenses" / name).read_text() == (CHECKOUT / name).read_text()
    # The project has no public address yet; pip would show a made-up one.
    assert metadata.get_all("Project-URL") is None
    assert metadata["Home-page"] is None
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]


def test_wheel_has_no_code_of_others(installed):
    # The licence of what is taken over asks that its notice stays.
    notice = re.compile(r"copyright (\(c\)|©|\d{4})|@license|@preserve|SPDX-", re.I)
    endings = (".py", ".js", ".css", ".html")
    sources = [path for path in installed.rglob("*") if path.suffix in endings]

    assert len(sources) > 100
    assert [path for path in sources if notice.search(path.read_text(encoding="utf-8"))] == []


def test_installed_command_finds_its_bundle(installed, radiograph_file, picture, tmp_path):
    path = radiograph_file(picture(8), ".png")
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); import monai_dental.cli as cli; "
    code += "print(cli.__file__); sys.exit(cli.main(sys.argv[1:]))"

    done = subprocess.run(
        [sys.executable, "-c", code, "denoise", path, "--output", tmp_path / "out"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert (tmp_path / "out" / path.name).is_file()


def test_container_is_built_from_the_package_and_nothing_else(installed, tmp_path):
    rules = (CHECKOUT / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if not rule.startswith("#")]
    assert rules[0] == "*"  # all else is left out: .git, .venv, results with patients' images
    names = [rule[1:] for rule in rules if rule.startswith("!") and "/" not in rule]
    source = tmp_path / "source"
    source.mkdir()
    for name in names:
        path = CHECKOUT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, source / name)

    from_image = install(source, tmp_path / "wheel")

    first, second = (
        {path.relative_to(site) for path in site.rglob("*")} for site in (installed, from_image)
    )
    assert first == second
    assert sorted(names) == [
        ".gitignore", "LICENSE", "README.md", "bundles", "constraints.txt", "monai_dental",
        "pyproject.toml",
    ]  # fmt: skip
