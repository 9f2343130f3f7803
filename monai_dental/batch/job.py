"""The job to do with each file, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from monai_dental.batch.source import Instance
from monai_dental.batch.target import StoredObject

TOO_LARGE = "takes more memory than the limit allows"
"""Reason for a file that failed for lack of memory."""


@dataclass(frozen=True)
class Recipe:
    """All settings on which an outcome depends, as digests.

    Attributes:
        derivation: Digest of what determines a derived instance: model, strength, compression.
        selection: Digest of what determines which files are denoised.
        model_digest: SHA-256 of the model's weights.
        strength: Fraction of the noise that is removed.
    """

    derivation: str
    selection: str
    model_digest: str = ""
    strength: float | None = None

    def mark(self, outcome: str) -> str:
        """Return the digest that a row with this outcome has while it is valid."""
        marks = {"derived": self.derivation, "skipped": self.selection}
        return marks.get(outcome, f"{self.derivation}{self.selection}")


@dataclass(frozen=True)
class Result:
    """The result for one file.

    Attributes:
        outcome: "derived", "skipped", "failed", or "left" if the file is still as in `known`.
        reason: Why it was skipped or failed; for a derived one, values that were interpreted
            differently from what the file says.
        stamp: Stamp of the file and its mask, before they were read.
        digest: SHA-256 of its bytes.
        mask_digest: SHA-256 of the bytes of its mask; "" if it has none.
        stored: The derived instance.
    """

    outcome: str
    reason: str = ""
    stamp: str = ""
    digest: str = ""
    mask_digest: str = ""
    stored: StoredObject | None = None


class Engine(Protocol):
    """The state of a worker process: a loaded model, and all that it needs to process a file."""

    @property
    def recipe(self) -> Recipe:
        """The settings."""

    def run(self, instance: Instance, known: str) -> Result:
        """Process one file.

        Args:
            instance: The file.
            known: Concatenated digests of file and mask whose outcome is already known and still
                valid; "" for none.

        Returns:
            The result; all faults of the file are reported as a result.

        Raises:
            OutputError: The target cannot be written any more: the run cannot go on.
        """


class Job(Protocol):
    """A factory of engines; sent to each worker process, so it must be picklable."""

    def open(self) -> Engine:
        """Make the engine; steps that need much time or memory are done here, once per process.

        Raises:
            MonaiDentalError: The job cannot be done at all.
        """
