"""Messages of `monai-dental label` before a server starts."""

import sys

import pytest

from monai_dental.cli import main


def test_environment_without_monai_label_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "monailabel", None)

    assert main(["label", "--studies", str(tmp_path)]) == 2
    assert (
        "MONAI Label is not installed in this environment; scripts/label-env"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--studies", "nowhere"], "nowhere: need a folder of images, or the http"),
        (["--studies", ".", "--bundle", "nothing"], "nothing: no such bundle"),
    ],
)
def test_wrong_usage_is_told(arguments, said, capsys):
    assert main(["label", *arguments]) == 2
    assert said in capsys.readouterr().err
