"""Endpoints that replace MONAI Label's own at the same addresses."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    UploadFile,
)
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER, settings
from monailabel.endpoints.infer import ResultType, send_response
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type, remove_file

from monai_dental.formats.registry import suffix_of
from monai_dental.label import ohif

if TYPE_CHECKING:
    from monai_dental.label.app import DenoisingApp

_QUERY = ("image", "session_id", "output")
_LOG_LINES = 300


def put_first(app: FastAPI, model: str) -> None:
    """Put these endpoints before MONAI Label's own.

    Args:
        app: MONAI Label's server.
        model: Name of the model that OHIF's button uses.
    """
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    routes = [
        APIRoute("/", start_page, methods=["GET"], include_in_schema=False),
        APIRoute("/infer/{model}", infer, methods=["POST"], dependencies=[user], summary=RBAC_USER),
        APIRoute("/logs/", logs, methods=["GET"], dependencies=[admin]),
        APIRoute("/ohif/app-config.js", ohif.settings(model), dependencies=[user]),
    ]
    routes += [
        APIRoute(f"/proxy/dicom/{op}/{{path:path}}", ohif.passing(op), dependencies=[user])
        for op in ("qido", "wado")
    ]
    app.router.routes[:0] = routes


def start_page() -> RedirectResponse:
    """Redirect to the page; MONAI Label's own start page loads files from the internet."""
    return RedirectResponse("/denoise/")


def logs(lines: int = _LOG_LINES) -> PlainTextResponse:
    """Return the last lines of the log as text; MONAI Label's page loads from the internet."""
    path = Path(settings.MONAI_LABEL_APP_DIR, "logs", "app.log")
    if not path.is_file():
        raise HTTPException(404, "there is no log yet")
    text = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return PlainTextResponse("".join(text[-max(1, lines) :]))


def infer(
    request: Request,
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),  # noqa: B008 - FastAPI's way
    output: ResultType | None = None,
) -> Any:
    """Denoise an image; in a thread, so that the server can answer other requests.

    Args:
        request: The request, to find unknown parameters.
        background_tasks: Removes the result's file after it is sent.
        model: Name of the model.
        image: An id of the datastore.
        session_id: Or a session of MONAI Label.
        params: Options of `DenoiseTask`, JSON.
        file: Or an image uploaded with the request.
        output: "image", "json", or "all" (default): both, as multipart.

    Raises:
        HTTPException: Any error; its text says what is wrong.
    """
    instance: DenoisingApp = app_instance()
    unknown = [name for name in request.query_params if name not in _QUERY]
    if unknown:
        known = ", ".join(_QUERY)
        raise HTTPException(400, f"{unknown[0]}: no such parameter of the address; need {known}")
    if request.headers.get("content-type", "").startswith("application/json"):
        raise HTTPException(400, 'the body is JSON; need a form with the field "params"')
    if output == ResultType.dicom_seg:
        raise HTTPException(400, "output is dicom_seg; results are images, not segmentations")
    if not (file or image or session_id):
        raise HTTPException(400, "no image; need image=ID in the address, or a file in the form")
    asked = {**parsed(params), "model": model, "image": image}
    if session_id:
        session = instance.sessions().get_session(session_id)
        if not session:
            raise HTTPException(404, "no such session")
        asked["image"] = session.image
    with contextlib.ExitStack() as stack:
        name = image
        if file:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            name = Path(file.filename or "image").name
            path = Path(folder, f"upload{suffix_of(name)}")
            with path.open("wb") as stream:
                shutil.copyfileobj(file.file, stream)
            asked["image"] = str(path)
        try:
            result = instance.infer(asked)
        except HTTPException as error:
            detail = str(error.detail).replace(str(asked["image"]), name)
            raise HTTPException(error.status_code, detail) from error
    if output == ResultType.image:
        path = Path(result["file"])
        background_tasks.add_task(remove_file, str(path))
        stem = name.removesuffix(suffix_of(name)) if file else name
        sent = f"{stem}{''.join(path.suffixes[-2:]) if path.suffixes[-1] == '.gz' else path.suffix}"
        return FileResponse(path, media_type=get_mime_type(str(path)), filename=sent)
    return send_response(instance.datastore(), result, output, background_tasks)


def parsed(params: str) -> dict[str, Any]:
    """Return the options of a request.

    Raises:
        HTTPException: They are not a JSON object.
    """
    try:
        options = json.loads(params or "{}")
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"params is not JSON: {error.msg}") from error
    if not isinstance(options, dict):
        raise HTTPException(
            400, 'params is not a JSON object; need, for example, {"strength": 0.5}'
        )
    return options
