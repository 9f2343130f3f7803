"""A module of 3D Slicer: denoises a radiograph by a MONAI Label server, beside its source.

One file: docs/label.md says how 3D Slicer is told of it. What it does needs 3D Slicer's core alone;
the panel below that needs its window.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import slicer  # type: ignore
from vtk.util.numpy_support import vtk_to_numpy  # type: ignore

try:
    import ctk  # type: ignore
    import qt  # type: ignore
    from slicer.ScriptedLoadableModule import (  # type: ignore
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
    )
except ImportError:  # 3D Slicer's core alone, as in the tests
    ScriptedLoadableModule = ScriptedLoadableModuleWidget = object

SERVER = "http://127.0.0.1:8000"
TIMEOUT_S = 600


def model_names(server: str) -> list[str]:
    """Return the names of the server's models, the one to prefer first.

    Args:
        server: Its address, with ?token=… where it asks for one.

    Raises:
        RuntimeError: It does not answer as it should; the text is a sentence.
    """
    try:
        names = sorted(json.loads(_ask(server, "/info/"))["models"])
    except (ValueError, LookupError, TypeError):
        raise RuntimeError("what answers there is no MONAI Label server") from None
    return sorted(names, key=lambda name: name != "blind")


def request_denoised(server: str, model: str, strength: float, source: Path) -> bytes:
    """Return the denoised image as NRRD: stored values, small = black, where the source lies.

    Args:
        server: As of `model_names`.
        model: One of these names.
        strength: Share of the correction that is applied, 0 to 1.
        source: The image's file.

    Raises:
        RuntimeError: The server refuses; the text is its sentence.
    """
    options = json.dumps({"strength": strength, "result_extension": ".nrrd"})
    mark = uuid.uuid4().hex
    # Names of files can hold a patient's; the server needs the ending alone.
    ending = "".join(source.suffixes[-2:]) if source.suffix == ".gz" else source.suffix
    form = (
        f'--{mark}\r\nContent-Disposition: form-data; name="params"\r\n\r\n{options}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="image{ending}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = form.encode() + source.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    kind = f"multipart/form-data; boundary={mark}"
    return _ask(server, f"/infer/{quote(model)}?output=image", body, kind)


def source_file(volume: Any, folder: Path) -> Path:
    """Return the file that a volume comes from, or one that is written into a folder.

    The source's own file is better: it says how many bits are stored, and which are black.

    Args:
        volume: A scalar volume.
        folder: For a volume that comes from no file.

    Raises:
        RuntimeError: It comes from several DICOM files, or cannot be written.
    """
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if len(uids) > 1:
        raise RuntimeError(f"this volume is of {len(uids)} DICOM files; choose a radiograph of one")
    database = getattr(slicer, "dicomDatabase", None)  # None where the module DICOM is switched off
    if uids and database is not None:
        found = database.fileForInstance(uids[0])
        if found and Path(found).is_file():
            return Path(found)
    storage = volume.GetStorageNode()
    # A stack has a list of files; what was changed since it was read is in none.
    if storage is not None and storage.GetNumberOfFileNames() < 2:
        own = Path(storage.GetFullNameFromFileName() or "")
        if own.is_file() and not volume.GetModifiedSinceRead():
            return own
    path = folder / "volume.nii.gz"
    writer = slicer.vtkMRMLVolumeArchetypeStorageNode()
    writer.SetFileName(str(path))
    if not writer.WriteData(volume):
        raise RuntimeError("this volume comes from no file, and cannot be written to one")
    return path


def add_volume(scene: Any, content: bytes, source: Any, folder: Path) -> Any:
    """Add a result to a scene, as a volume with the brightness and contrast of its source.

    Args:
        scene: Where to.
        content: NRRD, as of `request_denoised`.
        source: The volume that was denoised.
        folder: For the file that it is read from.

    Raises:
        RuntimeError: The content is no volume.
    """
    path = folder / "denoised.nrrd"
    path.write_bytes(content)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{source.GetName()} denoised")
    reader = slicer.vtkMRMLVolumeArchetypeStorageNode()
    reader.SetFileName(str(path))
    if not reader.ReadData(volume):
        scene.RemoveNode(volume)
        raise RuntimeError("the server's answer is no volume")
    volume.CreateDefaultDisplayNodes()
    shown, display = source.GetDisplayNode(), volume.GetDisplayNode()
    slope, intercept = _values_of(source, volume)
    if shown is not None and display is not None and slope:
        display.SetAutoWindowLevel(False)
        level = slope * shown.GetLevel() + intercept
        display.SetWindowLevel(abs(slope) * shown.GetWindow(), level)
    return volume


def _values_of(source: Any, volume: Any) -> tuple[float, float]:
    """Return slope and intercept from a source's values to those of its denoised volume.

    3D Slicer has a file's values after its Modality LUT, and MONOCHROME1 as it is stored; the
    server's are stored values, small = black. (0, 0) where the two cannot be compared.
    """
    images = source.GetImageData(), volume.GetImageData()
    if None in images or images[0].GetDimensions() != images[1].GetDimensions():
        return 0.0, 0.0
    arrays = (vtk_to_numpy(each.GetPointData().GetScalars()) for each in images)
    one, other = (each[:: max(1, len(each) // 100_000)].astype(float) for each in arrays)
    if one.ndim > 1 or other.ndim > 1 or np.ptp(one) == 0:
        return 0.0, 0.0
    slope, intercept = np.polyfit(one, other, 1)
    # Noise bends the fit a little; values that are the same stay so.
    if abs(slope - 1) < 0.1 and abs(np.median(other - one)) <= 0.01 * np.ptp(one):
        return 1.0, 0.0
    return float(slope), float(intercept)


def _ask(server: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
    parts = urlsplit(server if "://" in server else f"http://{server}")
    address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"
    request = urllib.request.Request(address, body)
    if kind:
        request.add_header("Content-Type", kind)
    for token in parse_qs(parts.query).get("token", []):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        # Radiographs go to the server itself, not by a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        try:
            reason = json.loads(error.read())["detail"]
        except (ValueError, LookupError, TypeError):
            reason = f"HTTP status {error.code}"
        raise RuntimeError(f"the server says: {reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise RuntimeError(f"no server answers at {parts.netloc}: {reason}") from None


class DenoiseRadiograph(ScriptedLoadableModule):  # type: ignore[misc]
    """What 3D Slicer shows of the module in its list."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Denoise Radiograph"
        parent.categories = ["Filtering.Denoising"]
        parent.contributors = ["The monai_dental authors"]
        parent.helpText = "Takes the noise out of a dental radiograph, by a MONAI Label server."
        parent.acknowledgementText = "Research software, not a medical device."


