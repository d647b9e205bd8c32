"""Helpful errors for requests whose path or method client API v1 excludes."""

from __future__ import annotations

PREFIX = "/_matrix/client/api/v1/"
ONCE = ("createRoom", "join", "send", "redact", "invite", "leave", "kick", "ban", "unban")
"""Actions that take a transaction ID: those in rooms, and others."""


def explain(method: str, path: str, resource: str) -> str | None:
    """Return a sentence that says how to correct a request that no endpoint serves; None if there is none.

    `resource` is the route that the path belongs to, `/{proxy+}` for none.
    """
    if not path.startswith(PREFIX):
        return None
    parts = path.removeprefix(PREFIX).strip("/").split("/")
    if parts[0] == "rooms" and len(parts) > 3 and parts[2] == "state":
        if method == "POST":
            return "State can't be set by POST: use PUT"
        if method == "PUT" and len(parts) > 5:
            return "State has no transaction IDs: the path ends with the state key"
        return None
    if method == "POST" and resource.endswith("/{txnId}"):
        return "A POST has no transaction ID: leave it out of the path, or use PUT"
    action = parts[2] if parts[0] == "rooms" and len(parts) > 2 else parts[0]
    if method == "PUT" and action in ONCE and resource != "/{proxy+}" and not resource.endswith("/{txnId}"):
        return "A PUT needs a transaction ID at the end of its path; without one, use POST"
    return None
