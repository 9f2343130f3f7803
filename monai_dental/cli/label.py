"""The command `label`."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from pathlib import Path

import monai_dental
from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, port


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "label",
        help="start a MONAI Label server that denoises",
        description="Start a MONAI Label server for 3D Slicer, OHIF and REST clients. It prints "
        "its address when it is ready, never accesses the internet, and refuses requests from "
        "other web sites. Anyone who can reach it can see the images, unless the environment "
        "variable MONAI_DENTAL_LABEL_TOKEN holds a token, which clients must then send. Press "
        "Ctrl-C to stop it.",
    )
    command.set_defaults(command=label)
    command.add_argument(
        "--studies", metavar="DIR|URL", required=True,
        help="a folder of images, or the address of a DICOMweb service",
    )  # fmt: skip
    command.add_argument(
        "--bundle", metavar="NAME|DIR", action="append",
        help="a bundle to offer: one that comes with the package, or a bundle's folder, whose "
        "configs run as code; may be given several times (default: all that come with the package)",
    )  # fmt: skip
    command.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for all networks (default: 127.0.0.1, this machine)",
    )  # fmt: skip
    command.add_argument(
        "--port", type=port, default=8000, help="port; 0 for any free port (default: 8000)"
    )
    command.add_argument(
        "--allow-host", metavar="NAME", action="append", default=[],
        help="another name by which clients reach this machine, besides its IP addresses and its "
        "host name; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--allow-changes", action="store_true",
        help="let clients upload, replace and remove images and labels (PUT and DELETE of "
        "/datastore)",
    )  # fmt: skip


def label(arguments: argparse.Namespace) -> int:
    """Start a MONAI Label server with this package's app."""
    from monai_dental.errors import DatasetError, MissingPackageError

    for name in arguments.bundle or ():
        find_bundle(name)
    is_url = arguments.studies.startswith(("http://", "https://"))
    if not is_url and not Path(arguments.studies).is_dir():
        raise DatasetError(
            f"{arguments.studies}: need a folder of images, or the http(s) address of a DICOMweb "
            "service"
        )
    try:
        import monailabel  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "MONAI Label is not installed in this environment; scripts/label-env makes one with it"
        ) from error
    listener = _listen(arguments.host, arguments.port)
    host, port = listener.getsockname()[:2]
    command = ["start_server", "--app", str(_app_folder()), "--studies", arguments.studies]
    command += ["--host", host, "--port", str(port)]
    if arguments.bundle:
        command += ["--conf", "models", ",".join(arguments.bundle)]
    if arguments.allow_host:
        command += ["--conf", "hosts", ",".join(arguments.allow_host)]
    if arguments.allow_changes:
        command += ["--conf", "changes", "true"]
    return 0 if _serve(command, listener) else 2


def _app_folder() -> Path:
    """Return the folder where MONAI Label keeps its log and this user's trained bundles.

    `$XDG_DATA_HOME/monai_dental/label`, else `~/.local/share/monai_dental/label`.

    Raises:
        OutputError: It cannot be created or written to.
    """
    from monai_dental.files.atomic import write_atomically
    from monai_dental.files.outputs import prepare_output_folder

    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    folder = Path(data, "monai_dental", "label")
    prepare_output_folder(folder, overwrite=True)
    app = Path(monai_dental.__file__).parent / "label" / "server" / "main.py"
    write_atomically(folder / "main.py", app.read_bytes())
    return folder


def _listen(host: str, port: int) -> socket.socket:
    from monai_dental.errors import ServerError

    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = error.strerror or error
        raise ServerError(f"{host}:{port}: cannot listen there: {reason}; try --port 0") from error


def _serve(command: list[str], listener: socket.socket) -> bool:
    """Serve until a signal arrives; return whether the server started."""
    import uvicorn
    from monailabel.main import Main
    from monailabel.utils.others.generic import init_log_config

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                host, port = listener.getsockname()[:2]
                print(f"MONAI Label answers at http://{host}:{port}", flush=True)

    main = Main()
    options = main.args_parser().parse_args(command)
    main.start_server_validate_args(options)
    main.start_server_init_settings(options)
    config = uvicorn.Config(
        options.uvicorn_app,
        log_config=init_log_config(None, options.app, "app.log", options.verbose),
        access_log=False,
    )
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to stop a server
        server.run(sockets=[listener])
    return bool(server.started)