class DenoiseRadiographWidget(ScriptedLoadableModuleWidget):  # type: ignore[misc]
    """The panel: server, model, radiograph, strength, and a button."""

    def setup(self) -> None:
        """Make the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        settings = qt.QSettings()
        self.server = qt.QLineEdit(settings.value("DenoiseRadiograph/server", SERVER))
        self.connect_button = qt.QPushButton("Connect")
        self.model = qt.QComboBox()
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.addEnabled = self.volume.removeEnabled = False
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.strength = ctk.ctkSliderWidget()
        self.strength.minimum, self.strength.maximum, self.strength.singleStep = 0, 1, 0.05
        self.strength.value = 1
        self.button = qt.QPushButton("Denoise")
        form = qt.QFormLayout()
        for name, widget in (
            ("Server", self.server), ("", self.connect_button), ("Model", self.model),
            ("Radiograph", self.volume), ("Strength", self.strength), ("", self.button),
        ):  # fmt: skip
            form.addRow(name, widget)
        self.layout.addLayout(form)
        self.layout.addStretch(1)
        self.connect_button.clicked.connect(self.on_connect)
        self.button.clicked.connect(self.on_denoise)

    def on_connect(self) -> None:
        """Fetch the names of the models."""
        server = self.server.text
        self._enable(False)
        with slicer.util.tryWithErrorDisplay("Not connected", waitCursor=True):
            names = _beside_the_window(lambda: model_names(server))
            self.model.clear()
            self.model.addItems(names)
            qt.QSettings().setValue("DenoiseRadiograph/server", server.partition("?")[0])
        self._enable(True)

    def on_denoise(self) -> None:
        """Denoise the chosen volume, and show both side by side."""
        if not self.model.count:
            self.on_connect()
        source = self.volume.currentNode()
        if source is None or not self.model.count:
            return
        server, model, strength = self.server.text, self.model.currentText, self.strength.value
        self._enable(False)
        with (
            slicer.util.tryWithErrorDisplay("Not denoised", waitCursor=True),
            tempfile.TemporaryDirectory() as folder,
        ):
            path = source_file(source, Path(folder))
            content = _beside_the_window(lambda: request_denoised(server, model, strength, path))
            show_both(source, add_volume(slicer.mrmlScene, content, source, Path(folder)))
        self._enable(True)

    def _enable(self, is_enabled: bool) -> None:
        """Take clicks or not: the window lives while the server works."""
        self.button.enabled = self.connect_button.enabled = is_enabled


def show_both(source: Any, denoised: Any) -> None:
    """Show two volumes side by side, with zoom and pan linked."""
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
    slicer.app.processEvents()  # the views get their sizes, which fitting needs
    for name, volume in (("Red", source), ("Yellow", denoised)):
        view = manager.sliceWidget(name)
        view.mrmlSliceNode().SetOrientationToAxial()
        composite = view.mrmlSliceCompositeNode()
        composite.SetLinkedControl(True)
        composite.SetBackgroundVolumeID(volume.GetID())
        view.sliceLogic().FitSliceToAll()


def _beside_the_window(work: Callable[[], Any]) -> Any:
    """Return what a work in a thread returns; the window lives meanwhile."""
    done: dict[str, Any] = {}

    def run() -> None:
        try:
            done["result"] = work()
        except Exception as error:  # noqa: BLE001 - raised again below, where it is shown
            done["error"] = error

    thread = threading.Thread(target=run, daemon=True)  # 3D Slicer can be closed meanwhile
    thread.start()
    while thread.is_alive():
        slicer.app.processEvents()
        thread.join(0.05)
    if "error" in done:
        raise done["error"]
    return done["result"]
