"""Scores of denoising methods: one CSV row per image, and tables of them.

There are two protocols. The *honest* one scores against the clean image, with PSNR at data range 1.
The *published* one scores against the noisy image, with a peak of 255 on images in [0, 1], and
gives the median filter the clean image; by it, a method that returns its input looks best.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from torch import Tensor

from monai_dental.errors import DatasetError
from monai_dental.files.atomic import write_atomically
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.training.datalists import patient_of
from monai_dental.training.distributed import outputs_of

PUBLISHED_PEAK = 255.0

METHOD_TITLES = {
    "noisy": "noisy image",
    "dae": "DAE, trained noisy -> clean",
    "dae_noisy_target": "DAE, trained noisy -> noisy",
    "blind": "blind U-Net, trained on clean images",
    "unet": "U-Net, trained on noisy images alone",
    "unet_identity_target": "U-Net, trained to return its input",
    "unet_neighbor2neighbor": "U-Net, Neighbor2Neighbor",
    "unet_ssim_loss": "U-Net, SSIM loss",
    "unet_supervised": "U-Net, trained on clean targets",
    "median": "median filter 5 x 5",
}
"""Titles of the methods in the tables, in their order."""

_CAPTIONS = {
    "honest": (
        "Honest protocol: scored against the clean image; the median filter gets the noisy image."
    ),
    "published": (
        "Published protocol: scored against the noisy image; the median filter gets the clean\n"
        "image; a peak of 255 on images in [0, 1] adds 48.13 dB."
    ),
}
_SSIM_NOTE = "SSIM: MONAI, Gaussian window of 11 x 11 pixels, sigma 1.5."
_IMAGES_NOTE = "Not all were scored on the same images; each table covers one set of images."


@dataclass(frozen=True)
class Score:
    """Score of one method on one image by one protocol.

    Attributes:
        protocol: "honest" or "published".
        method: A key of `METHOD_TITLES`, or another name.
        image: Path of the image, relative to the folder that holds all images.
        psnr: In dB, with a peak of `psnr_data_range`.
        psnr_data_range: 1, or 255 by the published protocol; the images are in [0, 1] in both
            cases.
        ssim: Structural similarity, with a data range of 1.
        digest: Digest of the shapes and pixels of the noisy and the clean image.
        patient: A number that distinguishes the patients within one evaluation; "" if unknown.
    """

    protocol: str
    method: str
    image: str
    psnr: float
    psnr_data_range: float
    ssim: float
    digest: str
    patient: str = ""


class ScoresWriter:
    """Write the details of an evaluator's metrics as one CSV row per image.

    The metrics are named `<protocol>.<method>.psnr` and `….ssim`; the method "model" is written as
    the given `method`.

    Args:
        path: The CSV file; an existing one is replaced.
        method: Name of the model.
        datalist: The images, in the order of evaluation.
    """

    def __init__(self, path: str, method: str, datalist: Sequence[dict[str, str]]) -> None:
        self.path = Path(path)
        self.method = method
        paths = [Path(item["image"]) for item in datalist]
        root = os.path.commonpath([path.parent for path in paths])
        self.images = [path.relative_to(root).as_posix() for path in paths]
        numbers: dict[str, str] = {}
        self.patients = [
            numbers.setdefault(patient_of(str(path)), str(len(numbers) + 1)) for path in paths
        ]
        self.digests: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self.digests.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_images)
        engine.add_event_handler(Events.COMPLETED, self)

    def add_images(self, engine: Engine) -> None:
        """Record the digests of the images of this iteration."""
        self.digests += [_digest_of(each["image"], each["label"]) for each in outputs_of(engine)]

    def __call__(self, engine: Engine) -> None:
        """Write the file."""
        state: Any = engine.state
        details = {name: values.flatten().tolist() for name, values in state.metric_details.items()}
        names = [name.removesuffix(".psnr") for name in details if name.endswith(".psnr")]
        scores = []
        for name in sorted(names):
            protocol, method = name.split(".")
            peak = PUBLISHED_PEAK if protocol == "published" else 1.0
            title = self.method if method == "model" else method
            measured = (details[f"{name}.psnr"], details[f"{name}.ssim"])
            scores += [
                Score(protocol, title, image, psnr, peak, ssim, digest, patient)
                for image, psnr, ssim, digest, patient in zip(
                    self.images, *measured, self.digests, self.patients, strict=True
                )
            ]
        write_scores(scores, self.path)


def _digest_of(*images: Tensor) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(str(tuple(image.shape)).encode())
        digest.update(np.ascontiguousarray(image.cpu().numpy()).data)
    return digest.hexdigest()[:16]


def write_scores(scores: Iterable[Any], path: Path, kind: type = Score) -> None:
    """Write scores to a CSV file whose first line holds the field names.

    Args:
        scores: Instances of `kind`.
        path: The file; its folder is created.
        kind: A dataclass.

    Raises:
        OutputError: The file or its folder cannot be written.
    """
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(field.name for field in fields(kind))
    writer.writerows(astuple(score) for score in scores)
    prepare_output_folder(path.parent, overwrite=True)
    write_atomically(path, stream.getvalue().encode())


def read_scores(folders: Iterable[Path]) -> list[Score]:
    """Read the `scores.csv` files of evaluations.

    Args:
        folders: Output folders of `evaluating` runs. If several of them scored a method on the same
            image, such as the median filter, the first one counts.

    Returns:
        The scores, in the order of the folders.

    Raises:
        DatasetError: A folder holds no scores, or those of an older version.
    """
    seen: dict[tuple[str, ...], Score] = {}
    for folder in folders:
        path = folder / "scores.csv"
        if not path.is_file():
            raise DatasetError(f"{path}: no scores here; need the output folder of an evaluation")
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if "digest" not in row:
                        raise DatasetError(f"{path}: it does not name its images; evaluate again")
                    score = Score(
                        row["protocol"], row["method"], row["image"],
                        float(row["psnr"]), float(row["psnr_data_range"]), float(row["ssim"]),
                        row["digest"], row.get("patient") or "",
                    )  # fmt: skip
                    seen.setdefault((score.protocol, score.method, *_image(score)), score)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise DatasetError(f"{path}: these are not the scores of an evaluation") from error
    return list(seen.values())


def _image(score: Score) -> tuple[str, str]:
    return score.image, score.digest


def format_scores(folders: Sequence[str]) -> str:
    """Return tables of the mean ± standard deviation over the images.

    There is one table for each protocol and set of images that an evaluation scored. It includes
    each method that was scored on all of these images, in whichever evaluation, and no other
    images.

    Args:
        folders: Output folders of `evaluating` runs.

    Raises:
        DatasetError: A folder holds no scores, or those of an older version.
    """
    evaluations = [read_scores([Path(folder)]) for folder in folders]
    scores = read_scores(Path(folder) for folder in folders)
    given = dict.fromkeys(
        (protocol, frozenset(_image(score) for score in own if score.protocol == protocol))
        for protocol in _CAPTIONS
        for own in evaluations
    )
    tables = [_format_table(*each, scores) for each in given if each[1]]
    differ = len({images for _, images in given if images}) > 1
    return "\n\n".join([*tables, "\n".join([_IMAGES_NOTE] * differ + [_SSIM_NOTE])])


def _format_table(
    protocol: str, images: frozenset[tuple[str, str]], scores: Sequence[Score]
) -> str:
    own = [s for s in scores if s.protocol == protocol and _image(s) in images]
    methods = list(dict.fromkeys([*METHOD_TITLES, *(score.method for score in own)]))
    header = [f"{len(images)} images, mean ± sd"]
    if protocol == "published":
        header.append("PSNR 'dB' (peak 255)")
    header += ["PSNR dB (data range 1)", "SSIM (data range 1)"]
    rows = [header]
    for method in methods:
        chosen = [score for score in own if score.method == method]
        if len(chosen) < len(images):
            continue
        row = [METHOD_TITLES.get(method, method)]
        if protocol == "published":
            row.append(_mean_sd([s.psnr for s in chosen], 2))
        row.append(_mean_sd([s.psnr - 20 * math.log10(s.psnr_data_range) for s in chosen], 2))
        rows.append([*row, _mean_sd([s.ssim for s in chosen], 3)])
    return "\n".join([_CAPTIONS[protocol], *aligned(rows)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table for a terminal; only the first column is flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _mean_sd(values: Sequence[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"
