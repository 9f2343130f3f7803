"""The OHIF viewer that comes with MONAI Label: its button "Denoise", and its PACS proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import monailabel.endpoints
from fastapi import Request
from fastapi.responses import Response
from monailabel.endpoints.proxy import proxy_dicom


def settings(model: str) -> Callable[[], Response]:
    """Return an endpoint for OHIF's `app-config.js`: MONAI Label's own, with the button added.

    OHIF accepts an extension as an object in its settings, so no build is needed.

    Args:
        model: Name of the model that the button uses.
    """
    folder = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
    own = (folder / "app-config.js").read_text(encoding="utf-8")
    button = files("monai_dental.label").joinpath("ohif.js").read_text(encoding="utf-8")
    text = f"{own}\nwindow.config.denoise = {json.dumps({'model': model})};\n{button}"

    def answer() -> Response:
        return Response(text, media_type="text/javascript")

    return answer


def passing(op: str) -> Callable[[Request, str], Response]:
    """Return an endpoint that passes OHIF's requests on to the PACS, in a thread.

    MONAI Label's own endpoint drops the query, so that OHIF lists the studies of all patients
    beside those of one (MONAILabel issue 1835). It also blocks the server until the PACS answers.

    Args:
        op: "qido" for searches, or "wado".
    """

    def answer(request: Request, path: str) -> Response:
        query = request.url.query
        # Some versions of OHIF request metadata as a search.
        prefix = "wado" if path.endswith("metadata") else op
        asked = proxy_dicom(request, prefix, f"{path}?{query}" if query else path)
        passed: Response = asyncio.run(asked)
        return passed

    return answer
