"""Training on pairs and by a user's own lists, and evaluation on the held-out images."""

import csv

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_dental.bundle.find import find_bundle

SMALL = {"max_epochs": 1, "batch_size": 1, "validation_count": 1}
PATCHES = {"val_interval": 1, "patch_size": 32, "validation_size": 64, "images_per_epoch": 2,
           "num_workers": 0}  # fmt: skip


@pytest.fixture
def pairs(phantoms, tmp_path):
    """A list of four pairs, of three patients."""
    path = tmp_path / "pairs.csv"
    rows = [
        f"{phantoms}/noisy/{number}.png,{phantoms}/clean/{number}.png,{patient}\n"
        for number, patient in ((1, "a"), (2, "b"), (3, "a"), (4, "c"))
    ]
    path.write_text("image,label,patient\n" + "".join(rows))
    return path


def run(bundle, names, **settings):
    root = find_bundle(bundle)
    workflow = ConfigWorkflow(
        config_file=[str(root / "configs" / f"{name}.json") for name in names],
        workflow_type="train", logging_file=False, bundle_root=str(root), **SMALL,
        **(PATCHES if bundle != "dae" else {}), **settings,
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    return workflow.parser


@pytest.mark.parametrize("bundle", ["blind", "dae", "unet"])
def test_training_takes_pairs_by_a_list_and_evaluation_what_it_held_out(bundle, pairs, tmp_path):
    settings = {"datalist": str(pairs), "fold": 0, "folds": 2, "ckpt_dir": str(tmp_path / "models"),
                "output_dir": str(tmp_path / "eval")}  # fmt: skip

    parser = run(bundle, ["train", "supervised"], **settings)
    run(bundle, ["train", "supervised", "evaluate"], **settings)

    for part in ("train", "validate"):
        item = parser.get_parsed_content(f"{part}#dataset")[0]
        patch = item[0] if isinstance(item, list) else item
        # Nothing else, which could be of another size in another image of the batch.
        arrays = {key for key, value in patch.items() if isinstance(value, torch.Tensor)}
        assert arrays == {"image", "label"}
    batch = next(iter(parser.get_parsed_content("validate#dataloader")))
    assert batch["label"].shape[-2:] == batch["image"].shape[-2:]
    assert (tmp_path / "models" / "model_supervised.pt").is_file()
    with (tmp_path / "eval" / "scores.csv").open(newline="") as file:
        scored = {row["image"] for row in csv.DictReader(file)}
    assert {name.rpartition("/")[2] for name in scored} == {"1.png", "3.png", "4.png"}


@pytest.mark.parametrize("bundle", ["blind", "dae", "unet"])
def test_pairs_of_two_folders_have_the_labels_of_their_names(bundle, phantoms, parse):
    folders = {"dataset_dir": str(phantoms / "noisy"), "label_dir": str(phantoms / "clean")}

    datalist = parse("train", "supervised", **folders).get_parsed_content("datalist")

    assert datalist[0] == {
        "image": f"{phantoms}/noisy/1.png", "label": f"{phantoms}/clean/1.png"
    }  # fmt: skip
    assert len(datalist) == 4
