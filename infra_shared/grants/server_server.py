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

GRANTS: Mapping[str, Grant] = {
    "server_server.keys": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "remote-keys": "put query"},
    ),
    "server_server.version": Grant(),
    "server_server.well_known": Grant(),
}
