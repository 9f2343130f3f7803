"""docs/deploy/map/app.py on DICOM phantoms, in the environment that scripts/deploy-env makes."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from monai_dental import Denoiser, find_bundle, read_radiograph
from monai_dental.phantom import write_phantoms

ROOT = Path(__file__).parents[2]
APP = ROOT / "docs" / "deploy" / "map" / "app.py"


@pytest.fixture(scope="session")
def deploy_python(missing):
    folder = Path(os.environ.get("MONAI_DENTAL_DEPLOY_ENV", ROOT / ".venv-deploy"))
    python = folder / "bin" / "python"
    if not python.is_file():
        missing(f"no {folder}; scripts/deploy-env makes it")
    return str(python)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two radiographs, a broken one, and a file that is not DICOM."""
    folder = tmp_path_factory.mktemp("map")
    write_phantoms(folder, count=2, size=(96, 80), image_format="dicom")
    (folder / "noisy" / "note.txt").write_text("no image")
    content = (folder / "noisy" / "1.dcm").read_bytes()
    (folder / "noisy" / "broken.dcm").write_bytes(content[: len(content) // 2])
    return folder / "noisy"


def run(python, *arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [python, APP, *map(str, arguments)], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_radiographs_of_a_study_become_derived_instances(deploy_python, study, tmp_path):
    output = tmp_path / "out"

    done = run(deploy_python, "--input", study, "--output", output, folder=tmp_path)

    said = done.stdout + done.stderr
    assert done.returncode == 1, said  # of the broken one
    assert "2 denoised, 1 failed" in said
    assert "note.txt: skipped" in said
    assert "broken.dcm: failed" in said
    assert sorted(path.name for path in output.iterdir()) == ["1.dcm", "2.dcm"]
    denoiser = Denoiser(find_bundle("blind"))
    for path in output.iterdir():
        source, derived = dcmread(study / path.name), dcmread(path)
        assert derived.SOPInstanceUID != source.SOPInstanceUID
        assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert derived.ImageType[0] == "DERIVED"
        expected = denoiser.denoise(read_radiograph(study / path.name).pixels)
        written = read_radiograph(path).pixels
        assert np.abs(written - expected).max() < 1 / 4095
        assert not np.array_equal(derived.pixel_array, source.pixel_array)


def test_model_folder_without_a_bundle_is_one_line(deploy_python, study, tmp_path):
    (tmp_path / "models").mkdir()

    done = run(deploy_python, "--input", study, "--output", tmp_path / "out", folder=tmp_path)

    assert done.returncode == 2
    assert "models: 0 bundles here; need one" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def sdk_says(deploy_python):
    """What the SDK's own code makes of the folder: two manifests, platforms, and a start."""
    script = Path(__file__).with_name("sdk_says.py")
    done = subprocess.run(
        [deploy_python, script, APP.parent],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def read_manifests():
    return [json.loads((APP.parent / name).read_text()) for name in ("app.json", "pkg.json")]


def test_manifests_are_those_of_the_sdks_packager(sdk_says):
    app, package = read_manifests()
    packed_app, packed_package, platforms, _ = sdk_says

    assert app == packed_app
    assert package.pop("platformConfig") in platforms
    assert package == {
        key: packed_package[key] for key in packed_package if key != "platformConfig"
    }


def test_sdks_runner_mounts_input_and_output_where_the_application_looks(sdk_says):
    *_, start = sdk_says
    container = (APP.parent / "Containerfile").read_text()

    assert dict(start["volumes"]) == {
        "/study": "/var/holoscan/input", "/results": "/var/holoscan/output",
    }  # fmt: skip
    assert start["commands"] == []
    environment = start["environment"]
    assert environment["HOLOSCAN_INPUT_PATH"] == "/var/holoscan/input"
    assert environment["HOLOSCAN_OUTPUT_PATH"] == "/var/holoscan/output"
    for key in ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH", "HOLOSCAN_MODEL_PATH"):
        assert f"{key}={environment[key]}" in container


def test_container_is_what_script_and_manifests_say():
    container = (APP.parent / "Containerfile").read_text()
    script = (ROOT / "scripts" / "deploy-env").read_text()
    app, package = read_manifests()

    assert f"ENTRYPOINT {app['command']}" in container
    assert f"HOLOSCAN_MODEL_PATH={package['modelRoot']}" in container
    assert f"{package['applicationRoot']}/app.py" in container
    assert app["sdkVersion"] in container
    assert f"WORKDIR {app['workingDirectory']}\n" in container
    for key, path in app["environment"].items():
        if key != "HOLOSCAN_MODEL_PATH":  # of a bundle of one's own, which need not be there
            assert path.rstrip("/") in container, key
    names = (
        re.search(r"--no-deps ([^\n]*)", script)[1],
        re.search(r"(typeguard (?:.*\\\n)*.*)", script)[1].replace("\\\n", " "),
    )
    for name in " ".join(names).split():
        assert name in container, name
