"""The guarantees that all shipped bundles share."""

from __future__ import annotations

import json
import pydoc
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import onnxruntime
import pydicom
import pytest
import torch
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ConfigWorkflow, load

from monai_dental.benchmark.measures import grid_ratio
from monai_dental.bundle.find import PREFIX, find_bundle, shipped_bundles
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.inference.denoiser import Denoiser
from monai_dental.inference.inferers import NoiseAwareInferer
from monai_dental.noise import NoiseModel
from monai_dental.phantom import write_phantoms

BUNDLES = [f"{PREFIX}{name}" for name in sorted(shipped_bundles())]
INFERENCE_CONFIGS = [
    (bundle, path.stem)
    for bundle in BUNDLES
    for path in sorted((find_bundle(bundle) / "configs").glob("inference*.json"))
]


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return request.param


@pytest.fixture
def network(bundle, parse):
    """The network with the shipped weights."""
    weights = torch.load(find_bundle(bundle) / "models" / "model.pt", weights_only=True)
    network = parse("inference", device=torch.device("cpu")).get_parsed_content("network_def")
    network.load_state_dict(weights)
    return network.eval()


@pytest.fixture
def channels(bundle):
    """The number of input channels of the network, from the metadata."""
    metadata = json.loads((find_bundle(bundle) / "configs" / "metadata.json").read_text())
    return metadata["network_data_format"]["inputs"]["image"]["num_channels"]


def documented(tool, **replaced):
    """The arguments of the command that docs/howto/monai.md has for a tool, some replaced."""
    page = Path(__file__).parents[2] / "docs" / "howto" / "monai.md"
    row = re.search(
        rf"^\| {tool} \| `python -m monai\.bundle (.+?)` \|", page.read_text("utf-8"), re.M
    )
    command = row[1]
    for word, other in replaced.items():
        assert word in command
        command = command.replace(word, str(other))
    return shlex.split(command)


