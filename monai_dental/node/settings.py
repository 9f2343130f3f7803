"""The settings of a node: names, types, limits, defaults and descriptions.

`NodeSettings` defines the options of `monai-dental node`, the keys of its TOML file,
`docs/deploy/node.toml` and the table in `docs/node.md`; `settings_pages.py` writes the last two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydicom.datadict import tag_for_keyword

from monai_dental.bundle.find import DEFAULT_BUNDLE
from monai_dental.errors import PacsError
from monai_dental.node.settings_words import explain, option_of
from monai_dental.pacs.address import is_ae_title
from monai_dental.pacs.tls import TlsFiles

MEBIBYTE = 1 << 20
_PIXEL_DATA = 0x7FE00010
_MOST_ASSOCIATIONS = 400  # pynetdicom uses select(), which takes at most 1024 files


def default_spool() -> Path:
    """Return `$XDG_DATA_HOME/monai_dental/node`, or `~/.local/share/monai_dental/node`."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data, "monai_dental", "node")


def _is_place(text: str) -> bool:
    found = re.fullmatch(r"[^\s/@]+:([0-9]{1,5})", text)
    return found is not None and 0 < int(found[1]) < 65536


def _check_title(title: str) -> str:
    if not is_ae_title(title) or title != title.strip():
        raise ValueError(
            f"AE title {title!r}: need 1 to 16 ASCII characters, no backslash, no blank at either "
            "end"
        )
    return title


