"""What the MONAI Deploy SDK's own packager and runner make of docs/deploy/map, as JSON.

Run by the Python of the environment that scripts/deploy-env makes.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from holoscan_cli.common import dockerutils
from holoscan_cli.common.enum_types import PlatformConfiguration, SdkType
from holoscan_cli.packager.config_reader import ApplicationConfiguration
from holoscan_cli.packager.parameters import PackageBuildParameters


def packaged(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifests that `monai-deploy package` writes."""
    parameters = PackageBuildParameters()
    parameters.application = folder / "app.py"
    configuration = ApplicationConfiguration()
    configuration.read(folder / "app.yaml")
    app = configuration.populate_app_manifest(parameters)
    app.sdk, app.sdk_version = SdkType.MonaiDeploy.value, version("monai-deploy-app-sdk")
    return app.data, configuration.populate_package_manifest(parameters).data


def started(folder: Path) -> dict[str, Any]:
    """How `monai-deploy run` starts a container with the folder's manifests; it starts none."""
    app, package = (json.loads((folder / name).read_text()) for name in ("app.json", "pkg.json"))
    calls: list[tuple[Any, ...]] = []
    dockerutils._start_container = lambda *arguments: calls.append(arguments)
    dockerutils._additional_devices_to_mount = lambda *arguments: ([], [])
    dockerutils.get_gpu_count = lambda: 0
    dockerutils.run_cmd_output = lambda *arguments: "video:x:44:"
    dockerutils.docker_run(
        "name", "image", Path("/study"), Path("/results"), app, package, False, [], False,
        "network", None, False, None, None, False, "1:1", False, [], package["platformConfig"],
    )  # fmt: skip
    ((_, _, _, _, commands, _, _, volumes, environment, *_),) = calls
    return {"commands": commands, "volumes": volumes, "environment": environment}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    app, package = packaged(folder)
    platforms = [each.value for each in PlatformConfiguration]
    print(json.dumps([app, package, platforms, started(folder)]))
