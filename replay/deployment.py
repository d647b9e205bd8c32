"""The deployment for which fixtures are recorded: its name, its settings, and invented secrets."""

from __future__ import annotations

import base64
from pathlib import Path

from replay.stage import Stage

PREFIX = "murmuration-fixtures"
VIEWER_SECRET = "viewer-secret-of-the-fixtures"  # noqa: S105 - known to all, guards nothing
SIGNING_KEY = "ed25519 fixed " + base64.b64encode(b"murmuration fixtures signing key").decode().rstrip("=")
VARIABLES = {
    "MURMURATION_SERVER_NAME": "example.org",
    "MURMURATION_PUBLIC_URL": "https://matrix.example.org",
    "MURMURATION_REGISTRATION": "open",
    "MURMURATION_RATE_LIMITS": "off",
    "MURMURATION_PASSWORD_COST": "4",
    "MURMURATION_VIEWER_SECRET_PARAMETER": f"/{PREFIX}/viewer-secret",
}


def fixture_stage(database_url: str, objects: Path) -> Stage:
    """Return the stage on which fixtures are replayed; `objects` is the folder of the bucket's bodies."""
    return Stage(
        database_url,
        objects,
        prefix=PREFIX,
        secrets={
            "signing-key": SIGNING_KEY,
            "viewer-secret": VIEWER_SECRET,
            "queue-secret": "queue-secret-of-the-fixtures",
            "turn-secret": "turn-secret-of-the-fixtures",
        },
        variables=VARIABLES,
    )
