import pytest
import torch
from monai.data import MetaTensor

from monai_dental.inferers import AutocastInferer, TiledInferer
from monai_dental.networks import DenoisingAutoencoder
from monai_dental.precision import fastest_dtype


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DenoisingAutoencoder().eval()


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (20, 300), (150, 130), (131, 257)])
def test_tiles_keep_any_size(network, size):
    image = torch.rand(1, 1, *size)

    assert TiledInferer(tile_size=64)(image, network).shape == image.shape


def test_tiles_agree_with_the_whole_image(network):
    image = torch.rand(1, 1, 256, 256)

    with torch.no_grad():
        tiled = TiledInferer(tile_size=128, overlap=0.25, precision="float32")(image, network)
        whole = network(image)

    # Where tiles meet, the zero padding of their borders is faded out, not cut off.
    assert (tiled - whole).abs().max() < 0.02
    torch.testing.assert_close(tiled[..., :90, :90], whole[..., :90, :90], atol=2e-6, rtol=0)


def test_frames_go_through_the_network_one_by_one(network):
    frames = torch.rand(1, 3, 40, 40)
    inferer = TiledInferer(tile_size=64, precision="float32")

    with torch.no_grad():
        together = inferer(frames, network)
        alone = torch.cat([inferer(frames[:, i : i + 1], network) for i in range(3)], dim=1)

    torch.testing.assert_close(together, alone)


def test_bfloat16_is_close_and_comes_back_as_float32(network):
    image = MetaTensor(torch.rand(2, 1, 32, 32))

    with torch.no_grad():
        fast = AutocastInferer("bfloat16")(image, network)
        exact = AutocastInferer("float32")(image, network)

    assert fast.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(fast, exact, atol=0.01, rtol=0)
    assert not torch.equal(fast, exact)


def test_precision_of_another_name_is_refused():
    with pytest.raises(
        ValueError, match="precision is 'half'; need one of auto, float32, bfloat16"
    ):
        fastest_dtype(torch.device("cpu"), "half")


def test_automatic_precision_follows_the_processor(monkeypatch):
    for units, dtype in [({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units)
        assert fastest_dtype(torch.device("cpu")) == dtype
