"""Bundles accept all arguments of `monai.bundle`; a missing one gives a one-line error."""

import sys

import pytest
from monai.bundle import ConfigWorkflow

from monai_dental.bundle.find import find_bundle

TRACKING = {
    "handlers_id": {"evaluator": {"id": "evaluator", "handlers": "handlers"}},
    "configs": {"evaluator": {"_target_": "StatsHandler", "output_transform": "$id"}},
}  # as MONAI's "mlflow" has it


def run(root, name, workflow_type, **settings):
    workflow = ConfigWorkflow(
        config_file=str(root / "configs" / f"{name}.json"), workflow_type=workflow_type,
        logging_file=False, bundle_root=str(root), **settings,
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.mark.parametrize("bundle", ["blind", "dae"])
def test_folders_may_be_called_as_numbers(bundle, phantoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2023").symlink_to(phantoms / "noisy")

    # As the command line hands these over.
    run(find_bundle(bundle), "inference", "infer", dataset_dir=2023, output_dir=2024)

    written = {path.name for path in (tmp_path / "2024").iterdir()}
    assert written == {"1.png", "2.png", "3.png", "4.png"}


def test_output_folder_may_hold_what_a_tracking_writes_first(phantoms, tmp_path):
    folders = {"dataset_dir": str(phantoms / "noisy"), "output_dir": str(tmp_path / "out")}

    run(find_bundle("dae"), "inference", "infer", **folders, tracking=TRACKING)

    written = {path.name for path in (tmp_path / "out").iterdir()}
    (config,) = (name for name in written if name.startswith("config_"))
    assert written - {config} == {"1.png", "2.png", "3.png", "4.png"}
    with pytest.raises(RuntimeError) as error:  # MONAI's, from ours
        run(find_bundle("dae"), "inference", "infer", **folders)
    assert "not empty" in str(error.value.__cause__)


def test_training_writes_into_folders_called_as_numbers(phantoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    run(find_bundle("dae"), "train", "train", dataset_dir=str(phantoms / "clean"), ckpt_dir=1,
        output_dir=2, max_epochs=1, validation_count=2)  # fmt: skip

    assert (tmp_path / "1" / "model.pt").is_file()
    assert (tmp_path / "2" / "figures" / "training.png").is_file()


@pytest.mark.parametrize("bundle", ["blind", "dae", "unet"])
@pytest.mark.parametrize("name", ["train", "inference"])
def test_missing_package_is_one_line(bundle, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "monai_dental", None)

    with pytest.raises(SystemExit, match=r"^error: no monai_dental here; docs/README\.md says"):
        run(find_bundle(bundle), name, name)
