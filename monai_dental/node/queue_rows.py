"""What a row of a node's queue holds."""

from __future__ import annotations

from dataclasses import dataclass

QUEUE = "queue.sqlite"
RECEIVED, DERIVED, FORWARDED = "received", "derived", "forwarded"
SKIPPED, FAILED = "skipped", "failed"
STATES = (RECEIVED, DERIVED, FORWARDED, SKIPPED, FAILED)

VERSION = 2
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
    begun INTEGER NOT NULL DEFAULT 0,
    ends INTEGER NOT NULL DEFAULT 0,
    proof TEXT NOT NULL DEFAULT '',
    place TEXT NOT NULL DEFAULT '',
    resent INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instances_by_state ON instances (state, due, changed);
CREATE INDEX IF NOT EXISTS instances_by_output ON instances (output_uid);
"""
COLUMNS = (
    "key, state, reason, uid, recipe, output, output_uid, output_digest, output_stamp, attempts, "
    "due, changed, ends, proof, place, resent"
)
ADDED = {
    "begun": "INTEGER NOT NULL DEFAULT 0",
    "ends": "INTEGER NOT NULL DEFAULT 0",
    "proof": "TEXT NOT NULL DEFAULT ''",
    "place": "TEXT NOT NULL DEFAULT ''",
    "resent": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns that version 1 did not have."""


@dataclass(frozen=True)
class QueuedInstance:
    """What is known of one received instance.

    Attributes:
        key: SHA-256 of it: file meta information and dataset.
        state: "received": to denoise; "derived": to forward; "forwarded": proven to have arrived;
            "skipped"; "failed".
        reason: Why it was skipped or failed, or could not be forwarded yet.
        uid: SOP Instance UID that its sender told; "" where that is none.
        recipe: Digest of the settings that led to the state.
        output: Place of the derived instance in the spool.
        output_uid: Its SOP Instance UID.
        output_digest: SHA-256 of its bytes.
        output_stamp: Its stamp.
        attempts: How often the archive refused it.
        due: When it is forwarded at the earliest, in seconds since the epoch.
        changed: When it came into its state, in seconds since the epoch.
        ends: How often the process ended while it was being forwarded.
        proof: What proved that it has arrived; see `monai_dental.pacs.parcel`.
        place: STUDY/SERIES/INSTANCE of the derived instance that was forwarded.
        resent: Whether it came again since, so that the archive is to be asked for it.
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
