"""Score bundles and tuned filters on clean images with added noise."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import torch
from monai.metrics import SSIMMetric
from numpy.typing import NDArray

from monai_dental import __version__
from monai_dental.benchmark.bm3d import bm3d_told
from monai_dental.benchmark.edges import CONTRASTS, EDGE_NOISES, LEVELS, measure_edges
from monai_dental.benchmark.measures import TEXTURE_BANDS, noise_left, texture_kept
from monai_dental.benchmark.noises import NOISES, Noise
from monai_dental.benchmark.peers import PEERS, Peer, tuned
from monai_dental.benchmark.programs import Program
from monai_dental.benchmark.stabilize import denoise_stabilized
from monai_dental.bundle.find import find_bundle
from monai_dental.errors import DatasetError, OutputError
from monai_dental.files.atomic import write_atomically
from monai_dental.filters import blend
from monai_dental.formats import read_radiograph
from monai_dental.formats.opencv import write_png
from monai_dental.inference.denoiser import Denoiser
from monai_dental.inference.inferers import NoiseAwareInferer
from monai_dental.metrics import psnr
from monai_dental.process.pool import process_pool
from monai_dental.training.datalists import digest_of_images

Image = NDArray[np.float32]
Row = dict[str, str | float]
_Maker = Callable[["Data", "Noise"], tuple[Callable[[Image], Image], str]]

TEST_COUNT, TUNING_COUNT, TUNING_SIZE = 20, 4, 256
SMALLEST_SIDE, SMALLEST_SPAN = 11, 0.25  # the window of SSIM; of the range
EDGE_COLUMN = "mtf50_{:g}_left_{:g}"  # contrast of the edge, fraction of the noise left
EDGE_COLUMNS = tuple(
    f"{EDGE_COLUMN.format(contrast, level)}{end}"
    for contrast, level, end in product(CONTRASTS, LEVELS, ("", "_error"))
)
SIGMA_FACTORS = (0.7, 1.4, 2.8)  # of the true sigma: the search for the best one begins there
STRENGTHS = tuple(percent / 100 for percent in range(50, 101, 5))


@dataclass(frozen=True)
class Data:
    """Clean images and the folder for the scores.

    Attributes:
        tuning: Images to tune methods on.
        last: Images that can be scored.
        test: Those of them that are scored.
        output_dir: Folder for the scores.
        seed: Seed of the noise.
    """

    tuning: tuple[Path, ...]
    last: tuple[Path, ...]
    test: tuple[Path, ...]
    output_dir: Path
    seed: int

    def noisy(self, path: Path, noise: Noise) -> tuple[Image, Image]:
        """Return an image with and without noise; the noise differs between images.

        It does not depend on which images are scored.
        """
        clean = read_radiograph(path).pixels
        number = (*self.tuning, *self.last).index(path)
        return noise.add(clean, 1000 * self.seed + number), clean


def measure_accuracy(
    paths: Sequence[Path],
    bundles: Sequence[str],
    output_dir: Path,
    *,
    noises: Sequence[Noise] = NOISES,
    peers: Collection[str] = tuple(PEERS),
    programs: Sequence[Program] = (),
    variants: bool = True,
    count: int = TEST_COUNT,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Score bundles and filters on clean images with added noise.

    The last images, at most 20, are denoised at full size. Four others serve for tuning: of the
    filters, BM3D and the programs on the central 256 × 256 pixels, and of the bundles' strength.
    BM3D and the programs either are given the true noise (BM3D its spectrum; both stabilized to one
    variance) or use the best sigma of white noise, whichever is better on the four images. All
    methods get the same noisy images, not clipped; their results are clipped to [0, 1]. Bundles run
    through `Denoiser`. At `EDGE_NOISES`, faint edges are denoised as well; their columns are the
    same for all images.

    Finished work is not repeated: each method's scores at one noise are stored in a file in the
    folder. Its `settings.json` records what was scored; bundles may be added later.

    Args:
        paths: At least 5 clean images, in order; the bundles must not have been trained on them.
        bundles: Names or folders.
        output_dir: Existing folder for the scores.
        noises: Noises to add.
        peers: Names of the filters, from `PEERS`.
        programs: Denoisers that run in other environments.
        variants: Whether to run bundles also at the strength that is best on the four images, and
            noise-aware bundles also with the true noise.
        count: Number of images to score: with fewer than 20, evenly spaced ones of the last 20.
        seed: Seed of the noise.
        jobs: Number of processes.
        progress: Called with the numbers of finished and of all tasks.

    Returns:
        A row for each noise, method and image, also written to `scores.csv`.

    Raises:
        DatasetError: There are too few images, or one has several frames, is too small, or has too
            little contrast for noise given as a fraction of the range.
        MonaiDentalError: An image cannot be read.
        BundleError: A bundle is not found or incomplete.
        OutputError: The folder holds scores of other images, bundles, seeds or versions, or scores
            without a `settings.json`.
    """
    data = _split(paths, output_dir, seed, count)
    for path in (*data.tuning, *data.test):
        _check(path)
    settings = _settings(data, bundles)
    settings |= {f"program {each.name}": shlex.join(each.command) for each in programs}
    _settle(output_dir, settings)
    makers = _makers(bundles, peers, variants=variants)
    makers |= {program.name: partial(_told_or_tuned, program.peer) for program in programs}
    tasks = [_Task(data, noise, name, make) for name, make in makers.items() for noise in noises]
    rows: list[Row] = []
    with process_pool(jobs, torch.set_num_threads, 1) as pool:
        for done, part in enumerate(pool.map(_score, tasks).result(), 1):
            rows += part
            if progress is not None:
                progress(done, len(tasks))
    stream = StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(output_dir / "scores.csv", stream.getvalue().encode())
    return rows


