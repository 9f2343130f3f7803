"""Measure a bundle's effect on diagnostic tasks, on simulated radiographs.

Lesions (proximal caries in bitewings, periapical lesions in periapical views) are added to the
material thicknesses of lesion-free phantoms, one on each tooth with room for it. All have the same
size, but the teeth differ. With and without lesions, each phantom is exposed at 400 photons per
pixel (full dose) and at 200, and stored with 12 bits; values are divided by 4095, data range 1. The
half-dose images are denoised. No bundle was trained on these phantoms, from number 10000 on.

    pip install -c constraints.txt -e '.[benchmark]'
    .venv/bin/python scripts/benchmarks/tasks.py --output results/benchmark_tasks

Lesions are detected by a channelized Hotelling observer that knows the place, cross-validated by
phantom. For faint lesions, with `known anatomy`, it also has the noise-free lesion-free image, so
it is limited only by noise and the changes that a method makes. For distinct ones, with `varying
anatomy`, it knows only the statistics of anatomy, which limit it more than noise does.

- `CNR`: of the difference from the noise-free lesion-free image; any blur improves it;
- `d'`, `AUC`: of an observer trained on the method's own images; `d' - half dose`: on the same
  exposures;
- `FPR`: fraction of lesion-free images that the observer trained on half-dose images calls
  positive, at the threshold that 10 % of those pass; above that of half dose, the method invents
  lesions.

Edges: the frequency at which the MTF of a slanted edge at mid-grey falls to 50 %, by contrast.
Residuals: their energy by strength, and their correlation with the edges of the noise-free image;
`true noise` is what a perfect denoiser removes. Filters are tuned at half dose, on other phantoms.

Standard errors are by leaving out one phantom (image) at a time, including training. Writes
`scores.csv`.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.lesions import (
    FULL_DOSE,
    REGIONS,
    VIEWS,
    Case,
    cut,
    draw_case,
    lesion_ratios,
)
from monai_dental.benchmark.observer import (
    Trials,
    channelize,
    compare,
    difference_of_gaussians,
    jackknife,
)
from monai_dental.benchmark.peers import PEERS, tune
from monai_dental.benchmark.sharpness import (
    compare_edges,
    edge_correlation,
    edge_spread,
    slanted_edge,
)
from monai_dental.bundle.find import PREFIX, find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.phantom.detector import Detector, DisplayCurve

Image = NDArray[np.float32]
Values = NDArray[np.float64]
Method = Callable[[Image], Image]

HALF = "half dose"
FIRST, TUNING = 10000, range(9000, 9004)
FILTERS = ("gaussian", "total_variation")  # for lesions and edges; BM3D is slow
ANATOMY = {"faint": "known anatomy", "distinct": "varying anatomy"}
CHANNEL_COUNT, LOWEST_CHANNEL, CHANNEL_RATIO = 6, 0.01, 1.6
EDGES = 48  # for each contrast
EDGE_SHAPE, EDGE_ANGLE, EDGE_MARGIN = (192, 160), math.radians(4.0), 24
EDGE_DETECTOR = Detector(photons=FULL_DOSE, blur=0.78, electronic_noise=0.00125, gain=1.0)
EDGE_CURVE = DisplayCurve(kind="log", black=0.9, white=0.09, gamma=1.0)
CONTRASTS = (0.05, 0.1, 0.2, 0.4)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
CROPS = 6  # for the residuals
TUNING_CROP, CROP = (slice(192, 320),) * 2, (slice(160, 352),) * 2


class Figure(NamedTuple):
    """One measured value with its standard error: a row of the CSV."""

    table: str
    case: str
    method: str
    measure: str
    value: float
    error: float


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="blind", help="name or ./folder (default: blind)")
    parser.add_argument("--output", type=Path, required=True, help="folder for scores.csv")
    parser.add_argument("--phantoms", type=int, default=24, help="of each view (default: 24)")
    parser.add_argument("--exposures", type=int, default=3, help="of each phantom (default: 3)")
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.bundle)
    denoiser = Denoiser(bundle)
    peers = tuned([*FILTERS, "bm3d"])
    name = bundle.name.removeprefix(PREFIX)
    every: dict[str, Method] = {
        name: denoiser.denoise,
        f"{name}, strength 0.5": partial(denoiser.denoise, strength=0.5),
        **peers,
    }
    methods = {name: method for name, method in every.items() if name != "bm3d"}
    parts = [
        partial(measure_lesions, kind, methods, arguments.phantoms, arguments.exposures)
        for kind in VIEWS
    ]
    parts.append(partial(measure_edges, methods))
    parts.append(partial(measure_residuals, denoiser, every))
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (arguments.output / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Figure._fields)
        for measure in parts:
            figures = measure()
            writer.writerows(figures)
            for table in dict.fromkeys(figure.table for figure in figures):
                print(f"\n{table_of(figures, table)}", flush=True)


def tuned(names: list[str]) -> dict[str, Method]:
    """Return filters with their best parameter at half dose, tuned on separate phantoms."""
    clean: list[Image] = []
    noisy: list[Image] = []
    for index in TUNING:
        case = draw_case(index, tuple(VIEWS)[index % 2]).halved()
        for images, seed in ((clean, None), (noisy, (index, 0, 1))):
            images.append(np.ascontiguousarray(case.expose("absent", seed)[TUNING_CROP]))
    found = {name: tune(PEERS[name], noisy, clean) for name in names}
    print("tuned:", ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
    return {name: partial(PEERS[name].denoise, parameter=value) for name, value in found.items()}


def measure_lesions(
    kind: str, methods: Mapping[str, Method], phantoms: int, exposures: int
) -> list[Figure]:
    """Return an observer's performance on lesions of a kind, by dose and method."""
    channels = difference_of_gaussians(
        REGIONS[kind], count=CHANNEL_COUNT, lowest=LOWEST_CHANNEL, ratio=CHANNEL_RATIO
    )
    outputs: dict[tuple[str, str], list[Image]] = defaultdict(list)  # by method and signal
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    known: list[Image] = []
    numbers: list[int] = []
    for index in range(FIRST, FIRST + phantoms):
        full = draw_case(index, kind)
        if not full.places:
            continue
        half, regions = full.halved(), partial(cut, places=full.places, side=REGIONS[kind])
        clean = {name: regions(full.expose(name)) for name in full.signals}
        for exposure, name in product(range(exposures), full.signals):
            noisy = half.expose(name, (index, exposure, 1))
            images = {"full dose": full.expose(name, (index, exposure, 0)), HALF: noisy}
            images |= {method: denoise(noisy) for method, denoise in methods.items()}
            for method, image in images.items():
                outputs[method, name].append(channelize(regions(image), channels))
                if name != "absent":
                    own = lesion_ratios(regions(image), clean["absent"], clean[name])
                    ratios[method, name] += own
        known += [channelize(clean["absent"], channels)] * exposures
        numbers += [index - FIRST] * len(full.places) * exposures
    groups = np.array(numbers)
    title = f"{kind}: {len(set(numbers))} phantoms, {len(numbers)} pairs"
    figures = []
    for name, anatomy in ANATOMY.items():
        shown = np.concatenate(known) if name == "faint" else np.float64(0)
        trials = {
            method: Trials(
                np.concatenate(outputs[method, "absent"]) - shown,
                np.concatenate(outputs[method, name]) - shown,
                groups,
            )
            for method in ("full dose", HALF, *methods)
        }
        for method, found in compare(trials, HALF).items():
            mean, error = jackknife(partial(mean_of, np.array(ratios[method, name])), groups)
            row = (title, f"{name}, {anatomy}", method)
            measures = {"CNR": (mean.item(), error.item()), **found}
            figures += [Figure(*row, measure, *pair) for measure, pair in measures.items()]
    return figures


