"""A shipped config read without MONAI gives exactly the same results as MONAI's parser."""

import shutil

import numpy as np
import pytest

from monai_dental.bundle.find import find_bundle, is_shipped_config
from monai_dental.bundle.plain import PlainConfig
from monai_dental.inference.denoiser import Denoiser

CONFIGS = [
    ("blind", "inference"), ("unet", "inference"), ("dae", "inference"), ("dae", "inference_median")
]  # fmt: skip


@pytest.fixture
def changed_copy(tmp_path):
    """Factory of copies of a bundle whose configs differ from the shipped ones by a line's end."""

    def make(bundle):
        source = find_bundle(bundle)
        copy = shutil.copytree(source, tmp_path / source.name)
        for path in (copy / "configs").glob("inference*.json"):
            path.write_bytes(path.read_bytes() + b"\n")
        return copy

    return make


@pytest.mark.parametrize(("bundle", "config"), CONFIGS)
@pytest.mark.parametrize("shape", [(75, 91), (2, 40, 33)])
def test_pixels_and_record_are_those_of_the_configs_path(bundle, config, shape, changed_copy):
    rows = np.linspace(0.1, 0.6, shape[-2])[:, None]
    pixels = rows + np.random.default_rng(0).normal(0, 0.05, shape)
    copy = changed_copy(bundle)
    assert is_shipped_config(find_bundle(bundle) / "configs" / f"{config}.json")
    assert not is_shipped_config(copy / "configs" / f"{config}.json")

    plain = Denoiser(find_bundle(bundle), config, device="cpu")
    by_monai = Denoiser(copy, config, device="cpu")

    assert type(plain.inferer) is type(by_monai.inferer)
    np.testing.assert_array_equal(plain.network_result(pixels), by_monai.network_result(pixels))
    if config == "inference":  # the median filter's digest is that of its config
        assert plain.derivation_at(0.5) == by_monai.derivation_at(0.5)


def test_another_config_is_left_to_monai(changed_copy):
    with pytest.raises(ValueError, match=r"inference\.json: not a config of this package"):
        PlainConfig(changed_copy("dae"), "inference", {})