def write_examples(
    paths: Sequence[Path],
    bundle: str,
    output_dir: Path,
    *,
    noises: Sequence[Noise] = NOISES,
    seed: int = 0,
) -> None:
    """Write the first image that `measure_accuracy` scores at each noise, for `write_report`.

    Args:
        paths: See `measure_accuracy`.
        bundle: Name or folder.
        output_dir: Folder for `clean/`, `noisy/` and `denoised/`: 16-bit PNG files, clipped to [0,
            1].
        noises: See `measure_accuracy`.
        seed: See `measure_accuracy`.

    Raises:
        DatasetError: There are too few images.
        BundleError: The bundle is not found or incomplete.
        OutputError: A file cannot be written.
    """
    data = _split(paths, output_dir, seed)
    denoiser = Denoiser(find_bundle(bundle))
    for noise in noises:
        noisy, clean = data.noisy(data.test[0], noise)
        pictures = {"clean": clean, "noisy": noisy, "denoised": denoiser.denoise(noisy)}
        for kind, picture in pictures.items():
            (output_dir / kind).mkdir(parents=True, exist_ok=True)
            write_png(output_dir / kind / f"{noise.name}.png", picture)


def _split(paths: Sequence[Path], output_dir: Path, seed: int, count: int = TEST_COUNT) -> Data:
    if len(paths) <= TUNING_COUNT:
        raise DatasetError(f"found {len(paths)} images; need more than {TUNING_COUNT}")
    test = min(TEST_COUNT, len(paths) - TUNING_COUNT)
    places = np.linspace(0, len(paths) - test - 1, TUNING_COUNT).round().astype(int)
    scored = np.linspace(len(paths) - test, len(paths) - 1, min(count, test)).round().astype(int)
    tuning, test_paths = (tuple(paths[place] for place in each) for each in (places, scored))
    return Data(tuning, tuple(paths[-test:]), test_paths, output_dir, seed)


