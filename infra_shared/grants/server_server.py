"""The permissions of the server-server API's modules, and those for requests to other servers."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants.grant import READING, TAKING, Grant

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

MEMBERSHIP: Mapping[str, str] = {**TAKING, "users": "delete put update"}
"""The tables for adding membership events of other servers' users to rooms."""

SERVING: Mapping[str, str] = {**SIGNED, **READING, "rooms": "batch_get get query"}
"""The tables for an endpoint that serves rooms' events to other servers."""
RECEIVING: Mapping[str, str] = {
    **TAKING,
    "streams": "batch_get",
    "users": "batch_get delete get put update",
}
"""The tables for adding events of other servers, and asking about them; only the worker needs `parked`."""

GRANTS: Mapping[str, Grant] = {
    "server_server.directory": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "directory": "query", "rooms": "batch_get get query", "snapshots": "batch_get"},
    ),
    "server_server.invites": Grant(
        secrets=SECRETS,
        tables={
            **SIGNED,
            "rooms": "batch_get get update",
            "streams": "batch_get get put update",
            "users": "delete get put query update",
            "events": "batch_get",
            "room-log": "batch_get",
            "snapshots": "batch_get",
        },
    ),
    "server_server.joins": Grant(secrets=SECRETS, tables=MEMBERSHIP, queues={"dead-letters": "find send"}),
    "server_server.knocks": Grant(secrets=SECRETS, tables=MEMBERSHIP, queues={"dead-letters": "find send"}),
    "server_server.leaving": Grant(secrets=SECRETS, tables=MEMBERSHIP, queues={"dead-letters": "find send"}),
    "server_server.backfill": Grant(secrets=SECRETS, tables=SERVING),
    "server_server.event_auth": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "events": "batch_get", "room-log": "batch_get", "rooms": "batch_get get query"},
    ),
    "server_server.events": Grant(secrets=SECRETS, tables=SERVING),
    "server_server.transactions": Grant(
        queues={"room-pdus": "find ring send"},
        secrets=SECRETS,
        tables={
            **SIGNED,
            "rooms": "batch_get get query update",
            "events": "batch_get",
            "keys": "batch_get delete put query update",
            "listeners": "batch_get",
            "room-log": "batch_get",
            "streams": "batch_get batch_write get put update",
            "streams/by-seq": "query",
            "transient": "batch_get get put update",
            "users": "batch_get query",
        },
    ),
    "server_server.keys": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "remote-keys": "put query"},
    ),
    "server_server.media": Grant(
        objects={"incoming/*": "get", "media/*": "get", "thumbnail/*": "get put"},
        queues={"incoming-uploads": "ring"},
        secrets=SECRETS,
        tables={**SIGNED, "media": "get put update"},
    ),
    "server_server.query": Grant(
        secrets=SECRETS,
        tables={**SIGNED, "directory": "get", "rooms": "get query", "users": "get"},
    ),
    "server_server.openid": Grant(tables={"transient": "get"}),
    "server_server.user_devices": Grant(
        secrets=SECRETS,
        tables={
            **SIGNED,
            "keys": "batch_get get query",
            "rooms": "batch_get",
            "users": "query",
        },
    ),
    "server_server.user_keys": Grant(
        secrets=SECRETS,
        tables={
            **SIGNED,
            "keys": "batch_get delete get query update",
            "rooms": "update",
            "streams": "batch_get put update",
            "users": "query",
        },
    ),
    "server_server.third_party_invite": Grant(
        secrets=SECRETS,
        tables={**MEMBERSHIP, "streams": "batch_get", "users": "delete get put query update"},
        queues={"dead-letters": "find send"},
    ),
    "server_server.version": Grant(),
    "server_server.well_known": Grant(),
}
