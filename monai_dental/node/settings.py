"""The settings of a node: the one place for their names, kinds, limits, defaults and words.

The options of `monai-dental node`, what its TOML file may hold, `docs/deploy/node.toml` and the
table in `docs/node.md` come from `NodeSettings`; `settings_pages.py` writes the last two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from monai_dental.bundle.find import DEFAULT_BUNDLE
from monai_dental.errors import PacsError
from monai_dental.pacs.address import is_ae_title
from monai_dental.pacs.tls import TlsFiles

MEBIBYTE = 1 << 20
_MOST_ASSOCIATIONS = 400  # pynetdicom waits by select(), which knows 1024 files


def default_spool() -> Path:
    """`$XDG_DATA_HOME/monai_dental/node`, else `~/.local/share/monai_dental/node`."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data, "monai_dental", "node")


def _option(name: str) -> str:
    return name.replace("_", "-")


def _check_title(title: str) -> str:
    if not is_ae_title(title) or title != title.strip():
        raise ValueError(
            f"AE title {title!r}: need 1 to 16 ASCII characters, no backslash, no blank at either "
            "end"
        )
    return title


def _check_file(path: Path) -> Path:
    if path == Path():  # an unset variable, not the current folder
        raise ValueError("need a path in quotes")
    return path


Title = Annotated[StrictStr, AfterValidator(_check_title)]
File = Annotated[Path, AfterValidator(_check_file)]
Text = Annotated[StrictStr, Field(min_length=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class NodeSettings(BaseSettings):
    """What a node is told; each is an option of `monai-dental node` and a key of its TOML file.

    Raises:
        ValidationError: A value is missing or not allowed; `make_settings` says so in words.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", alias_generator=_option, populate_by_name=True
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
    host: Text = Field("0.0.0.0", description="address to listen on; 0.0.0.0 is all networks")
    port: StrictInt = Field(11112, ge=0, le=65535, description="port; 0 is any that is free")
    spool: File = Field(
        default_factory=default_spool,
        description="folder of what is received and not yet forwarded: patient data, on a local "
        "disk; needs to be the node's own",
        json_schema_extra={
            "example": "/var/lib/monai-dental",
            "default": "~/.local/share/monai_dental/node",
        },
    )
    spool_limit: StrictInt = Field(
        20480, ge=1,
        description="what the spool may take; beyond it senders are told Out of Resources, and "
        "send again later",
        json_schema_extra={"metavar": "MIB"},
    )  # fmt: skip
    proof: Literal["ask-back", "commitment", "status"] = Field(
        "ask-back",
        description="what proves that the archive has an instance: its storage commitment, or "
        "else that it shows the instance and, if it can, gives it back (ask-back); its commitment "
        "alone (commitment); that it answered Success (status), for one that can only store",
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
        description="the certificates that those of senders, and of the archive of dimse+tls, "
        "must be signed by, PEM",
        json_schema_extra={"example": "/etc/monai-dental/ca.crt"},
    )
    associations: StrictInt = Field(
        20, ge=1, le=_MOST_ASSOCIATIONS, description="how many associations at once"
    )
    max_pdu: StrictInt = Field(
        131072, ge=4096, le=MEBIBYTE, description="longest PDU",
        json_schema_extra={"metavar": "BYTES"},
    )  # fmt: skip
    max_object: StrictInt = Field(
        512, ge=1, description="longest object, and what a deflated one may inflate to",
        json_schema_extra={"metavar": "MIB"},
    )  # fmt: skip
    health_port: StrictInt | None = Field(
        None, ge=0, le=65535, description="port of /health and /metrics",
        json_schema_extra={"example": 11180, "default": "neither"},
    )  # fmt: skip
    health_host: Text = Field(
        "127.0.0.1", description="address of /health and /metrics; they ask for no password"
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
        1.0, ge=0, le=1, description="share of the correction that is applied",
        json_schema_extra={"metavar": "SHARE"},
    )  # fmt: skip
    device: Text | None = Field(
        None, description="cpu, cuda:0, …",
        json_schema_extra={"example": "cuda:0", "default": "a GPU where there is one"},
    )  # fmt: skip
    backend: Literal["torch", "openvino"] = Field(
        "torch",
        description="what runs the network; openvino needs the extra of that name",
    )
    compress: Literal["none", "jpegls", "as-source"] = Field(
        "none", description="how derived instances are compressed, as of batch"
    )
    all_xray: StrictBool = Field(False, description="take DX, CR and CT without dental anatomy too")
    rules: File | None = Field(
        None, description="rules of selection, JSON, as of batch",
        json_schema_extra={
            "metavar": "FILE",
            "example": "/etc/monai-dental/rules.json",
            "default": "the package's",
        },
    )  # fmt: skip
    workers: StrictInt | None = Field(
        None, ge=1, description="worker processes",
        json_schema_extra={"example": 2, "default": "one a core, as far as memory goes"},
    )  # fmt: skip
    time_limit: Number = Field(
        600.0, gt=0, description="time that one instance may take to denoise",
        json_schema_extra={"metavar": "SECONDS"},
    )  # fmt: skip
    memory_limit: StrictInt | None = Field(
        None, ge=1, description="memory that one instance may take, beside the model",
        json_schema_extra={
            "metavar": "MIB",
            "example": 4096,
            "default": "the workers' share of three quarters of the machine",
        },
    )  # fmt: skip

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Options, then the TOML file; not the environment, where PORT or HOST mean others."""
        return init_settings, TomlConfigSettingsSource(settings_cls)

    def model_post_init(self, _: object) -> None:
        """Check what no field tells of itself.

        Raises:
            PacsError: Values do not go together.
        """
        if self.max_object > self.spool_limit:
            raise PacsError(
                f"max-object is {self.max_object} MiB and spool-limit {self.spool_limit} MiB; "
                "need room for one object"
            )
        TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)  # refuses some without the others

    @property
    def tls(self) -> TlsFiles | None:
        """The files for TLS; None where it is not spoken."""
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)


