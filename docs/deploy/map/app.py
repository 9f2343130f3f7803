"""MONAI Deploy application: a study's folder in, derived instances of its dental radiographs out.

python app.py --input DIR_OF_DICOM --output DIR     (docs/map.md)
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import (
    AppContext,
    Application,
    Fragment,
    Operator,
    OperatorSpec,
    init_app_context,
)

from monai_dental import Denoiser, Radiograph, find_bundle, write_radiograph
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.dicom.record import is_own
from monai_dental.dicom.select import read_rules, reason_to_skip
from monai_dental.errors import (
    BundleError,
    ColourImageError,
    DatasetError,
    MonaiDentalError,
    UnsupportedImageError,
    unexpected,
)

LOGGER = logging.getLogger("monai_dental.map")


class RadiographLoader(Operator):  # type: ignore[misc]
    """Reads one dental radiograph a call; passes over what is none, with a line in the log.

    Named output:
        radiograph: (path below the input folder, `Radiograph`).
    """

    def __init__(self, fragment: Fragment, *conditions: Any, folder: Path, **options: Any) -> None:
        self.folder, self.rules = folder, read_rules()
        self.paths = iter(sorted(path for path in folder.rglob("*") if path.is_file()))
        super().__init__(fragment, *conditions, **options)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.output("radiograph")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Read the next file."""
        path = next(self.paths)
        try:
            radiograph = self._read(path)
        except ColourImageError as error:
            LOGGER.info("%s: skipped: %s", path, str(error).removeprefix(f"{path}: "))
        except MonaiDentalError as error:
            self.fragment.failed(path, str(error))
        else:
            if radiograph is not None:
                op_output.emit((path.relative_to(self.folder), radiograph), "radiograph")

    def _read(self, path: Path) -> Radiograph | None:
        try:
            dataset = read_dataset(path, path.read_bytes())
        except UnsupportedImageError as error:
            reason: str | None = str(error).removeprefix(f"{path}: ")
        else:
            reason = reason_to_skip(dataset, self.rules)
            if reason is None and is_own(dataset):
                reason = "made by monai_dental itself"
        if reason is None:
            return to_radiograph(dataset, path)
        LOGGER.info("%s: skipped: %s", path, reason)
        return None


class RadiographDenoiser(Operator):  # type: ignore[misc]
    """Denoises a radiograph.

    Named input:
        radiograph: As `RadiographLoader` gives it.

    Named output:
        denoised: The same, with other pixels.
    """

    def __init__(self, fragment: Fragment, *conditions: Any, denoiser: Denoiser, **options: Any):
        self.denoiser = denoiser
        super().__init__(fragment, *conditions, **options)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("radiograph")
        spec.output("denoised")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Denoise."""
        name, radiograph = op_input.receive("radiograph")
        try:
            pixels = self.denoiser.denoise(radiograph.pixels)
        except Exception as error:  # noqa: BLE001 - one bad image does not end a study
            self.fragment.failed(name, unexpected(error))
        else:
            op_output.emit((name, radiograph.with_pixels(pixels)), "denoised")


class DerivedInstanceWriter(Operator):  # type: ignore[misc]
    """Writes a derived instance: new UIDs, Derivation Description, Source Image Sequence.

    Named input:
        denoised: As `RadiographDenoiser` gives it.
    """

    def __init__(
        self, fragment: Fragment, *conditions: Any, folder: Path, denoiser: Denoiser, **options: Any
    ) -> None:
        self.folder, self.derivation = folder, denoiser.derivation_at(1.0)
        super().__init__(fragment, *conditions, **options)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("denoised")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write the file, by the source's name."""
        name, radiograph = op_input.receive("denoised")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_radiograph(radiograph, path, derivation=self.derivation)
        except MonaiDentalError as error:
            self.fragment.failed(name, str(error))
        else:
            self.fragment.written += 1


class DenoiseApp(Application):  # type: ignore[misc]
    """Loader, denoiser and writer, one after the other.

    The bundle is the one in the model folder (`--model`, HOLOSCAN_MODEL_PATH), or `blind` where
    that folder does not exist.
    """

    written = 0
    failures = 0

    def failed(self, path: Path, reason: str) -> None:
        """Count a file that could not be denoised, and log why."""
        self.failures += 1
        LOGGER.error("%s: failed: %s", path, reason.removeprefix(f"{path}: "))

    def compose(self) -> None:
        """Make the operators.

        Raises:
            DatasetError: The input folder has no files.
            BundleError: The model folder has no bundle, or several.
        """
        context: AppContext = init_app_context(sys.argv)
        source, target = Path(context.input_path), Path(context.output_path)
        count = sum(path.is_file() for path in source.rglob("*"))
        if not count:
            raise DatasetError(f"{source}: no files here; need a folder of DICOM instances")
        denoiser = Denoiser(_bundle(Path(context.model_path)))
        once_a_file = CountCondition(self, count)
        loader = RadiographLoader(self, once_a_file, folder=source, name="loader")
        network = RadiographDenoiser(self, denoiser=denoiser, name="denoiser")
        writer = DerivedInstanceWriter(self, folder=target, denoiser=denoiser, name="writer")
        self.add_flow(loader, network, {("radiograph", "radiograph")})
        self.add_flow(network, writer, {("denoised", "denoised")})


def _bundle(folder: Path) -> Path:
    if not folder.exists():
        return find_bundle("blind")
    found = [path.parents[1] for path in folder.rglob("configs/inference.json")]
    if len(found) != 1:
        raise BundleError(f"{folder}: {len(found)} bundles here; need one")
    return found[0]


def main() -> int:
    """Run the application: 0 where all that is dental is denoised, 1 where some failed, else 2."""
    app = DenoiseApp()
    try:
        app.run()
    except MonaiDentalError as error:
        LOGGER.error("%s", error)
        return 2
    LOGGER.info("%d denoised, %d failed", app.written, app.failures)
    return 1 if app.failures else 0


if __name__ == "__main__":
    sys.exit(main())
