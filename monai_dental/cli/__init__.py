"""The command line `monai-dental`: one module for each command; argparse is used only here."""

from monai_dental.cli.command import main

__all__ = ["main"]
