"""The settings of a node: options, file, and errors in either."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from monai_dental.cli import main
from monai_dental.dicom.compression import COMPRESSIONS
from monai_dental.errors import OutputError, PacsError
from monai_dental.inference.backends import BACKENDS
from monai_dental.node.settings import NodeSettings, make_settings
from monai_dental.node.settings_pages import as_toml, with_table
from monai_dental.node.spool import Spool

GOOD = 'forward = "A@127.0.0.1:1"\nallow = ["B"]\nport = 0'
DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Factory of TOML files."""

    def write(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text)
        return path

    return write


def test_example_and_table_are_those_of_the_settings(tmp_path) -> None:
    """If this fails, run: python -m monai_dental.node.settings_pages docs."""
    page = (DEPLOY.parent / "node.md").read_text()

    assert (DEPLOY / "node.toml").read_text() == as_toml()
    assert page == with_table(page)


def test_example_is_good_with_and_without_all_that_it_shows(tmp_path) -> None:
    example = (DEPLOY / "node.toml").read_text()
    everything = tmp_path / "node.toml"
    everything.write_text(re.sub(r"^#(?=\S)", "", example, flags=re.MULTILINE))

    said = make_settings({}, DEPLOY / "node.toml")
    told = make_settings({}, everything)

    names = re.findall(r"^#?([a-z-]+) =", example, flags=re.MULTILINE)
    assert names == [name.replace("_", "-") for name in NodeSettings.model_fields]
    for name in ("host", "spool_limit", "associations", "max_pdu", "max_object", "longest_wait",
                 "strength", "backend", "compress", "all_xray", "time_limit", "proof"):  # fmt: skip
        assert getattr(told, name) == getattr(said, name), name


def test_choices_are_those_of_what_takes_them() -> None:
    fields = NodeSettings.model_fields
    assert set(get_args(fields["backend"].annotation)) == set(BACKENDS)
    assert set(get_args(fields["compress"].annotation)) == set(COMPRESSIONS)


def test_each_setting_is_an_option(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["node", "--help"])

    told = capsys.readouterr().out
    for name, field in NodeSettings.model_fields.items():
        assert (f"--{name.replace('_', '-')}" in told) == (name != "routes")  # tables
        assert field.description


def test_missing_extra_is_told(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_settings", None)

    with pytest.raises(SystemExit) as caught:
        main(["node", "--forward", "A@h:1"])

    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert (
        "error: pydantic_settings is not installed in this environment; install monai-dental"
        in said
    )


def test_service_shows_the_key_where_the_example_looks_for_it() -> None:
    """The node's user is created by systemd, and cannot read a key that only root can read."""
    unit = (DEPLOY / "monai-dental-node.service").read_text()
    example = (DEPLOY / "node.toml").read_text()

    (name,) = re.findall(r"^#LoadCredential=([^:]+):/", unit, flags=re.MULTILINE)
    assert f'\n#tls-key = "/run/credentials/monai-dental-node.service/{name}"\n' in example


def test_options_outdo_the_file(config) -> None:
    path = config('forward = "A@h:1"\nallow = ["B"]\nport = 104\nstrength = 1')

    settings = make_settings({"port": 105}, path)

    assert settings == NodeSettings(forward="A@h:1", allow=("B",), port=105, spool=settings.spool)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 104", "prot is not a setting; the settings are forward, allow, ae-title"),
        ('spool = ""', "spool: need a path in quotes"),
        ('port = "104"', "port is str; need a whole number"),
        ("all-xray = 1", "all-xray is int; need true or false"),
        ('allow = "A"', "allow is str; need a list of strings"),
        ("port = ", "is not TOML"),
    ],
)
def test_wrong_file_is_told(config, text, message) -> None:
    path = config(text)
    with pytest.raises(PacsError, match=re.escape(f"{path}: {message}")):
        make_settings({}, path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"allow": ("A" * 17,)}, "need 1 to 16 ASCII characters"),
        ({"allow": ()}, "allow is (); need at least one"),
        ({"port": 65536}, "port is 65536; need 0 to 65535"),
        ({"max_pdu": 0}, "max-pdu is 0; need 4096 to 1048576"),
        ({"associations": 1000}, "associations is 1000; need 1 to 400"),
        ({"spool_limit": 1}, "need room for one object"),
        ({"tls_cert": Path("a")}, "need tls-cert, tls-key and tls-ca, or none"),
        ({"strength": 2.0}, "strength is 2.0; need 0 to 1"),
        ({"backend": "tensorrt"}, "backend is tensorrt; need one of torch, openvino"),
        ({"compress": "jpeg"}, "compress is jpeg; need one of none, jpegls, as-source"),
        ({"longest_wait": 0.0}, "longest-wait is 0.0; need seconds above 0"),
    ],
)
def test_wrong_value_is_told(wrong, message) -> None:
    with pytest.raises(PacsError, match=re.escape(message)):
        make_settings({"forward": "A@h:1", "allow": ("A",), **wrong})