def _check_keyword(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None or tag >= _PIXEL_DATA:
        raise ValueError(f"{keyword!r} is not the keyword of an element before Pixel Data (PS3.6)")
    return keyword


def _check_file(path: Path) -> Path:
    if path == Path():  # an unset variable, not the current folder
        raise ValueError("need a path in quotes")
    return path


Title = Annotated[StrictStr, AfterValidator(_check_title)]
File = Annotated[Path, AfterValidator(_check_file)]
Text = Annotated[StrictStr, Field(min_length=1)]
Keyword = Annotated[StrictStr, AfterValidator(_check_keyword)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Route(BaseModel):
    """The destinations of instances that match.

    Attributes:
        senders: AE titles of senders; empty for any.
        tags: Elements of the derived instance, by keyword, each with its allowed values.
        forward: The destinations, each as for `NodeSettings.forward`.
        originals: Whether originals that match go there too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    senders: tuple[Title, ...] = ()
    tags: dict[Keyword, tuple[Text, ...]] = {}
    forward: tuple[Text, ...] = Field(min_length=1)
    originals: StrictBool = False


class NodeSettings(BaseSettings):
    """Settings of a node; each is an option of `monai-dental node` and a key of its TOML file.

    Raises:
        ValidationError: A value is missing or not allowed; `make_settings` explains it in words.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", alias_generator=option_of, populate_by_name=True
    )

    forward: Text = Field(
        description="where results go: AE@HOST:PORT, dimse+tls://AE@HOST:PORT, or "
        "dicomweb+https://HOST/PATH",
        json_schema_extra={"metavar": "ADDRESS", "example": "ARCHIVE@pacs.example.org:104"},
    )
    allow: tuple[Title, ...] = Field(
        min_length=1,
        description="AE titles that may send",
        json_schema_extra={"metavar": "AE,AE", "example": ["INTRAORAL1", "PANORAMIC1"]},
    )
    ae_title: Title = Field("DENOISE", description="the node's AE title, which senders call")
    host: Text = Field("0.0.0.0", description="address to listen on; 0.0.0.0 for all networks")
    port: StrictInt = Field(11112, ge=0, le=65535, description="port; 0 for any free port")
    spool: File = Field(
        default_factory=default_spool,
        description="folder for instances that are received and not yet forwarded: patient data, "
        "on a local disk; nothing else may use it",
        json_schema_extra={
            "example": "/var/lib/monai-dental",
            "default": "~/.local/share/monai_dental/node",
        },
    )
    spool_limit: StrictInt = Field(
        20480, ge=1,
        description="disk space for the spool, exceeded only by results that are being made; when "
        "it is full, senders get the status Out of Resources and must send again later",
        json_schema_extra={"metavar": "MIB"},
    )  # fmt: skip
    proof: Literal["ask-back", "commitment", "status"] = Field(
        "ask-back",
        description="proof that the archive has an instance: its storage commitment or, if it "
        "offers none, that a query finds the instance and, if possible, a retrieval returns it "
        "(ask-back); its commitment alone (commitment); its answer Success (status), for an "
        "archive that can only store",
    )
    tls_cert: File | None = Field(
        None, description="the node's certificate, PEM: with it, senders must speak TLS",
        json_schema_extra={"example": "/etc/monai-dental/node.crt"},
    )  # fmt: skip
    tls_key: File | None = Field(
        None, description="its private key, PEM, without a pass phrase",
        json_schema_extra={"example": "/run/credentials/monai-dental-node.service/node.key"},
    )  # fmt: skip
    tls_ca: File | None = Field(
        None,
        description="CA certificates that verify those of senders, and of a dimse+tls archive, PEM",
        json_schema_extra={"example": "/etc/monai-dental/ca.crt"},
    )
    associations: StrictInt = Field(
        20, ge=1, le=_MOST_ASSOCIATIONS, description="maximum number of associations at once"
    )
    max_pdu: StrictInt = Field(
        131072, ge=4096, le=MEBIBYTE, description="maximum length of a PDU",
        json_schema_extra={"metavar": "BYTES"},
    )  # fmt: skip
    max_object: StrictInt = Field(
        512, ge=1, description="largest instance, also after inflating",
        json_schema_extra={"metavar": "MIB"},
    )  # fmt: skip
    health_port: StrictInt | None = Field(
        None, ge=0, le=65535, description="port of /health, /metrics and the page",
        json_schema_extra={"example": 11180, "default": "neither"},
    )  # fmt: skip
    health_host: Text = Field(
        "127.0.0.1",
        description="address of /health, /metrics and the page; the first two need no password",
    )
    stow_port: StrictInt | None = Field(
        None, ge=0, le=65535,
        description="port of STOW-RS, POST /studies; if tls-cert is set, by HTTPS and only for "
        "senders with a certificate; if MONAI_DENTAL_STOW_TOKEN is set, only for senders with that "
        "token",
        json_schema_extra={"example": 8042, "default": "none"},
    )  # fmt: skip
    stow_host: Text = Field("127.0.0.1", description="address of STOW-RS; 0.0.0.0 for all networks")
    routes: tuple[Route, ...] = Field(
        (),
        description="destinations other than forward, one or several, for instances of some "
        "senders or with some elements of the derived instance; with originals = true, also for "
        "originals that fit; the first route that fits is used",
        json_schema_extra={
            "example": [
                {
                    "senders": ["PANORAMIC1"],
                    "tags": {"Modality": ["PX"]},
                    "forward": ["ARCHIVE@pacs.example.org:104", "TEACHING@pacs2.example.org:104"],
                }
            ],
            "default": "none",
            "is_option": False,
        },
    )
    urgent: tuple[Title, ...] = Field(
        (),
        description="those senders in allow whose instances are denoised and forwarded first",
        json_schema_extra={"metavar": "AE,AE", "example": ["INTRAORAL1"], "default": "none"},
    )
    study_wait: Number = Field(
        0.0, ge=0,
        description="forward a study once none of its instances has arrived for this time; 0 "
        "forwards each instance at once",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    audit: Text | None = Field(
        None,
        description="syslog server for audit messages (PS3.15 A.5), by UDP, HOST:PORT",
        json_schema_extra={"metavar": "HOST:PORT", "example": "syslog.example.org:514"},
    )
    longest_wait: Number = Field(
        300.0, gt=0, description="longest time between two attempts to forward",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    bundle: Text = Field(
        DEFAULT_BUNDLE,
        description="the bundle: one that comes with the package (blind, unet, dae), or a "
        "bundle's folder, whose configs run as code",
        json_schema_extra={"metavar": "NAME|DIR"},
    )
    strength: Number = Field(
        1.0, ge=0, le=1, description="fraction of the correction to apply",
        json_schema_extra={"metavar": "FRACTION"},
    )  # fmt: skip
    device: Text | None = Field(
        None, description="cpu, cuda:0, …",
        json_schema_extra={"example": "cuda:0", "default": "a GPU if there is one"},
    )  # fmt: skip
    backend: Literal["torch", "openvino"] = Field(
        "torch",
        description="engine that runs the network; openvino needs the extra of that name",
    )
    compress: Literal["none", "jpegls", "as-source"] = Field(
        "none", description="compression of derived instances, as for batch"
    )
    all_xray: StrictBool = Field(
        False, description="also select DX, CR and CT without dental anatomy"
    )
    rules: File | None = Field(
        None, description="selection rules, JSON, as for batch",
        json_schema_extra={
            "metavar": "FILE",
            "example": "/etc/monai-dental/rules.json",
            "default": "the package's",
        },
    )  # fmt: skip
    workers: StrictInt | None = Field(
        None, ge=1, description="worker processes",
        json_schema_extra={
            "example": 2, "default": "one for each core, if memory allows; one on a GPU",
        },
    )  # fmt: skip
    time_limit: Number = Field(
        600.0, gt=0, description="time limit for one instance",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    memory_limit: StrictInt | None = Field(
        None, ge=1, description="memory for one instance, in addition to the model",
        json_schema_extra={
            "metavar": "MIB",
            "example": 4096,
            "default": "the worker's share of three quarters of the machine's memory",
        },
    )  # fmt: skip

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Return options, then the TOML file; in the environment, HOST and PORT mean others."""
        return init_settings, TomlConfigSettingsSource(settings_cls)

    def model_post_init(self, _: object) -> None:
        """Check the settings against each other.

        Raises:
            PacsError: Values do not fit together.
        """
        if self.max_object > self.spool_limit:
            raise PacsError(
                f"max-object is {self.max_object} MiB and spool-limit {self.spool_limit} MiB; "
                "need room for one object"
            )
        if strangers := set(self.urgent) - set(self.allow):
            raise PacsError(f"urgent: {min(strangers)} is not in allow, so it may not send")
        for route in self.routes:
            if strangers := set(route.senders) - set(self.allow):
                raise PacsError(f"routes: {min(strangers)} is not in allow, so it may not send")
            self._check_no_circle(route)
        if self.audit is not None and not _is_place(self.audit):
            raise PacsError("audit: need HOST:PORT, such as syslog.example.org:514")
        TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)  # refuses an incomplete set

    def _check_no_circle(self, route: Route) -> None:
        """Check that no sender would receive its own originals.

        Raises:
            PacsError: A sender would.
        """
        if not route.originals:
            return
        for place in route.forward:
            title, at, _ = (
                place.removeprefix("dimse://").removeprefix("dimse+tls://").rpartition("@")
            )
            if at and title in (route.senders or self.allow):
                raise PacsError(
                    f"routes: {title} may send, and would get its own originals back; need senders "
                    "in the route that do not include it"
                )

    @property
    def destinations(self) -> tuple[str, ...]:
        """All destinations of results, each once, `forward` first."""
        others = (each for route in self.routes for each in route.forward)
        return tuple(dict.fromkeys((self.forward, *others)))

    @property
    def tls(self) -> TlsFiles | None:
        """The files for TLS; None without TLS."""
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)


def make_settings(given: Mapping[str, Any], config: Path | None = None) -> NodeSettings:
    """Merge settings: options override the file, and the file overrides the defaults.

    Args:
        given: Options that were given, by the names of `NodeSettings`.
        config: The TOML file, or None.

    Raises:
        PacsError: The file cannot be read, has an unknown key or a value of a wrong type; or a
            value is missing or not allowed.
    """
    options = {option_of(name): value for name, value in given.items()}
    try:
        if config is None:
            return NodeSettings(**options)
        with config.open("rb"):
            pass  # pydantic takes a missing file for an empty one

        class Configured(NodeSettings):
            model_config = SettingsConfigDict(toml_file=config)

        return NodeSettings.model_construct(**Configured(**options).__dict__)
    except OSError as error:
        raise PacsError(f"{config}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PacsError(explain(error, NodeSettings.model_fields, options, config)) from None
    except ValueError as error:  # of tomllib
        raise PacsError(f"{config}: is not TOML: {error}") from error