def mean_of(values: Values, rows: NDArray[np.bool_]) -> Values:
    """Return the mean of some of the values, (1,)."""
    mean: Values = values[rows].mean(keepdims=True)
    return mean


def measure_edges(methods: Mapping[str, Method]) -> list[Figure]:
    """Return the frequency at which the MTF is 50 %, by contrast and method."""
    found = []
    within = (slice(EDGE_MARGIN, -EDGE_MARGIN),) * 2
    for case, contrast in enumerate(CONTRASTS):
        edge = 0.5 + contrast * (slanted_edge(EDGE_SHAPE, EDGE_ANGLE) - 0.5)
        edge[:12, :64], edge[:12, -64:] = 0, 1  # air and metal: full range
        signal = np.float32(EDGE_CURVE.black * (EDGE_CURVE.white / EDGE_CURVE.black) ** edge)
        scene = Case({"edge": signal}, EDGE_DETECTOR, EDGE_CURVE).halved()
        profiles: dict[str, list[Image]] = defaultdict(list)
        for number in range(EDGES):
            noisy = scene.expose("edge", (case, number))
            images = {HALF: noisy, **{name: each(noisy) for name, each in methods.items()}}
            for name, image in images.items():
                profiles[name].append(edge_spread(image[within], EDGE_ANGLE))
        means = {name: np.array(each) for name, each in profiles.items()}
        for name, values in compare_edges(means, HALF).items():
            row = (f"edges: {EDGES} of each contrast", f"contrast {contrast}", name)
            found += [Figure(*row, measure, *pair) for measure, pair in values.items()]
    return found


