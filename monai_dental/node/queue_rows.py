"""Rows of a node's queue."""

from __future__ import annotations

from dataclasses import dataclass, fields

QUEUE = "queue.sqlite"
RECEIVED, DERIVED, FORWARDED = "received", "derived", "forwarded"
SKIPPED, FAILED = "skipped", "failed"
STATES = (RECEIVED, DERIVED, FORWARDED, SKIPPED, FAILED)

VERSION = 4
ADDED = {
    "begun": "INTEGER NOT NULL DEFAULT 0",
    "ends": "INTEGER NOT NULL DEFAULT 0",
    "proof": "TEXT NOT NULL DEFAULT ''",
    "place": "TEXT NOT NULL DEFAULT ''",
    "resent": "INTEGER NOT NULL DEFAULT 0",
    "study": "TEXT NOT NULL DEFAULT ''",
    "arrived": "REAL NOT NULL DEFAULT 0",
    "urgent": "INTEGER NOT NULL DEFAULT 0",
    "sender": "TEXT NOT NULL DEFAULT ''",
    "destination": "TEXT NOT NULL DEFAULT ''",
    "original": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns that older versions lack."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS instances (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN {STATES}),
    reason TEXT NOT NULL DEFAULT '',
    uid TEXT NOT NULL,
    recipe TEXT NOT NULL DEFAULT '',
    output TEXT NOT NULL DEFAULT '',
    output_uid TEXT NOT NULL DEFAULT '',
    output_digest TEXT NOT NULL DEFAULT '',
    output_stamp TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    changed REAL NOT NULL,
    {", ".join(f"{column} {kind}" for column, kind in ADDED.items())}
) WITHOUT ROWID;
"""
INDEXES = """
CREATE INDEX IF NOT EXISTS instances_by_state ON instances (state, due, changed);
CREATE INDEX IF NOT EXISTS instances_by_output ON instances (output_uid);
CREATE INDEX IF NOT EXISTS instances_by_time ON instances (state, changed);
CREATE INDEX IF NOT EXISTS instances_resent ON instances (due) WHERE resent;
CREATE INDEX IF NOT EXISTS instances_by_study ON instances (study, state, arrived);
"""


@dataclass(frozen=True)
class Arrival:
    """Description of an instance that has been received.

    Attributes:
        uid: SOP Instance UID that the sender gave; "" if that is not a UID.
        study: Study Instance UID; "" if it has none.
        sop_class: SOP Class UID that the sender gave; "" if that is not a UID.
        sender: AE title of the sender.
        peer: IP address of the sender.
    """

    uid: str = ""
    study: str = ""
    sop_class: str = ""
    sender: str = ""
    peer: str = ""


def way_of(key: str, destination: str) -> str:
    """Return the key of the row for a further destination of an instance."""
    return f"{key}@{destination}"


def original_way_of(key: str, destination: str) -> str:
    """Return the key of the row for a destination of an original.

    It cannot equal one of `way_of`: no address begins with a blank.
    """
    return way_of(key, f" {destination}")


def ways_of(key: str) -> tuple[str, str]:
    """Return the range of the keys of all rows of an instance: its start, and its exclusive end."""
    return key, f"{key}A"  # A follows @ in ASCII


def instance_of(key: str) -> str:
    """Return the key of the instance that a row is about."""
    return key.partition("@")[0]


@dataclass(frozen=True)
class QueuedInstance:
    """A row of the queue: one received instance and one destination.

    The destination is that of the derived instance or, if `original` is set, of the original.

    Attributes:
        key: SHA-256 of the instance: File Meta Information and dataset. Rows for further
            destinations, and for those of the original, append the destination: see `way_of` and
            `original_way_of`.
        state: "received": to denoise; "derived": to forward; "forwarded": proven to have arrived;
            "skipped"; "failed".
        reason: Why it was skipped or failed, or could not be forwarded yet.
        uid: SOP Instance UID that the sender gave; "" if that is not a UID.
        recipe: Digest of the settings that led to the state.
        output: Location in the spool of what is forwarded: the derived instance, or the original.
        output_uid: Its SOP Instance UID.
        output_digest: SHA-256 of its bytes.
        output_stamp: Its stamp.
        attempts: How often the archive refused it.
        due: Earliest time to forward it, in seconds since the epoch.
        changed: When it entered its state, in seconds since the epoch.
        ends: How often the process ended while it was being forwarded.
        proof: What proved that it has arrived; see `monai_dental.pacs.parcel`.
        place: STUDY/SERIES/INSTANCE of what was forwarded.
        resent: Whether it was received again since, so that the archive must be asked for it.
        sender: AE title of the sender.
        destination: Where it goes.
        original: Whether the original is forwarded, not the derived instance.
    """

    key: str
    state: str
    reason: str
    uid: str
    recipe: str
    output: str
    output_uid: str
    output_digest: str
    output_stamp: str
    attempts: int
    due: float
    changed: float
    ends: int
    proof: str
    place: str
    resent: int
    sender: str
    destination: str
    original: int


COLUMNS = ", ".join(each.name for each in fields(QueuedInstance))