def test_command_checks_settings(config, capfd) -> None:
    path = config(GOOD)

    assert main(["node", "--config", str(path), "--check-config"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first == "the settings are good"
    assert second.startswith("the archive does not answer; the node would wait: dimse://A@127.")

    assert main(["node", "--config", str(path), "--check-config", "--forward", "A@h"]) == 2
    assert "has no port" in capfd.readouterr().err
    assert main(["node", "--allow", "A", "--check-config"]) == 2
    assert "forward is missing; need --forward" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"--device": "banana"}, "device: banana: no such device here; need cpu, or cuda with"),
        ({"--device": "cuda:99"}, "device: cuda:99: no such device here"),
        ({"--host": "192.0.2.1"}, "port: 192.0.2.1:0: cannot listen there: Cannot assign"),
        ({"--port": "TAKEN"}, "cannot listen there: Address already in use"),
        ({"--health-port": "TAKEN"}, "health-port: 127.0.0.1:"),
        ({"--port": "FREE", "--health-port": "FREE"}, "port and health-port are both"),
        ({"--forward": "A@no-such-host.invalid:104"}, "no-such-host.invalid: cannot be resolved"),
        ({"--forward": "dicomweb+https://no-such-host.invalid:1/x"}, "cannot be resolved to an IP"),
        ({"--forward": "A@localhost:FREE", "--port": "FREE"}, "is this node itself; need the"),
        ({"--forward": "dicomweb+http://127.0.0.1:1/x", "--proof": "commitment"}, "has no storage"),
    ],
)
def test_check_tries_what_the_node_will_do(config, free_port, capfd, wrong, message) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"TAKEN": str(taken.getsockname()[1]), "FREE": str(free_port)}
        given = []
        for option, value in wrong.items():
            for name, port in ports.items():
                value = value.replace(name, port)
            given += [option, value]

        assert main(["node", "--config", str(config(GOOD)), "--check-config", *given]) == 2

    assert message in capfd.readouterr().err


def test_check_looks_at_each_archive_and_at_the_token_of_the_page(
    config, monkeypatch, capfd
) -> None:
    routes = "\nroutes = [{forward = ['A@no-such-host.invalid:104']}]"
    assert main(["node", "--config", str(config(GOOD + routes)), "--check-config"]) == 2
    assert "no-such-host.invalid: cannot be resolved" in capfd.readouterr().err

    monkeypatch.setenv("MONAI_DENTAL_PAGE_TOKEN", "short")
    options = ["node", "--config", str(config(GOOD)), "--health-port", "0", "--check-config"]
    assert main(options) == 2
    assert "MONAI_DENTAL_PAGE_TOKEN: need 16 or more letters" in capfd.readouterr().err


@pytest.mark.parametrize("place", ["file", "file/deep/spool"])
def test_spool_that_cannot_be_made_is_told(place, config, tmp_path, capfd) -> None:
    (tmp_path / "file").touch()
    options = ["node", "--config", str(config(GOOD)), "--spool"]

    said = f"error: {tmp_path / place}: cannot be written: {tmp_path / 'file'} is not a folder\n"
    for more in ([], ["--check-config"]):
        assert main([*options, str(tmp_path / place), *more]) == 2
        assert capfd.readouterr().err == said


def test_check_of_the_spool_makes_nothing(config, tmp_path, monkeypatch, capfd) -> None:
    options = ["node", "--config", str(config(GOOD))]
    folder = tmp_path / "deep" / "spool"

    assert main([*options, "--spool", str(folder), "--check-config"]) == 0
    assert not folder.parent.exists()
    monkeypatch.setattr("monai_dental.node.spool.os.access", lambda place, _: place != tmp_path)
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path} is not accessible to this user")):
        Spool(folder, 0).check()


def test_wrong_certificate_file_is_told(config, certificates, capfd) -> None:
    path = config(GOOD)
    options = ["node", "--config", str(path), "--check-config"]
    files = {"--tls-cert": "node.crt", "--tls-key": "node.key", "--tls-ca": "ca.crt"}

    def check(**other: str) -> int:
        given = {**files, **{f"--tls-{name}": file for name, file in other.items()}}
        return main(options + [str(x) for k, v in given.items() for x in (k, certificates / v)])

    assert check() == 0
    assert check(key="sender.key") == 2
    assert "need a PEM certificate and its PEM private key" in capfd.readouterr().err
    assert check(ca="gone.crt") == 2
    assert "gone.crt: cannot be read: No such file" in capfd.readouterr().err
    assert check(ca="node.key") == 2
    assert "holds no PEM certificate" in capfd.readouterr().err
