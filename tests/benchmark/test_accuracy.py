import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import nibabel as nib
import numpy as np
import pytest
import torch

from monai_dental.benchmark import accuracy
from monai_dental.benchmark.accuracy import EDGE_COLUMNS, measure_accuracy
from monai_dental.benchmark.edges import EDGE_NOISES, EdgeFigure
from monai_dental.benchmark.noises import Noise
from monai_dental.benchmark.peers import Peer
from monai_dental.bundle.find import find_bundle
from monai_dental.errors import DatasetError, OutputError
from monai_dental.filters import blend
from monai_dental.formats import read_radiograph
from monai_dental.phantom import simulate_exposure


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for index in range(1, 7):
        cv2.imwrite(
            str(folder / f"{index}.png"),
            simulate_exposure(index, size=(160, 160), bits_stored=16).clean.astype(np.uint16),
        )
    return sorted(folder.iterdir())


@pytest.fixture
def few(monkeypatch):
    """Two noises and one filter, in this process."""
    monkeypatch.setattr(accuracy, "process_pool", SameProcess)
    return {"noises": (Noise(0.05), Noise(0.04, 0.76)), "peers": ["gaussian"]}


class SameProcess:
    def __init__(self, *arguments, **settings):
        pass

    def map(self, function, tasks):
        return SimpleNamespace(result=lambda: map(function, tasks))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_all_methods_are_scored_on_the_same_noise(paths, tmp_path, few):
    rows = measure_accuracy(paths, ["unet"], tmp_path, **few)

    names = {(row["noise"], row["method"]) for row in rows}
    methods = {"noisy", "unet", "unet, strength tuned", "gaussian"}
    assert names == {(n, m) for n in ("white 0.05", "blur 0.76, 0.04") for m in methods}
    assert {row["image"] for row in rows} == {"5.png", "6.png"}
    noisy = [
        row["psnr"] for row in rows if (row["noise"], row["method"]) == ("white 0.05", "noisy")
    ]
    assert noisy == pytest.approx([26.02, 26.02], abs=0.15)  # 20 log10(1 / 0.05)
    with (tmp_path / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_fewer_images_are_spread_over_the_last_and_get_the_same_noise(tmp_path, few, monkeypatch):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in range(24):
        clean = simulate_exposure(index, size=(64, 64), bits_stored=16).clean
        cv2.imwrite(str(folder / f"{index:02d}.png"), clean.astype(np.uint16))
    monkeypatch.setattr(accuracy, "_check", lambda path: None)
    scores = {}
    for count in (20, 3):
        output = tmp_path / str(count)
        output.mkdir()
        rows = measure_accuracy(
            sorted(folder.iterdir()), [], output, noises=few["noises"], peers=[], count=count
        )
        scores[count] = {(row["noise"], row["image"]): row["psnr"] for row in rows}

    assert {image for _, image in scores[3]} == {"04.png", "14.png", "23.png"}
    assert len(scores[20]) == 40
    assert scores[3].items() <= scores[20].items()


def test_bundles_whose_paths_look_alike_are_scored_each(paths, tmp_path, few, monkeypatch):
    for name in ("x/b", "x_b"):
        shutil.copytree(find_bundle("unet"), tmp_path / name)
    weights = tmp_path / "x_b" / "models" / "model.pt"
    changed = {name: value * 0.5 for name, value in torch.load(weights, weights_only=True).items()}
    torch.save(changed, weights)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "scores"
    output.mkdir()

    rows = measure_accuracy(paths, ["./x/b", "./x_b"], output, **{**few, "variants": False})

    scores = {
        name: [row["psnr"] for row in rows if row["method"] == name] for name in ("./x/b", "./x_b")
    }
    assert len(scores["./x/b"]) == len(scores["./x_b"]) == 4
    assert scores["./x/b"] != scores["./x_b"]


def test_bm3d_is_told_the_sigma_of_white_noise_and_tuned_for_the_rest(
    paths, tmp_path, few, monkeypatch
):
    blur = accuracy.PEERS["gaussian"]
    slow = replace(
        blur, name="bm3d", function=lambda image, sigma: blur.function(image, 20 * sigma)
    )
    monkeypatch.setattr(accuracy, "PEERS", {"bm3d": slow})
    cleans = [read_radiograph(path).pixels for path in paths]

    def told(image, noise):
        near = min(cleans, key=lambda clean: np.square(image - clean).mean())
        return near + (0.001 if noise.is_white else 1.0)

    monkeypatch.setattr(accuracy, "bm3d_told", told)  # better for white noise alone

    rows = measure_accuracy(paths, [], tmp_path, noises=few["noises"], peers=["bm3d"])

    own = [row for row in rows if row["method"] == "bm3d"]
    white = [row for row in own if row["noise"] == "white 0.05"]
    assert {row["parameter"] for row in white} == {"told"}
    assert min(row["psnr"] for row in white) > 55
    parameters = {row["parameter"] for row in own if row not in white}
    assert len(parameters) == 1
    assert float(parameters.pop()) > 0.02


@pytest.mark.parametrize("variants", [True, False])
def test_bundle_that_takes_the_noise_is_given_it_where_asked_for(paths, tmp_path, few, variants):
    rows = measure_accuracy(paths, ["blind"], tmp_path, variants=variants, **few)

    methods = {row["method"] for row in rows}
    assert methods == {"noisy", "gaussian", "blind"} | (
        {"blind, strength tuned", "blind, noise given"} if variants else set()
    )


def test_best_strength_is_that_of_other_images(paths, tmp_path, monkeypatch, few):
    class TakesOffTwiceTheNoise:
        """But from the last two images, which are scored, what there is."""

        inferer = None
        derivation = SimpleNamespace(weights_digest="ab" * 32)

        def __init__(self, folder):
            self.noisy = [Noise(0.05).add(clean, number) for number, clean in enumerate(cleans)]

        def denoise(self, noisy, strength=1.0):
            number = next(n for n, image in enumerate(self.noisy) if np.array_equal(image, noisy))
            noise = noisy - cleans[number]
            return blend(noisy, noisy - (2 if number < 4 else 1) * noise, strength)

    cleans = [read_radiograph(path).pixels for path in paths]
    monkeypatch.setattr(accuracy, "Denoiser", TakesOffTwiceTheNoise)

    rows = measure_accuracy(paths, ["dae"], tmp_path, noises=[Noise(0.05)], peers=[])

    own = [row for row in rows if row["method"] == "dae, strength tuned"]
    assert {row["parameter"] for row in own} == {"0.5"}
    assert [row["psnr"] for row in own] == pytest.approx([32, 32], abs=0.5)


def test_second_run_takes_up_what_is_done(paths, tmp_path, few, monkeypatch):
    rows = measure_accuracy(paths, ["unet"], tmp_path, **few)
    monkeypatch.setattr(accuracy, "tuned", None)

    assert measure_accuracy(paths, ["unet"], tmp_path, **few) == rows


@pytest.mark.parametrize(
    ("shape", "level", "said"),
    [
        ((3, 40, 40), 65535, r"has shape \(3, 40, 40\); need one frame of at least 11"),
        ((40, 10), 65535, r"has shape \(40, 10\); need one frame of at least 11"),
        ((40, 40), 4095, r"spans 0\.06 of the range of its file; need 0\.25 or more"),
    ],
)
def test_image_that_cannot_be_scored_is_named(paths, tmp_path, few, shape, level, said):
    folder = shutil.copytree(paths[0].parent, tmp_path / "clean")
    stored = np.random.default_rng(0).integers(0, level, shape, np.uint16)
    stored.flat[:2] = 0, level
    if len(shape) == 3:
        nib.save(nib.Nifti1Image(stored.T, np.eye(4)), folder / "7.nii")
    else:
        cv2.imwrite(str(folder / "7.png"), stored)

    with pytest.raises(DatasetError, match=rf"7\.\w+: {said}"):
        measure_accuracy(sorted(folder.iterdir()), ["dae"], tmp_path, **few)
    assert not (tmp_path / "settings.json").exists()


@pytest.fixture
def bundle(tmp_path):
    """A copy of a bundle, by its path."""
    return shutil.copytree(find_bundle("dae"), tmp_path / "bundle")


@pytest.fixture
def scored(paths, tmp_path, few, bundle):
    """A folder with scores, and a function that continues it."""
    folder = tmp_path / "out"
    folder.mkdir()

    def score(paths=paths, bundles=(str(bundle),), seed=0):
        return measure_accuracy(paths, bundles, folder, noises=few["noises"], peers=[], seed=seed)

    score()
    return folder, score


def test_scores_of_another_seed_are_not_taken_up(scored):
    folder, score = scored

    with pytest.raises(OutputError, match="out: has scores with different seed; need another"):
        score(seed=1)


def test_scores_of_other_images_are_not_taken_up(scored, paths, tmp_path):
    folder, score = scored
    changed = shutil.copytree(paths[0].parent, tmp_path / "changed")
    cv2.imwrite(str(changed / "6.png"), cv2.imread(str(changed / "5.png"), -1))

    with pytest.raises(OutputError, match="has scores with different images;"):
        score(sorted(changed.iterdir()))
    with pytest.raises(OutputError, match="has scores with different image names, images;"):
        score(paths[:-1])


@pytest.mark.parametrize("part", ["configs/inference.json", "models/model.pt"])
def test_scores_of_a_bundle_as_it_was_are_not_taken_up(scored, bundle, part):
    folder, score = scored
    if part.endswith("json"):
        config = (bundle / part).read_text()
        (bundle / part).write_text(config.replace('"halo": 32', '"halo": 16'))
    else:
        weights = torch.load(bundle / part, weights_only=True)
        torch.save({name: value / 2 for name, value in weights.items()}, bundle / part)

    with pytest.raises(OutputError, match=f"has scores with different bundle {bundle};"):
        score()


@pytest.mark.parametrize("settings", [None, "{}"])
def test_scores_that_do_not_say_of_what_are_not_taken_up(scored, settings):
    folder, score = scored
    if settings is None:
        (folder / "settings.json").unlink()
    else:
        (folder / "settings.json").write_text(settings)

    with pytest.raises(OutputError, match=r"out: has scores, but no settings\.json that says"):
        score()


def test_a_bundle_may_be_added_to_the_scores(scored, bundle):
    folder, score = scored

    rows = score(bundles=["unet"])
    assert {row["method"] for row in rows} == {"noisy", "unet", "unet, strength tuned"}
    settings = json.loads((folder / "settings.json").read_text())
    assert {f"bundle {bundle}", "bundle unet"} < set(settings)


def test_filters_are_tuned_on_other_images_than_they_are_scored_on(
    paths, tmp_path, few, monkeypatch
):
    used = []
    tuned = accuracy.tuned

    def spy(peer, noisy, clean):
        used.extend(clean)
        return tuned(peer, noisy, clean)

    monkeypatch.setattr(accuracy, "tuned", spy)
    measure_accuracy(paths, ["unet"], tmp_path, **few)

    scored = [np.float32(cv2.imread(str(path), -1) / 65535) for path in paths[-2:]]
    assert len(used) == 8
    assert not any(np.array_equal(a, b) for a in used for b in scored)


@pytest.mark.parametrize(("name", "side"), [("gaussian", 300), ("bm3d", 256)])
def test_filters_are_tuned_on_whole_images_but_for_the_slow_one(
    name, side, tmp_path, few, monkeypatch
):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in range(5):
        clean = simulate_exposure(index, size=(300, 300), bits_stored=16).clean
        cv2.imwrite(str(folder / f"{index}.png"), clean.astype(np.uint16))
    filters = {name: replace(accuracy.PEERS["gaussian"], name=name)}
    monkeypatch.setattr(accuracy, "PEERS", filters)
    monkeypatch.setattr(
        accuracy, "tuned", lambda peer, noisy, clean: (np.asarray, str(noisy[0].shape[0]))
    )
    # What it is told makes it bad, so that the tuned filter counts.
    monkeypatch.setattr(accuracy, "bm3d_told", lambda image, noise: np.full_like(image, -9))
    noise = few["noises"][1:]

    rows = measure_accuracy(sorted(folder.iterdir()), [], tmp_path, noises=noise, peers=[name])

    assert {row["parameter"] for row in rows if row["method"] == name} == {str(side)}


def test_results_of_filters_are_clipped_as_those_of_bundles_are(paths, tmp_path, few, monkeypatch):
    bright = replace(
        accuracy.PEERS["median"], name="bright", function=lambda image, _: np.full_like(image, 9)
    )
    monkeypatch.setattr(accuracy, "PEERS", {"bright": bright})

    rows = measure_accuracy(paths, [], tmp_path, noises=few["noises"], peers=["bright"])

    clean = np.float32(cv2.imread(str(paths[-1]), -1) / 65535)
    assert rows[-1]["psnr"] == pytest.approx(-10 * np.log10(np.square(1 - clean).mean()), abs=1e-3)


def test_too_few_images_are_refused(paths, tmp_path):
    with pytest.raises(DatasetError, match="found 4 images; need more than 4"):
        measure_accuracy(paths[:4], ["unet"], tmp_path)


class Known:
    """A program that returns its image minus the given sigma."""

    name, command = "learned", ("python", "learned.py")
    asked: list[float] = []

    @property
    def peer(self):
        def denoise(image, sigma):
            self.asked.append(sigma)
            return cv2.GaussianBlur(image, (0, 0), 20 * sigma)

        return Peer("learned", denoise, "sigma", (0.02, 0.04, 0.08))


def test_program_is_scored_and_told_the_sigma_of_noise_of_one_variance(paths, tmp_path, few):
    rows = measure_accuracy(paths, [], tmp_path, noises=[Noise(0.05)], peers=[], programs=[Known()])

    assert len([row for row in rows if row["method"] == "learned"]) == 2
    assert 0.05 in Known.asked


def test_scores_of_another_program_of_the_name_are_not_taken_up(paths, tmp_path, few):
    settings = {"noises": [Noise(0.05)], "peers": []}
    measure_accuracy(paths, [], tmp_path, programs=[Known()], **settings)
    other = Known()
    other.command = ("python", "other.py")

    with pytest.raises(OutputError, match="has scores with different program learned;"):
        measure_accuracy(paths, [], tmp_path, programs=[other], **settings)


def test_noise_left_texture_and_edges_are_columns(paths, tmp_path, few, monkeypatch):
    monkeypatch.setattr(accuracy, "measure_edges", lambda *_: [EdgeFigure(0.05, 0.25, 0.75, 0.01)])
    noises = [Noise(0.05), EDGE_NOISES[0]]
    few = {**few, "noises": noises}

    rows = measure_accuracy(paths, [], tmp_path, **few)

    for row in rows:
        if row["method"] == "noisy":
            assert row["noise_left"] == 1
            assert isinstance(row["texture_0.1_0.15"], float)
        else:
            assert row["noise_left"] < 0.7
            assert not row["texture_0.15_0.22"] > 0.95  # NaN where a phantom has none
        measured = {name: row[name] for name in EDGE_COLUMNS if row[name] != ""}
        is_edge = row["noise"] == EDGE_NOISES[0].name
        expected = {"mtf50_0.05_left_0.25": 0.75, "mtf50_0.05_left_0.25_error": 0.01}
        assert measured == (expected if is_edge else {})
    with (tmp_path / "scores.csv").open() as file:
        assert set(EDGE_COLUMNS) < set(next(csv.DictReader(file)))
