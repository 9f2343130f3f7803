"""The MONAI Label app: its models, and the answers to clients if they fail."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import ImageNotFoundException
from starlette.routing import Mount

import monai_dental
from monai_dental.errors import (
    CorruptImageError,
    MonaiDentalError,
    PacsError,
    UnsupportedImageError,
)
from monai_dental.label.datastore import open_datastore
from monai_dental.label.model import find_models
from monai_dental.label.tasks import OPTIONS, AdaptTask, DenoiseTask

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore


_LOGGER = logging.getLogger(__name__)

TOKEN = "MONAI_DENTAL_LABEL_TOKEN"
"""Environment variable of the token that clients must send; if it is not set, none is needed."""

_OF_CLIENTS = (
    "model", "image", "images", "label_tag", "description", "session", "logging", "result_dtype",
    "result_compress", "restore_label_idx", "label_info", "largest_cc", "multi_gpu", "gpus",
    "max_workers", "max_batch_size", "labels", "user", "client_id",
)  # fmt: skip
"""Request keys of MONAI Label and its clients, which do not concern denoising."""


class DenoisingApp(MONAILabelApp):
    """An app that offers each bundle as a model, and as a trainer if it can be adapted.

    Args:
        app_dir: The app's folder; trainings write their bundles to its `model/`.
        studies: A folder of images, or the address of a DICOMweb service.
        conf: `models`: bundles as `monai_dental.bundle.find.find_bundle` takes them, separated by
            commas; by default all that come with the package.

    Raises:
        BundleError: There is no such bundle.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._models = find_models(conf.get("models"), Path(app_dir, "model"))
        super().__init__(
            app_dir,
            studies,
            conf,
            name="monai_dental",
            description=monai_dental.__doc__,
            version=monai_dental.__version__,
        )

    def on_init_complete(self) -> None:
        """Put the gate and our endpoints before MONAI Label's; called when the server starts."""
        from monailabel.app import app

        from monai_dental.label.endpoints import put_first
        from monai_dental.label.gate import Gate, Rules
        from monai_dental.label.page import LabelPage

        super().on_init_complete()
        model = self._models.get("blind") or next(iter(self._models.values()))
        put_first(app, model.name)
        app.router.routes.insert(0, Mount("/denoise", LabelPage(self.datastore(), model)))
        hosts = tuple(each for each in self.conf.get("hosts", "").split(",") if each)
        rules = Rules(hosts, os.environ.get(TOKEN) or None, self.conf.get("changes") == "true")
        # `add_middleware` fails once a server has started, and before that there is no app.
        app.middleware_stack = Gate(app.middleware_stack, rules)

    def init_datastore(self) -> Datastore:
        """Return the datastore of the images."""
        return open_datastore(self.studies)

    def init_infers(self) -> dict[str, DenoiseTask]:
        """Return the models, by name."""
        return {name: DenoiseTask(model) for name, model in self._models.items()}

    def init_trainers(self) -> dict[str, AdaptTask]:
        """Return the trainers, by the name of their model."""
        return {n: AdaptTask(model) for n, model in self._models.items() if model.is_adaptable}

    def info(self) -> dict[str, Any]:
        """Return the answer of /info/."""
        with _answered():
            answer: dict[str, Any] = super().info()
            return answer

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Denoise an image.

        Args:
            request: `model`, `image` (an id of the datastore, or the server's file of an upload or
                a session), and the options of `DenoiseTask`; with `save_label` the datastore also
                stores the result.
            datastore: The datastore; default the app's own.

        Returns:
            The result's file, and a record of what was done.

        Raises:
            HTTPException: Any error; its text says what is wrong, and its status who is at fault.
        """
        datastore = datastore or self.datastore()
        with _answered():
            self._require(request["model"])
            check_options(request)
            image = self._find_image(request["image"], datastore)
            file, params = self._infers[request["model"]]({**request, "image": image})
            label = file
            if request.get("save_label") and image != request["image"]:
                try:
                    tag = _folder_name(request.get("label_tag", "original"))
                    label = datastore.save_label(request["image"], file, tag, {"params": params})
                except BaseException:
                    Path(file).unlink()
                    raise
                params["label"] = label
            return {"label": label, "tag": "original", "file": file, "params": params}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Adapt a model to the images of the datastore; runs in a separate process."""
        if request["model"] not in self._trainers:
            raise ValueError(f"{request['model']}: cannot learn from noisy images alone")
        result: dict[str, Any] = super().train(request)
        return result

    def batch_infer(
        self, request: dict[str, Any], datastore: Datastore | None = None
    ) -> dict[str, Any]:
        """Denoise all images of the datastore, and store the results in it."""
        if not torch.cuda.is_available():  # MONAI Label divides by the number of GPUs
            request = {**request, "multi_gpu": False, "device": "cpu"}
        result: dict[str, Any] = self._batch_infer(
            request, datastore or self.datastore(), self._infer_or_tell
        )
        return result

    def _infer_or_tell(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Denoise an image of a batch; an image that cannot be denoised does not end the batch."""
        try:
            return self.infer(request, datastore)
        except HTTPException as error:
            if error.status_code in (400, 404) and "image" not in str(error.detail):
                raise  # every image would fail in the same way
            _LOGGER.warning(f"not denoised: {error.detail}")
            return {"error": str(error.detail)}

    def bundle_path(self, model: str | None) -> None:
        """Check the model of a task before it starts: MONAI Label offers no other place for it."""
        if model is not None:
            self._require(model)

    def _require(self, model: str) -> None:
        if model not in self._infers:
            known = ", ".join(sorted(self._infers))
            raise HTTPException(404, f"{model}: no such model; this server has {known}")

    def _find_image(self, image: str, datastore: Datastore) -> str:
        """Return the file, or folder, of an image.

        Clients may not name paths on the server, except those of uploads and sessions, which the
        server itself passes in the same way.
        """
        path: str = ""
        with contextlib.suppress(ImageNotFoundException):
            path = datastore.get_image_uri(image)
        places = [Path(tempfile.gettempdir())]
        if self.sessions():
            places.append(Path(self.sessions().store_path))
        if not path and any(Path(image).resolve().is_relative_to(p.resolve()) for p in places):
            path = image
        if not path or not Path(path).exists():
            raise HTTPException(404, f"{image}: no such image in the datastore")
        return path


def check_options(request: dict[str, Any]) -> None:
    """Check that a request has no unknown options, which would be ignored.

    Raises:
        ValueError: It has an unknown option.
    """
    known = {*OPTIONS, *_OF_CLIENTS}
    unknown = [name for name in request if name not in known and not name.startswith("_")]
    if unknown:
        raise ValueError(f"{unknown[0]}: no such option; need one of {', '.join(OPTIONS)}")


def _folder_name(tag: str) -> str:
    """Return a client's tag, checked to be a plain name: MONAI Label uses it as a folder."""
    if not tag.isidentifier():
        raise ValueError(f"label_tag is {tag!r}; need a word of letters, digits and _")
    return tag


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turn errors into HTTP answers with their message, which MONAI Label would hide."""
    try:
        yield
    except (UnsupportedImageError, CorruptImageError) as error:
        raise HTTPException(422, str(error)) from error
    except PacsError as error:
        raise HTTPException(502, str(error)) from error
    except MonaiDentalError as error:
        raise HTTPException(503, str(error)) from error
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
