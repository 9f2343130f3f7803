"""What is to be done with each file, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from monai_dental.batch.source import Instance
from monai_dental.batch.target import StoredObject

TOO_LARGE = "takes more memory than the limit allows"
"""Why a file failed for which no memory was left."""


@dataclass(frozen=True)
class Recipe:
    """All settings on which an outcome depends, as digests.

    Attributes:
        derivation: Of what decides how a derived instance looks: model, strength, compression.
        selection: Of what decides which files are denoised.
        model_digest: SHA-256 of the model's weights.
        strength: Share of the noise that is taken out.
    """

    derivation: str
    selection: str
    model_digest: str = ""
    strength: float | None = None

    def mark(self, outcome: str) -> str:
        """The digest that a row of this outcome holds while it is valid."""
        marks = {"derived": self.derivation, "skipped": self.selection}
        return marks.get(outcome, f"{self.derivation}{self.selection}")


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        outcome: "derived", "skipped", "failed", or "left", where the file is as `known` told.
        reason: Why it was skipped or failed; of a derived one, what of it was taken otherwise than
            it says.
        stamp: The file's and its mask's, before they were read.
        digest: SHA-256 of its bytes.
        mask_digest: SHA-256 of the bytes of its mask; "" where it has none.
        stored: The derived instance.
    """

    outcome: str
    reason: str = ""
    stamp: str = ""
    digest: str = ""
    mask_digest: str = ""
    stored: StoredObject | None = None


class Engine(Protocol):
    """What a worker process holds: a loaded model, and all that it takes to run it on a file."""

    @property
    def recipe(self) -> Recipe:
        """The settings."""

    def run(self, instance: Instance, known: str) -> Result:
        """Do one file.

        Args:
            instance: The file.
            known: Digests of file and mask, one behind the other, whose outcome is known already
                and still valid; "" for none.

        Returns:
            What became of it; whatever is wrong with the file is a result.

        Raises:
            OutputError: The target takes no more: the run cannot go on.
        """


class Job(Protocol):
    """How an engine is made; sent to each worker process, so it must survive pickling."""

    def open(self) -> Engine:
        """Make the engine; what takes long or much memory is done here, once in each process.

        Raises:
            MonaiDentalError: The job cannot be done at all.
        """
