import pytest
import torch

from monai_dental.errors import BundleError
from monai_dental.networks import DenoisingUNet
from monai_dental.noise.model import gaussian_kernel
from monai_dental.noise.octaves import octave_shares
from monai_dental.training.initial import start_from_two_channels

CPU = torch.device("cpu")


def networks():
    """Networks with octaves and with two channels as noise input, with random weights."""
    torch.manual_seed(0)
    made = [DenoisingUNet((8, 16), blocks=1, noise_channels=channels) for channels in (3, 2)]
    for network in made:
        torch.nn.init.normal_(network.last.weight, std=0.1)
    return made


@pytest.mark.parametrize("blur", [0.0, 0.8, 2.0])
def test_network_starts_nearly_as_the_other_was(blur, tmp_path):
    network, before = networks()
    torch.save(before.state_dict(), tmp_path / "before.pt")
    image = 0.02 * torch.rand(1, 1, 32, 32)  # so faint that what is told of the noise decides
    kernel = torch.ones(1, 1) if blur == 0 else gaussian_kernel(blur)
    kernel = kernel / kernel.square().sum().sqrt()
    neighbours = (kernel[:, 1:] * kernel[:, :-1]).sum()
    octaves = 0.05 * octave_shares(kernel).sqrt()[None, :, None, None].expand(1, 3, 32, 32)
    told = torch.stack([torch.tensor(0.05), 0.05 * neighbours])[None, :, None, None]
    expected = before(torch.cat([image, told.expand(1, 2, 32, 32)], dim=1)) - image
    random = network(torch.cat([image, octaves], dim=1)) - image

    other = DenoisingUNet((8, 16), blocks=1, noise_channels=2)
    start_from_two_channels(network, other, str(tmp_path / "before.pt"), CPU)

    error = network(torch.cat([image, octaves], dim=1)) - image - expected
    assert error.square().mean() < 0.15**2 * expected.square().mean()
    assert (random - expected).square().mean() > 0.5**2 * expected.square().mean()


def test_weights_of_another_network_are_refused(tmp_path):
    network, before = networks()
    torch.save({"first.weight": torch.zeros(8, 6, 3, 3)}, tmp_path / "other.pt")

    with pytest.raises(BundleError, match=r"other\.pt: these are not weights"):
        start_from_two_channels(network, before, str(tmp_path / "other.pt"), CPU)
