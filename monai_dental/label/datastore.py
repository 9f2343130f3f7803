"""The server's datastore of images: a folder, or a PACS by DICOMweb."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException

from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.read import read_dataset
from monai_dental.errors import MonaiDentalError, PacsError, UnsupportedImageError
from monai_dental.formats import SUFFIXES
from monai_dental.label.series import keep_series

MODALITIES = ("IO", "PX", "DX", "CR")
"""Modalities of the series to search for in a PACS: intraoral, panoramic, and plain X-ray."""

# `record_series` puts this at the end of the description of a series of results.
_RESULT = re.compile(r"\[(Noise reduction|Median filter .*)\]$")


def open_datastore(studies: str) -> Datastore:
    """Return the datastore of a folder, or of a DICOMweb service.

    Args:
        studies: A folder, whose images (without subfolders) are offered, or an http(s) address.
    """
    if studies.startswith(("http://", "https://")):
        return DicomwebStore(studies.rstrip("/"))
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    return FolderStore(
        studies,
        extensions=patterns + [pattern.upper() for pattern in patterns],
        auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
        read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
    )


class FolderStore(LocalDatastore):
    """The images of a folder; clients can add only images, and only to this folder."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image.

        Raises:
            ValueError: Its id is not a plain name, or its file extension is not that of an image.
        """
        _check_name(image_id or "", "image")
        _check_ending(image_filename)
        added: str = super().add_image(image_id, image_filename, image_info)
        return added

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Store a result or a label.

        Raises:
            ValueError: A name is not plain, or its file extension is not that of an image.
        """
        _check_name(image_id, "image")
        _check_name(label_tag, "tag")
        _check_ending(label_filename)
        saved: str = super().save_label(image_id, label_filename, label_tag, label_info)
        return saved


def _check_name(text: str, name: str) -> None:
    if re.search(r"[/\\\x00-\x1f]|^\.", text):
        raise ValueError(f"{name} is not a plain name; need one without a path")


def _check_ending(path: str) -> None:
    if not path.lower().endswith((*SUFFIXES, ".nrrd")):
        raise ValueError(f"the file name has no image ending; need one of {', '.join(SUFFIXES)}")


class DicomwebStore(DICOMWebDatastore):
    """The series of a PACS, kept as DICOM files.

    MONAI Label's own datastore converts them to NIfTI, and stores results as DICOM segmentations.
    Here, the id of an image is a Series Instance UID, and a result is stored as a derived image.

    Args:
        url: Address of the DICOMweb service.
    """

    def __init__(self, url: str) -> None:
        user, password = (
            settings.MONAI_LABEL_DICOMWEB_USERNAME,
            settings.MONAI_LABEL_DICOMWEB_PASSWORD,
        )
        client = DICOMwebClientX(
            url=url,
            session=create_session_from_user_pass(user, password) if user and password else None,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        client.set_http_retry_params(retry=False)  # while it waits, the server answers nobody else
        # MONAI Label's default, CT, was not chosen by the user.
        chosen = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
        self._filters: list[dict[str, Any]] = (
            [{"Modality": modality} for modality in MODALITIES]
            if chosen == {"Modality": "CT"}
            else [chosen]
        )
        super().__init__(
            client,
            search_filter=self._filters[0],
            cache_path=settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip() or None,
            convert_to_nifti=False,
        )

    def list_images(self) -> list[str]:
        """Return the UIDs of all series of the wanted modalities that the PACS has now.

        Series of denoised images are left out: they must not be denoised again or trained on.

        Raises:
            PacsError: The PACS does not answer as it should.
        """
        with self._errors("search"):
            found = [
                series
                for wanted in self._filters
                for series in self._client.search_for_series(
                    fields=["SeriesDescription"], search_filters=wanted
                )
            ]
            uids = [s["0020000E"]["Value"][0] for s in found if not _is_result(s)]
        return list(dict.fromkeys(uids))

    def get_labeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return no images: there are no labels."""
        return []

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return no pairs of image and label."""
        return []

    def json(self) -> dict[str, Any]:
        """Return the answer of /datastore/?output=all: the images, by id, as for a folder."""
        return {
            "objects": {uid: {"image": {"info": {}}, "labels": {}} for uid in self.list_images()}
        }

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of a series, or the folder of its files, fetched when first asked for.

        Raises:
            ImageNotFoundException: The PACS has no such series.
            UnsupportedImageError: It is a series of results.
            PacsError: The PACS does not answer as it should.
        """
        if not is_uid(image_id):
            raise ImageNotFoundException(f"{image_id!r} is not a Series Instance UID")
        folder = Path(self._datastore.image_path(), image_id)
        if not folder.is_dir():
            self._fetch(image_id, folder)
        files = sorted(folder.iterdir())
        return str(files[0] if len(files) == 1 else folder)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return the path of an image, and nothing about the patient."""
        return {"SeriesInstanceUID": image_id, "path": self.get_image_uri(image_id)}

    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:
        """Store a denoised image, or the ZIP of a series of them, in the PACS (STOW-RS).

        Returns:
            The Series Instance UID of the derived series.

        Raises:
            UnsupportedImageError: The file is not DICOM.
            PacsError: The PACS refuses an instance, or does not answer as it should.
        """
        path = Path(label_filename)
        with tempfile.TemporaryDirectory() as folder:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
            else:
                shutil.copy(path, folder)
            datasets = [_read(file) for file in sorted(Path(folder).iterdir())]
        with self._errors("store"):
            answer = self._client.store_instances(datasets)
        failed = answer.get("FailedSOPSequence") or ()
        if failed:
            reason = f"{int(failed[0].get('FailureReason', 0)):04X}"
            raise PacsError(
                f"{self.name()}: refused {len(failed)} of {len(datasets)} instances; "
                f"(0008,1197) Failure Reason is {reason}"
            )
        return str(datasets[0].SeriesInstanceUID)

    def _fetch(self, series: str, folder: Path) -> None:
        """Fetch a series; its folder appears only when complete."""
        with self._errors("fetch"):
            found = self._client.search_for_series(
                fields=["SeriesDescription"], search_filters={"SeriesInstanceUID": series}
            )
            own = [item for item in found if item["0020000E"]["Value"] == [series]]
            if not own:
                raise ImageNotFoundException(f"{self.name()} has no series {series}")
            if _is_result(own[0]):
                raise UnsupportedImageError(f"series {series} is denoised; choose its original")
            instances = self._client.retrieve_series(own[0]["0020000D"]["Value"][0], series)
        if not instances:
            raise PacsError(f"{self.name()}: sent no instance of series {series}")
        with self._errors("write"):
            keep_series(instances, folder)

    @contextlib.contextmanager
    def _errors(self, deed: str) -> Iterator[None]:
        """Report errors without their text, which could quote patient data."""
        try:
            yield
        except (ImageNotFoundException, PacsError, UnsupportedImageError):
            raise
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = f"HTTP status {status}" if status else type(error).__name__
            raise PacsError(f"{self.name()}: cannot {deed} by DICOMweb: {reason}") from None


def _is_result(series: dict[str, Any]) -> bool:
    values = series.get("0008103E", {}).get("Value") or [""]
    return _RESULT.search(str(values[0])) is not None


def _read(path: Path) -> pydicom.Dataset:
    try:
        return read_dataset(path)
    except MonaiDentalError as error:
        raise UnsupportedImageError(
            "a PACS stores only DICOM; leave out result_extension"
        ) from error