def measure_residuals(denoiser: Denoiser, methods: Mapping[str, Method]) -> list[Figure]:
    """Return the correlation of residuals with edges by method, and their energy by strength."""
    edges: dict[str, list[float]] = defaultdict(list)
    energies = []
    for index in range(FIRST, FIRST + CROPS):
        case = draw_case(index, tuple(VIEWS)[index % 2]).halved()
        clean, noisy = (case.expose("absent", seed)[CROP] for seed in (None, (index, 0, 1)))
        noisy = np.ascontiguousarray(noisy)
        edges["true noise"].append(edge_correlation(noisy - clean, clean))
        for name, method in methods.items():
            edges[name].append(edge_correlation(noisy - method(noisy), clean))
        energies.append(
            [float(np.square(noisy - denoiser.denoise(noisy, s)).mean()) for s in STRENGTHS]
        )
    own = next(iter(methods))
    rises = [float(np.all(np.diff(each) > 0)) for each in energies]
    columns = {f"{s:g}": [1e4 * each[n] for each in energies] for n, s in enumerate(STRENGTHS)}
    tables = {("residual energy by strength, 1e-4", own): {**columns, "rises": rises}}
    for name, values in edges.items():
        less = [own - other for own, other in zip(values, edges["bm3d"], strict=True)]
        tables["residuals on edges", name] = {"correlation": values, "less BM3D's": less}
    return [
        Figure(table, f"{CROPS} crops", name, measure, fmean(values), stdev(values) / CROPS**0.5)
        for (table, name), measures in tables.items()
        for measure, values in measures.items()
    ]


def table_of(figures: list[Figure], table: str) -> str:
    """Return a table as Markdown, value ± standard error."""
    own = [figure for figure in figures if figure.table == table]
    measures = list(dict.fromkeys(figure.measure for figure in own))
    lines = [f"**{table}**", "", "| | |" + "".join(f" {name} |" for name in measures)]
    lines.append("|---" * (len(measures) + 2) + "|")
    for case, method in dict.fromkeys((figure.case, figure.method) for figure in own):
        cells = [f for f in own if (f.case, f.method) == (case, method)]
        text = "".join(f" {f.value:.3f} ± {f.error:.3f} |" for f in cells)
        lines.append(f"| {case} | {method} |{text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
