"""What the modules of the server-server API may do, and what whoever speaks with other servers needs."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants.grant import Grant

REQUESTS: Mapping[str, str] = {
    "destinations": "delete get update",
    "transient": "get put",
}
"""The tables for asking other servers; the secret is the signing key."""
KEYS: Mapping[str, str] = {**REQUESTS, "remote-keys": "batch_get put"}
"""The tables for checking other servers' signatures, on events too."""
SIGNED: Mapping[str, str] = {**KEYS, "transient": "get put update"}
"""The tables for an endpoint that servers call (`Auth.SERVER`); the secrets are both of SECRETS."""
SECRETS: Mapping[str, str] = {"signing-key": "get", "viewer-secret": "get"}

MEMBERSHIP = Grant(
    secrets=SECRETS,
    tables={
        **SIGNED,
        "events": "batch_get put update",
        "room-log": "batch_get put query update",
        "rooms": "batch_get check delete get put query update",
        "snapshots": "batch_get batch_write delete get put",
        "users": "batch_get delete get put update",
    },
)
"""For taking membership events of other servers' users into rooms."""

GRANTS: Mapping[str, Grant] = {
    "server_server.invites": Grant(
        secrets=SECRETS,
        tables={
            **SIGNED,
            "rooms": "batch_get get",
            "streams": "batch_get get put update",
            "users": "get put update",
        },
    ),
    "server_server.joins": MEMBERSHIP,
    "server_server.knocks": MEMBERSHIP,
    "server_server.leaving": MEMBERSHIP,
    "server_server.keys": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "remote-keys": "put query"},
    ),
    "server_server.query": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "directory": "get", "rooms": "get query", "users": "get"},
    ),
    "server_server.third_party_invite": MEMBERSHIP,
    "server_server.version": Grant(),
    "server_server.well_known": Grant(),
}