def _check(path: Path) -> None:
    """Check that an image can be scored.

    Raises:
        DatasetError: It cannot be scored.
        MonaiDentalError: It cannot be read.
    """
    pixels = read_radiograph(path).pixels
    if pixels.ndim != 2 or min(pixels.shape) < SMALLEST_SIDE:
        raise DatasetError(
            f"{path}: has shape {pixels.shape}; need one frame of at least {SMALLEST_SIDE} pixels "
            "in both directions"
        )
    if (span := float(np.ptp(pixels))) < SMALLEST_SPAN:
        raise DatasetError(
            f"{path}: spans {span:.2f} of the range of its file; need {SMALLEST_SPAN:g} or more, "
            "as the added noise is given as a fraction of that range"
        )


def _settings(data: Data, bundles: Sequence[str]) -> dict[str, str | int]:
    """Return the settings that the scores depend on, by name."""
    paths = (*data.tuning, *data.test)
    parts: dict[str, str | int] = {
        "version": __version__,
        "seed": data.seed,
        "image names": ", ".join(path.name for path in paths),
        "images": digest_of_images([{"image": str(path)} for path in paths]),
    }
    return parts | {f"bundle {bundle}": _digest_of(find_bundle(bundle)) for bundle in bundles}


def _digest_of(bundle: Path) -> str:
    """Return a digest of the inference config and weights that `Denoiser` reads from a bundle."""
    config = (bundle / "configs" / "inference.json").read_bytes()
    weights = Denoiser(bundle).derivation.weights_digest
    return hashlib.sha256(config + weights.encode()).hexdigest()


def _settle(folder: Path, settings: dict[str, str | int]) -> None:
    """Write the settings of the scores to a folder, or check that they match an earlier run's.

    Raises:
        OutputError: They do not match, or the folder has scores but no settings.
    """
    path = folder / "settings.json"
    advice = "need another output folder"
    earlier: dict[str, str | int] = {}
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
    if not earlier and any(file != path for file in folder.glob("*.json")):
        raise OutputError(
            f"{folder}: has scores, but no settings.json that says what was scored; {advice}"
        )
    others = [name for name, value in settings.items() if earlier.get(name, value) != value]
    if others:
        raise OutputError(f"{folder}: has scores with different {', '.join(others)}; {advice}")
    write_atomically(path, json.dumps(earlier | settings, indent=1).encode())


@dataclass(frozen=True)
class _Task:
    data: Data
    noise: Noise
    method: str
    make: _Maker


def _makers(bundles: Sequence[str], peers: Collection[str], *, variants: bool) -> dict[str, _Maker]:
    makers: dict[str, _Maker] = {"noisy": _nothing}
    for bundle in bundles:
        folder = find_bundle(bundle)
        makers[bundle] = partial(_bundle, folder)
        if variants:
            makers[f"{bundle}, strength tuned"] = partial(_bundle_at_best_strength, folder)
        if variants and isinstance(Denoiser(folder).inferer, NoiseAwareInferer):
            makers[f"{bundle}, noise given"] = partial(_bundle_with_noise, folder)
    return makers | {name: partial(_filter, name) for name in peers}


def _score(task: _Task) -> list[Row]:
    """Return a method's scores at one noise, read from an earlier run if it has them."""
    done = task.data.output_dir / f"{task.noise.name}, {_file_stem(task.method)}.json"
    if done.is_file():
        rows: list[Row] = json.loads(done.read_text(encoding="utf-8"))
        return rows
    denoise, parameter = task.make(task.data, task.noise)
    edges = _edges(denoise, task)
    ssim = SSIMMetric(spatial_dims=2, data_range=1.0, win_size=11, kernel_sigma=1.5)
    rows = []
    for path in task.data.test:
        noisy, clean = task.data.noisy(path, task.noise)
        result = denoise(noisy)
        pair = (torch.from_numpy(np.ascontiguousarray(x))[None, None] for x in (result, clean))
        rows.append({
            "noise": task.noise.name, "method": task.method, "image": path.name,
            "psnr": psnr(result, clean, 1.0), "psnr_data_range": 1,
            "ssim": float(torch.as_tensor(ssim(*pair))),
            "noise_left": noise_left(noisy, result, clean),
            **{
                f"texture_{low:g}_{high:g}": texture_kept(result, clean, (low, high))
                for low, high in TEXTURE_BANDS
            },
            **edges,
            "parameter": parameter,
        })  # fmt: skip
    write_atomically(done, json.dumps(rows).encode())
    return rows