def components(config):
    """All components of a config, at any depth."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from components(part)


def test_all_bundles_are_tested():
    assert {f"{PREFIX}{name}" for name in ("blind", "dae", "unet")} == set(BUNDLES)


def test_each_component_can_be_imported(bundle):
    locator = ComponentLocator()
    for path in sorted((find_bundle(bundle) / "configs").glob("*.json")):
        for config in components(ConfigParser.load_config_file(path)):
            name = ConfigComponent(config, locator=locator).resolve_module_name()
            assert callable(pydoc.locate(name)), f"{path.name}: {name}"


def test_configs_name_what_they_mean_and_have_short_lines(bundle):
    for path in sorted((find_bundle(bundle) / "configs").glob("*.json")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(handlers|transforms)(#|::)\d|handlers\[", text), path.name
        if path.name != "metadata.json":
            assert max(map(len, text.splitlines())) <= 140, path.name


@pytest.mark.parametrize(
    ("bundle", "overlays"),
    [
        (f"{PREFIX}blind", []),
        (f"{PREFIX}blind", ["adapt"]),
        (f"{PREFIX}unet", []),
        (f"{PREFIX}unet", ["adapt"]),
        (f"{PREFIX}dae", []),
    ],
)
def test_handlers_that_tracking_and_overlays_append_move_no_others(
    bundle, overlays, phantoms, tmp_path
):
    root = find_bundle(bundle)
    overlay = tmp_path / "overlay.json"
    saver = {"_target_": "MetricsSaver", "save_dir": str(tmp_path), "metrics": "*"}
    overlay.write_text(json.dumps({"+validate#handlers": [saver]}))
    logged = {"_target_": "StatsHandler", "iteration_log": False, "output_transform": "$id"}
    tracking = {  # as MONAI's "mlflow" has it
        "handlers_id": {
            "trainer": {"id": "train#trainer", "handlers": "train#handlers"},
            "validator": {"id": "validate#evaluator", "handlers": "validate#handlers"},
        },
        "configs": {"trainer": logged, "validator": logged, "save_execute_config": False},
    }
    small = {"validation_count": 2, "max_epochs": 1, "batch_size": 2}
    if bundle != f"{PREFIX}dae":
        small |= {"val_interval": 1, "patch_size": 64, "validation_size": 64, "images_per_epoch": 4}
    configs = [root / "configs" / f"{name}.json" for name in ("train", *overlays)]
    workflow = ConfigWorkflow(
        config_file=[*map(str, configs), str(overlay)], workflow_type="train", logging_file=False,
        tracking=tracking, bundle_root=str(root), dataset_dir=str(phantoms / "clean"),
        ckpt_dir=str(tmp_path / "models"), output_dir=str(tmp_path / "eval"), **small,
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    workflow.finalize()

    (weights,) = (tmp_path / "models").iterdir()
    assert weights.suffix == ".pt"
    assert (tmp_path / "metrics.csv").is_file()
    assert len(list((tmp_path / "eval").glob("events.out.tfevents.*"))) == 1
    handlers = [workflow.parser.get_parsed_content(f"{part}#handlers")[-1]
                for part in ("train", "validate")]  # fmt: skip
    assert [type(handler).__name__ for handler in handlers] == ["StatsHandler"] * 2


def test_network_is_the_same_in_training_and_inference(parse):
    assert parse("train")["network_def"] == parse("inference")["network_def"]
    assert parse("train")["network"] == parse("inference")["network"]


@pytest.mark.parametrize(
    ("units", "dtype"), [({"amx_bf16": True}, "torch.bfloat16"), ({}, "torch.float32")]
)
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_checkpoint_tells_the_precision_that_was_computed_in(
    bundle, parse, units, dtype, device, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    parser = parse("train", device=device)

    assert parser.get_parsed_content("train#checkpoint#settings#precision") == dtype


def test_evaluation_runs_in_the_precision_of_inference(parse):
    evaluation = parse("train", "evaluate").get_parsed_content("validate#inferer")

    assert evaluation.precision == parse("inference").get_parsed_content("inferer").precision


def test_metadata_is_of_the_model_zoos_form(bundle, monai_bundle, tmp_path):
    # `verify_metadata` downloads the schema; where the file is there already, it takes that.
    schema = Path(__file__).with_name("metadata_schema.json")
    shutil.copy(schema, tmp_path)
    place = {"schema.json": tmp_path / schema.name}

    done = monai_bundle(bundle, *documented("metadata", **place))

    assert "metadata is verified with no error" in done.stdout + done.stderr

    metadata = json.loads((find_bundle(bundle) / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    del metadata["network_data_format"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(metadata, json.loads(schema.read_text()))


def test_readme_has_the_headings_of_the_model_zoos_template(bundle):
    # Of docs/readme_template.md in the zoo's repository; some are optional there.
    text = (find_bundle(bundle) / "docs" / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#{2,3} (.+)$", text, re.M)

    assert {
        "Authors", "Tags", "Model Description", "Data", "Performance", "System Configuration",
        "Limitations", "Citation Info", "References",
    } <= set(headings)  # fmt: skip
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.M))
    assert all(section.strip() for section in sections.values())
    # Here the line that a run without the package ends with sends its reader.
    assert "`monai_dental`" in sections["System Configuration"]
    assert "pip install" in sections["System Configuration"]


def test_metadata_has_the_figures_of_the_readme(bundle):
    root = find_bundle(bundle)
    readme = (root / "docs" / "README.md").read_text(encoding="utf-8")
    # The row of the evaluation's table that is in bold: PSNR ± sd, SSIM ± sd.
    rows = re.findall(r"\| \*\*(\d+\.\d+) ± [\d.]+\*\* \| (\d\.\d+) ± [\d.]+ \|", readme)

    metrics = json.loads((root / "configs" / "metadata.json").read_text())["eval_metrics"]

    figures = metrics["psnr_db_data_range_1"], metrics["ssim_data_range_1"]
    assert [(float(psnr), float(ssim)) for psnr, ssim in rows] == [figures]


def test_network_has_the_input_and_output_of_the_metadata(bundle, monai_bundle):
    done = monai_bundle(bundle, *documented("shapes"))

    assert "data shape of network is verified with no error" in done.stdout + done.stderr


@pytest.mark.parametrize("strength", ["0", "0.5"])
@pytest.mark.parametrize("bundle", [f"{PREFIX}{name}" for name in ("blind", "unet")])
def test_inference_applies_the_share_of_the_correction_that_is_asked_for(
    bundle, strength, phantoms, dicom_phantom, monai_bundle, tmp_path
):
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(phantoms / "noisy" / "1.png", source)
    shutil.copy(dicom_phantom, source / "2.dcm")

    monai_bundle(
        bundle, "run", "inference", "--config_file", "configs/inference.json",
        "--dataset_dir", source, "--output_dir", tmp_path / "out", "--strength", strength,
    )  # fmt: skip

    denoiser = Denoiser(find_bundle(bundle))
    for name in ("1.png", "2.dcm"):
        noisy, written = (read_radiograph(tmp_path / part / name) for part in ("in", "out"))
        expected = denoiser.denoise(noisy.pixels, float(strength))
        assert np.abs(written.pixels - expected).max() < 1.5 / 255  # the first has 8 bits
    if strength == "0":
        assert np.array_equal(written.pixels, noisy.pixels)
    assert (
        f"strength {strength}" in pydicom.dcmread(tmp_path / "out" / "2.dcm").DerivationDescription
    )


def test_torchscript_export_agrees(bundle, network, channels, monai_bundle, tmp_path):
    place = {"model.ts": tmp_path / "model.ts"}
    monai_bundle(bundle, *documented("TorchScript", **place))
    image = torch.rand(1, channels, 66, 47)

    exported = torch.jit.load(tmp_path / "model.ts")

    torch.testing.assert_close(exported(image), network(image), atol=1e-5, rtol=0)


def test_onnx_export_agrees(bundle, network, channels, monai_bundle, tmp_path):
    place = {"model.onnx": tmp_path / "model.onnx", "CHANNELS": channels}
    monai_bundle(bundle, *documented("ONNX", **place))

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for shape in ((1, channels, 64, 64), (2, channels, 66, 47)):
        image = torch.rand(shape)
        (exported,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(exported, network(image).detach().numpy(), atol=1e-5)


def test_export_that_is_told_sigma_agrees_with_inference(monai_bundle, tmp_path):
    bundle = f"{PREFIX}blind"
    arguments = [
        "--net_id", "sigma_network_def", "--ckpt_file", "models/model.pt",
        "--meta_file", "configs/metadata.json", "--config_file", "['configs/inference.json']",
    ]  # fmt: skip
    monai_bundle(bundle, "ckpt_export", "--filepath", tmp_path / "model.ts", *arguments)
    monai_bundle(
        bundle, "onnx_export", "--filepath", tmp_path / "model.onnx", *arguments,
        "--input_shape", "[1,2,64,64]",
        "--converter_kwargs", "{'input_names':['image'],'dynamic_axes':{'image':[0,2,3]}}",
    )  # fmt: skip
    image = 0.2 + 0.6 * torch.rand(48, 66, generator=torch.Generator().manual_seed(0))
    sigma = 0.05
    # Told of noise that is blurred as the export takes it to be, and the same at all greys.
    blurred = NoiseModel.poisson_gaussian(1.0, 0.0, blur=0.6)
    at_half = (len(blurred.variances) - 1) // 2
    octaves = blurred.octaves[:, at_half : at_half + 1].expand_as(blurred.octaves)
    scale = sigma**2 / octaves.sum(dim=0)
    noise = replace(blurred, variances=torch.full_like(blurred.variances, sigma**2),
                    octaves=octaves * scale)  # fmt: skip
    denoiser = Denoiser(find_bundle("blind"), device="cpu")
    channels = denoiser.inferer.noise_channels
    told = NoiseAwareInferer(halo=0, precision="float32", noise=noise, noise_channels=channels)

    with torch.no_grad():
        expected = told(image[None, None], denoiser.network)
    inputs = torch.stack([image, torch.full_like(image, sigma)])[None]
    exported = torch.jit.load(tmp_path / "model.ts")(inputs)
    (by_onnx,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(
        None, {"image": inputs.numpy()}
    )

    torch.testing.assert_close(exported, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(by_onnx, expected.numpy(), atol=1e-5)
    assert (exported - image).std() > 0.3 * sigma


@pytest.mark.parametrize("workflow_type", ["train", "inference"])
def test_bundle_loads_by_monai(bundle, workflow_type, network, tmp_path, monkeypatch):
    # No radiograph is needed for it.
    monkeypatch.setattr("monai_dental.training.datalists.phantom_folder", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / bundle).symlink_to(find_bundle(bundle))

    loaded = load(
        name=bundle, bundle_dir=str(tmp_path), source="local", workflow_type=workflow_type
    )

    assert type(loaded) is type(network)
    weights = network.state_dict()
    assert loaded.state_dict().keys() == weights.keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, weights[name])
    assert [path.name for path in tmp_path.iterdir()] == [bundle]


@pytest.mark.parametrize(("bundle", "config"), INFERENCE_CONFIGS)
def test_inference_passes_its_own_output_over(config, parse, tmp_path):
    for name in ("1.png", "out/1.png", "out_figures/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    parser = parse(config, dataset_dir=str(tmp_path), output_dir=f"{tmp_path}/out")
    outputs = {tmp_path / "out"}
    if "figure_dir" in parser:
        outputs.add(Path(parser.get_parsed_content("figure_dir")))

    images = {Path(item["image"]) for item in parser.get_parsed_content("datalist")}

    assert images == {path for path in tmp_path.rglob("*.png") if path.parent not in outputs}


@pytest.mark.parametrize("name", ["unet", "blind"])
def test_weights_leave_no_grid(name, tmp_path):
    write_phantoms(tmp_path, first_index=111, count=10)
    denoiser = Denoiser(find_bundle(name))
    images = {
        role: [read_radiograph(path).pixels for path in find_images(tmp_path / role)]
        for role in ("clean", "noisy")
    }

    denoised = [denoiser.denoise(image) for image in images["noisy"]]

    assert grid_ratio(denoised) < 2 * grid_ratio(images["clean"])
