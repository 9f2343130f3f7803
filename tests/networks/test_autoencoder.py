import pytest
import torch

from monai_dental.networks import DenoisingAutoencoder


def test_autoencoder_has_the_published_number_of_parameters():
    network = DenoisingAutoencoder()

    assert sum(parameter.numel() for parameter in network.parameters()) == 112_001


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (33, 47), (4, 5), (1, 1), (130, 66)])
def test_autoencoder_keeps_any_size(size):
    image = torch.rand(2, 1, *size)

    assert DenoisingAutoencoder()(image).shape == image.shape


def test_autoencoder_output_is_an_intensity():
    denoised = DenoisingAutoencoder()(10 * torch.randn(1, 1, 16, 16))

    assert 0 <= denoised.min() <= denoised.max() <= 1


def test_padding_does_not_change_what_lies_far_from_it():
    torch.manual_seed(0)
    network = DenoisingAutoencoder().eval()
    image = torch.rand(1, 1, 66, 66)

    with torch.no_grad():
        whole, cut = network(image), network(image[..., :64, :64])

    torch.testing.assert_close(whole[..., :48, :48], cut[..., :48, :48])


def test_weights_start_as_glorot_and_biases_at_zero():
    torch.manual_seed(0)
    layer = DenoisingAutoencoder().decoder[0]

    bound = (6 / (9 * (64 + 64))) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.99 * bound
    assert not layer.bias.any()
