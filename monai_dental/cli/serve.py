"""The command `serve`."""

from __future__ import annotations

import argparse
from functools import partial

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, add_network, path, port


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "serve",
        help="denoise on a page in the browser",
        description="Open a page in the browser: drop files or a folder on it, compare each image "
        "before and after, choose the strength, save. Only this machine can open the page. It "
        "never accesses the internet, and its files are removed when the command ends (Ctrl-C).",
    )
    command.set_defaults(command=serve)
    command.add_argument(
        "--studies", metavar="DIR", type=path,
        help="also list the images in this folder, which are only read",
    )  # fmt: skip
    add_network(command)
    command.add_argument(
        "--port", type=port, default=0, help="port; 0 for any free port (default: 0)"
    )
    command.add_argument(
        "--no-browser", action="store_true", help="only print the address of the page"
    )


def serve(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from monai_dental.errors import MissingPackageError, extra_needed

    bundle = find_bundle(arguments.bundle)
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"the page's packages are not installed: {extra_needed('web')}"
        ) from error

    from monai_dental.web.job import PageJob
    from monai_dental.web.server import serve as serve_page

    started = serve_page(
        PageJob(bundle, arguments.device),
        arguments.port,
        arguments.studies,
        opens_browser=not arguments.no_browser,
        tell=partial(print, flush=True),
    )
    return 0 if started else 2
