"""The command `adapt`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import warnings
from collections.abc import Iterator

from monai_dental.bundle.find import DEFAULT_BUNDLE, find_bundle
from monai_dental.cli.arguments import Subparsers, path, positive
from monai_dental.cli.progress import advance, progress_bar
from monai_dental.process.terminal import printable


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "adapt",
        help="fine-tune a bundle on your own noisy images",
        description="Fine-tune a bundle on noisy radiographs from your own machine; no clean "
        "images are needed. The result is a new bundle: use it with denoise --bundle ./MY_BUNDLE. "
        "All images should come from one machine; use at least 20 if you can.",
    )
    command.set_defaults(command=adapt)
    command.add_argument("images", metavar="DIR", type=path, help="folder of noisy images")
    command.add_argument(
        "--bundle", metavar="NAME|DIR", default=DEFAULT_BUNDLE,
        help="the bundle to start from: one that comes with the package, or a bundle's folder, "
        "whose configs run as code (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="DIR", type=path, required=True,
        help="folder for the new bundle, empty or new",
    )  # fmt: skip
    command.add_argument(
        "--epochs", metavar="N", type=positive, help="number of epochs (default: the bundle's)"
    )


def adapt(arguments: argparse.Namespace) -> int:
    """Fine-tune a bundle on the user's own noisy images."""
    bundle = find_bundle(arguments.bundle)

    from monai_dental.formats.find import find_images
    from monai_dental.training.adapt import adapt, check_adaptable, usable_images

    check_adaptable(bundle, arguments.output)
    images, reasons = usable_images(find_images(arguments.images))
    for reason in reasons:
        print(printable(f"left out: {reason}"))
    with progress_bar("adapting", 0, unit="epoch") as progress, _quiet():
        result = adapt(
            bundle,
            images,
            arguments.output,
            max_epochs=arguments.epochs,
            progress=lambda epoch, epochs: advance(progress, epoch, epochs),
        )
    print(
        f"validation loss {result.loss_before:.6f} before, {result.loss_after:.6f} after; most of "
        "it is noise that no denoiser can predict"
    )
    if result.loss_after == result.loss_before:
        print("no epoch improved on the bundle's own weights; they are kept")
    print(printable(f"{result.image_count} images, {len(reasons)} left out: {arguments.output}"))
    return 1 if reasons else 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide MONAI's log lines and warnings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.disable(disabled)
