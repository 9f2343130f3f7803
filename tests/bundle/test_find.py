import json

import pytest
import torch

from monai_dental.bundle.find import (
    derivation_of,
    find_bundle,
    load_config,
    load_weights,
    read_metadata,
    shipped_bundles,
    weights_digest,
)
from monai_dental.errors import BundleError


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "my_bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    config = {"bundle_root": ".", "ckpt_path": "$@bundle_root + '/model.pt'", "native": False}
    (configs / "inference.json").write_text(json.dumps(config))
    (configs.parent / "model.pt").write_bytes(b"weights")
    return configs.parent


def test_shipped_bundle_is_found_by_both_its_names():
    assert find_bundle("dae") == find_bundle("dental_xray_denoising_dae")
    assert "dae" in shipped_bundles()


def test_bundle_is_found_by_its_folder(bundle):
    assert find_bundle(str(bundle)) == bundle


def test_folder_of_the_same_name_is_not_taken_for_a_shipped_bundle(bundle, monkeypatch):
    bundle.rename(bundle.with_name("dae"))
    monkeypatch.chdir(bundle.parent)

    assert find_bundle("dae").name == "dental_xray_denoising_dae"
    assert find_bundle("./dae") == bundle.with_name("dae")


def test_config_without_what_is_needed_is_refused(bundle):
    with pytest.raises(BundleError, match=r"inference\.json: lacks network, inferer, which"):
        load_config(bundle, "inference", {}, required=["network", "native", "inferer"])


def test_unknown_bundle_is_answered_with_the_known_ones():
    with pytest.raises(BundleError, match="dea: no such bundle; need the path of a .*: blind, dae"):
        find_bundle("dea")


def test_config_is_loaded_with_its_overrides(bundle):
    parser = load_config(bundle, "inference", {"native": True})

    assert parser.get_parsed_content("native") is True
    assert parser.get_parsed_content("ckpt_path") == f"{bundle}/model.pt"


def test_unknown_override_is_rejected(bundle):
    with pytest.raises(BundleError, match=r"inference\.json: has no nativ to override"):
        load_config(bundle, "inference", {"nativ": True})


def test_missing_weights_are_named(bundle):
    (bundle / "model.pt").unlink()

    with pytest.raises(BundleError, match=r"model\.pt: no weights here; train the bundle first"):
        load_config(bundle, "inference", {})


def test_missing_config_is_answered_with_those_there_are(bundle):
    with pytest.raises(
        BundleError, match=r"train\.json: no such config; this bundle has inference"
    ):
        load_config(bundle, "train", {})


def test_broken_config_is_named(bundle):
    (bundle / "configs" / "inference.json").write_text("{")

    with pytest.raises(BundleError, match=r"inference\.json: not a JSON config"):
        load_config(bundle, "inference", {})


def test_missing_metadata_is_named(bundle):
    (bundle / "configs" / "metadata.json").unlink()

    with pytest.raises(BundleError, match=r"metadata\.json: cannot be read as a bundle's metadata"):
        read_metadata(bundle)


def test_derivation_tells_bundle_version_and_weights(bundle):
    derivation = derivation_of(str(bundle), str(bundle / "model.pt"))

    assert derivation.model_name == "my_bundle"
    assert derivation.model_version == "1.2.3"
    # printf weights | sha256sum
    digest = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert derivation.weights_digest == weights_digest(str(bundle / "model.pt")) == digest


@pytest.fixture
def network():
    return torch.nn.Linear(2, 1)


def test_weights_are_those_of_the_file(network, tmp_path):
    weights = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
    torch.save(weights, tmp_path / "model.pt")

    load_weights(network, str(tmp_path / "model.pt"), torch.device("cpu"))

    assert network.weight.tolist() == [[1.0, 2.0]]
    assert network.bias.tolist() == [3.0]


def test_absent_weights_are_not_replaced_by_random_ones(network, tmp_path):
    with pytest.raises(BundleError, match=r"model\.pt: no weights here"):
        load_weights(network, str(tmp_path / "model.pt"), torch.device("cpu"))


@pytest.mark.parametrize(
    "content", [b"", b"no weights", b"hello", b"\x80\x02.", {"weight": torch.zeros(3)}, [1]]
)
def test_other_weights_are_refused(network, tmp_path, content):
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)

    with pytest.raises(BundleError, match="these are not weights of this bundle's network"):
        load_weights(network, str(path), torch.device("cpu"))