def make_settings(given: Mapping[str, Any], config: Path | None = None) -> NodeSettings:
    """Put settings together: options first, then the file, then what holds without either.

    Args:
        given: Options that were given, by the names of `NodeSettings`.
        config: The TOML file; None for none.

    Raises:
        PacsError: The file cannot be read, has an unknown key or a value of a wrong type; or a
            value is missing or not allowed.
    """
    options = {_option(name): value for name, value in given.items()}
    try:
        if config is None:
            return NodeSettings(**options)
        with config.open("rb"):
            pass  # the source takes a file that is not there for an empty one

        class Configured(NodeSettings):
            model_config = SettingsConfigDict(toml_file=config)

        return NodeSettings.model_construct(**Configured(**options).__dict__)
    except OSError as error:
        raise PacsError(f"{config}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PacsError(_explain(error, options, config)) from None
    except ValueError as error:  # of tomllib
        raise PacsError(f"{config}: is no TOML: {error}") from error


def _explain(error: ValidationError, options: Mapping[str, Any], config: Path | None) -> str:
    """Say what is wrong with the first value that is."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda each: each["type"] == "missing")  # last, what is merely not said
    name = str(first["loc"][0]).replace("-", "_")
    option, value = _option(name), first["input"]
    where = "" if config is None or option in options else f"{config}: "
    if first["type"] == "extra_forbidden":
        known = ", ".join(map(_option, NodeSettings.model_fields))
        return f"{where}{option} is no setting; the settings are {known}"
    if first["type"] == "missing":
        file = "" if config is None else f", or {option} in {config}"
        return f"{option} is missing; need --{option}{file}"
    if first["type"] == "value_error":
        return f"{where}{option}: {first['ctx']['error']}"
    field = NodeSettings.model_fields[name]
    if first["type"].endswith(("_type", "_parsing")):
        return f"{where}{option} is {type(value).__name__}; need {kind_of(field)}"
    return f"{where}{option} is {value}; need {limits_of(field)}"


def kind_of(field: FieldInfo) -> str:
    """What a value has to be, in words."""
    text = str(field.annotation)
    for kind, words in (
        ("tuple", "a list of texts"),
        ("bool", "true or false"),
        ("int", "a whole number"),
        ("float", "a number"),
        ("Path", "a path in quotes"),
    ):
        if kind in text:
            return words
    return "a text in quotes"


def limits_of(field: FieldInfo) -> str:
    """Which values are allowed, in words; "" where any is."""
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(each, str) for each in choices):
        return f"one of {', '.join(choices)}"
    limits = {}
    for each in field.metadata:
        for name in ("ge", "gt", "le", "min_length"):
            if getattr(each, name, None) is not None:
                limits[name] = getattr(each, name)
    if "le" in limits:
        return f"{limits['ge']} to {limits['le']}"
    if "ge" in limits:
        return f"at least {limits['ge']}"
    if "gt" in limits:
        return "seconds above 0"
    return "at least one" if "tuple" in str(field.annotation) else kind_of(field) if limits else ""
