"""The command `monai-dental`: the only argparse; one module a command."""

from monai_dental.cli.command import main

__all__ = ["main"]