def _file_stem(method: str) -> str:
    """Return a file name for a method, with a digest if the method's name is a path."""
    if "/" not in method:
        return method
    digest = hashlib.sha256(method.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{Path(method).name} {digest}"


def _nothing(data: Data, noise: Noise) -> tuple[Callable[[Image], Image], str]:
    return np.asarray, ""


def _bundle(folder: Path, data: Data, noise: Noise) -> tuple[Callable[[Image], Image], str]:
    return Denoiser(folder).denoise, ""


def _bundle_at_best_strength(
    folder: Path, data: Data, noise: Noise
) -> tuple[Callable[[Image], Image], str]:
    denoiser = Denoiser(folder)
    scores = dict.fromkeys(STRENGTHS, 0.0)
    for path in data.tuning:
        noisy, clean = data.noisy(path, noise)
        denoised = denoiser.denoise(noisy)
        for strength in STRENGTHS:
            scores[strength] += psnr(blend(noisy, denoised, strength), clean, 1.0)
    best = max(STRENGTHS, key=scores.__getitem__)
    return partial(denoiser.denoise, strength=best), f"{best:g}"


def _bundle_with_noise(
    folder: Path, data: Data, noise: Noise
) -> tuple[Callable[[Image], Image], str]:
    denoiser = Denoiser(folder)

    def denoise(noisy: Image) -> Image:
        # The bundle scales each image by the image's own range.
        denoiser.inferer.noise = noise.model(float(noisy.min()), float(np.ptp(noisy)))
        return denoiser.denoise(noisy)

    return denoise, ""


def _filter(name: str, data: Data, noise: Noise) -> tuple[Callable[[Image], Image], str]:
    peer = PEERS[name]
    if name == "bm3d":
        return _told_or_tuned(peer, data, noise)
    noisy, clean = zip(*(data.noisy(path, noise) for path in data.tuning), strict=True)
    denoise, parameter = tuned(peer, noisy, clean)
    return _clipped(denoise), parameter


def _told_or_tuned(peer: Peer, data: Data, noise: Noise) -> tuple[Callable[[Image], Image], str]:
    """Return a slow filter for white noise, given the noise or tuned, whichever is better."""
    crops = [
        [center(image, TUNING_SIZE) for image in data.noisy(path, noise)] for path in data.tuning
    ]
    noisy, clean = zip(*crops, strict=True)
    grid = tuple(factor * noise.sigma for factor in SIGMA_FACTORS)
    denoise, parameter = tuned(replace(peer, grid=grid), noisy, clean)
    told = partial(bm3d_told, noise=noise)
    if peer.name != "bm3d":
        told = partial(denoise_stabilized, peer.denoise, noise=noise)
    scores = [statistics.fmean(psnr(f(n), c, 1.0) for n, c in crops) for f in (told, denoise)]
    return (_clipped(told), "told") if scores[0] >= scores[1] else (_clipped(denoise), parameter)


def _clipped(denoise: Callable[[Image], Image]) -> Callable[[Image], Image]:
    # As the bundles do: parts of some images are white.
    return lambda image: denoise(image).clip(0, 1)


def _edges(denoise: Callable[[Image], Image], task: _Task) -> dict[str, float | str]:
    """Return the sharpness of edges at equal noise left, by column; "" at other noises."""
    is_measured = task.noise in EDGE_NOISES
    found: dict[str, float | str] = {}
    for figure in measure_edges(denoise, task.noise, task.data.seed) if is_measured else ():
        name = EDGE_COLUMN.format(figure.contrast, figure.level)
        found |= {name: figure.ratio, f"{name}_error": figure.error}
    return {name: found.get(name, "") for name in EDGE_COLUMNS}


def center(image: Image, side: int) -> Image:
    """Return the central square of an image, or all of it in a direction that is shorter."""
    top, left = (max(length - side, 0) // 2 for length in image.shape)
    return np.ascontiguousarray(image[top : top + side, left : left + side])
