import pytest
import torch
from monai.data import MetaTensor

from monai_dental.transforms import RandOrientationd, RandPatchesd


@pytest.fixture
def pair():
    """An image whose pixels encode their position, and its negative."""
    numbers = torch.arange(7 * 5, dtype=torch.float32).reshape(1, 7, 5)
    return {"image": MetaTensor(numbers), "label": MetaTensor(-numbers)}


def test_patches_are_plain_parts_of_the_image_the_same_of_each_key(pair):
    cut = RandPatchesd(["image", "label"], size=3, count=6).set_random_state(seed=0)

    patches = cut(pair)

    assert len(patches) == 6
    for patch in patches:
        image = patch["image"]
        assert type(image) is torch.Tensor
        assert image.shape == (1, 3, 3)
        top, left = divmod(int(image[0, 0, 0]), 5)
        assert torch.equal(image, pair["image"].as_tensor()[:, top : top + 3, left : left + 3])
        assert torch.equal(patch["label"], -image)
    assert len({patch["image"][0, 0, 0].item() for patch in patches}) > 1


def test_each_place_of_the_image_may_become_a_patch(pair):
    cut = RandPatchesd("image", size=3, count=300).set_random_state(seed=0)

    corners = {patch["image"][0, 0, 0].item() for patch in cut(pair)}

    assert corners == {5.0 * top + left for top in range(5) for left in range(3)}


def test_image_of_the_size_of_a_patch_is_one(pair):
    square = pair["image"][:, :5]

    (patch,) = RandPatchesd("image", size=5, count=1)({"image": square})

    assert torch.equal(patch["image"], square.as_tensor())


def test_patches_leave_other_entries_alone(pair):
    (patch,) = RandPatchesd("image", size=2, count=1)({**pair, "name": "a"})

    assert patch["name"] == "a"
    assert patch["label"] is pair["label"]


def test_orientations_are_the_eight_of_a_square_and_those_of_the_keys_alike(pair):
    square = {key: image[:, :5] for key, image in pair.items()}
    turn = RandOrientationd(["image", "label"]).set_random_state(seed=0)

    turned = [turn(square) for _ in range(100)]

    plain = square["image"].as_tensor()
    turns = [torch.rot90(plain, count, (-2, -1)) for count in range(4)]
    expected = {str(image) for image in (*turns, *(image.flip(-1) for image in turns))}
    assert len(expected) == 8
    assert {str(data["image"]) for data in turned} == expected
    for data in turned:
        assert torch.equal(data["label"], -data["image"])
        assert type(data["image"]) is torch.Tensor


@pytest.mark.parametrize(
    "transform", [RandPatchesd("image", size=2, count=4), RandOrientationd("image")]
)
def test_seed_determines_the_draw(transform, pair):
    square = {"image": pair["image"][:, :5]}

    def draws(seed):
        transform.set_random_state(seed=seed)
        return str([transform(square) for _ in range(8)])

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
