"""Paired differences of the methods that `measure_accuracy` scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai_dental.benchmark.accuracy import Row
from monai_dental.benchmark.paired import Difference, compare_methods
from monai_dental.benchmark.scores import Score

SIGNIFICANT = 0.05


def compare_accuracy(
    rows: Sequence[Row], reference: str, patients: Mapping[str, str]
) -> list[Difference]:
    """Compare each method with a reference at each noise; see `compare_methods`.

    Args:
        rows: As `measure_accuracy` returns them.
        reference: The method that the others are compared with.
        patients: The patient of each image, by its name; an image that is missing here counts as
            its own patient.

    Returns:
        One difference for each noise (stored as the protocol), measure and method.
    """
    numbers: dict[tuple[str, str], int] = {}
    scores = []
    for row in rows:
        noise, method, image = str(row["noise"]), str(row["method"]), str(row["image"])
        # Images in different folders may share a name; their order is the same for each method.
        number = numbers[noise, method] = numbers.get((noise, method), 0) + 1
        scores.append(
            Score(
                noise, method, image, float(row["psnr"]), float(row["psnr_data_range"]),
                float(row["ssim"]), str(number), patients.get(image, f"image {number}"),
            )
        )  # fmt: skip
    return compare_methods(scores, reference)


def format_accuracy_differences(differences: Sequence[Difference]) -> str:
    """Return a Markdown table of the differences of PSNR, by noise and method."""
    own = [each for each in differences if each.metric == "psnr"]
    noises, methods = (
        list(dict.fromkeys(getattr(each, key) for each in own)) for key in ("protocol", "method")
    )
    cells = {
        (each.method, each.protocol): f"{each.mean:+.2f} [{each.low:+.2f}, {each.high:+.2f}]"
        f"{' *' if each.p_holm < SIGNIFICANT else ''}"
        for each in own
    }
    lines = [f"| PSNR dB minus that of {own[0].reference} | " + " | ".join(noises) + " |"]
    lines += ["|---" * (len(noises) + 1) + "|"]
    lines += [
        f"| {method} | " + " | ".join(cells.get((method, noise), "–") for noise in noises) + " |"
        for method in methods
    ]
    lines += [
        "",
        f"95% confidence interval by a bootstrap over {own[0].patients} patients; * p < "
        f"{SIGNIFICANT:g} by a paired sign-flip test, corrected for the number of methods (Holm).",
    ]
    return "\n".join(lines)
