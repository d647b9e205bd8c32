"""The permissions of the modules of today's client-server API."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants.grant import ANSWERS, ENDING, READING, TAKING, WRITING, Grant
from infra_shared.grants.server_server import RECEIVING, REQUESTS, SECRETS

GRANTS: Mapping[str, Grant] = {
    "client_server.account": Grant(
        queues={"remote-joins": "find ring send"},
        mail={"*": "send"},
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "clock": "put",
            **WRITING,
            **ENDING,
            "directory": "batch_write delete get put",
            "parked": "batch_write delete query update",
            "streams": "batch_get batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_write delete get put query update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_server.account_data": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get update"},
    ),
    "client_server.admin": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get query update"},
    ),
    "client_server.capabilities": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get update"},
    ),
    "client_server.delayed_events": Grant(
        queues={
            "delayed-events": "find ring send",
        },
        secrets={
            "signing-key": "get",
            "viewer-secret": "get",
        },
        tables={
            "clock": "put",
            **WRITING,
            "directory": "get",
            "parked": "delete get put update",
            "parked/by-due": "query",
            "remote-keys": "batch_get put",
            "room-log": "batch_get put query update",
            "streams": "batch_get",
            "transient": "batch_get get put update",
            "users": "check delete get put query update",
        },
    ),
    "client_server.devices": Grant(
        objects=ANSWERS,
        secrets={"viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete get put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "transient": "get update",
            "users": "batch_write get put query update",
        },
    ),
    "client_server.directory": Grant(
        objects=ANSWERS,
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **WRITING,
            "directory": "delete get put query",
            "streams": "batch_get",
            "transient": "get put",
            "users": "batch_get delete get put update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_server.fallback": Grant(),
    "client_server.filter": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get put update"},
    ),
    "client_server.key_backup": Grant(
        objects=ANSWERS,
        secrets={"viewer-secret": "get"},
        tables={"keys": "batch_get batch_write delete get put query update", "users": "get update"},
    ),
    "client_server.keys": Grant(
        objects=ANSWERS,
        secrets={
            "viewer-secret": "get",
            "signing-key": "get",
        },
        tables={
            **READING,
            "destinations": "batch_get delete get update",
            "directory": "get",
            "keys": "batch_get batch_write check delete get put query update",
            "listeners": "batch_get",
            "rooms": "batch_get get query update",
            "streams": "batch_get get put query update",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get",
            "transient": "batch_get get put update",
            "users": "batch_get check get query update",
        },
    ),
    "client_server.login": Grant(
        secrets={"identity-provider-*": "get", "viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete get put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_server.media": Grant(
        objects={
            "incoming/*": "get put",
            "media/*": "delete get put",
            "remote/*": "delete get put",
            "thumbnail/*": "get put",
        },
        queues={"incoming-uploads": "ring"},
        secrets=SECRETS,
        tables={
            **REQUESTS,
            "media": "get put update",
            "transient": "get put update",
            "users": "get update",
        },
    ),
    "client_server.old_sync": Grant(
        objects=ANSWERS,
        queues={"wake-*": "create delay delete receive"},
        secrets={"queue-secret": "get", "signing-key": "get"},
        tables={
            **READING,
            "directory": "get query",
            "listeners": "batch_get update",
            "rooms": "batch_get get query",
            "streams": "batch_get batch_write get put query",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get put",
            "users": "batch_get get query update",
        },
    ),
    "client_server.url_previews": Grant(
        objects={"remote/*": "put"},
        secrets={"viewer-secret": "get"},
        tables={"media": "get put", "transient": "update", "users": "get update"},
    ),
    "client_server.mutual_rooms": Grant(
        secrets={"viewer-secret": "get"},
        tables={"rooms": "batch_get", "users": "get query update"},
    ),
    "client_server.presence": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "rooms": "batch_get",
            "streams": "batch_get get put",
            "transient": "update",
            "users": "get query update",
        },
    ),
    "client_server.profile": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **WRITING,
            "directory": "batch_write",
            "streams": "get put",
            "transient": "get put update",
            "users": "delete get put query update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_server.push": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            **READING,
            "directory": "delete put query",
            "listeners": "update",
            "rooms": "batch_get query",
            "streams": "batch_get",
            "transient": "get put",
            "users": "check get put query update",
        },
    ),
    "client_server.push_rules": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get update"},
    ),
    "client_server.receipts": Grant(
        tables={
            "events": "batch_get",
            "room-log": "batch_get",
            "rooms": "batch_get get update",
            "streams": "batch_get get put update",
            "users": "batch_get update",
        },
    ),
    "client_server.registration": Grant(
        mail={"*": "send"},
        secrets={"viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete get put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "transient": "get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_server.relations": Grant(
        objects=ANSWERS,
        tables={
            "events": "batch_get",
            "room-log": "batch_get",
            "rooms": "batch_get query",
            "snapshots": "batch_get",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get update",
        },
    ),
    "client_server.reporting": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "put",
            "events": "batch_get",
            "room-log": "batch_get",
            "rooms": "batch_get get query",
            "snapshots": "batch_get",
            "streams": "batch_get",
            "transient": "update",
            "users": "batch_get get update",
        },
    ),
    "client_server.room_membership": Grant(
        objects=ANSWERS,
        queues={"dead-letters": "find send", "remote-joins": "find ring send"},
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "clock": "put",
            **TAKING,
            "directory": "get",
            "streams": "batch_get get put update",
            "users": "batch_get check delete get put query update",
        },
    ),
    "client_server.room_messages": Grant(
        objects=ANSWERS,
        secrets={"signing-key": "get"},
        tables={
            **RECEIVING,
            "sync-tokens": "get",
            "transient": "batch_get delete get put update",
            "users": "batch_get delete put update",
        },
    ),
    "client_server.room_send": Grant(
        queues={
            "delayed-events": "find ring send",
            "remote-joins": "find ring send",
            "dead-letters": "find send",
        },
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "clock": "put",
            **TAKING,
            "directory": "get",
            "parked": "put",
            "parked/by-due": "query",
            "streams": "batch_get get put update",
            "users": "batch_get check delete get put query update",
        },
    ),
    "client_server.room_state": Grant(
        objects=ANSWERS,
        tables={
            **READING,
            "rooms": "batch_get query",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get update",
        },
    ),
    "client_server.room_summary": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "destinations": "delete get update",
            "directory": "get",
            "rooms": "batch_get get query",
            "transient": "batch_get get put",
            "users": "batch_get get update",
        },
    ),
    "client_server.rooms": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **TAKING,
            "directory": "delete get put update",
            "streams": "batch_get get put update",
            "users": "delete get put query update",
        },
        queues={"dead-letters": "find send"},
    ),
    "client_server.search": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            **READING,
            "rooms": "batch_get query",
            "streams": "batch_get",
            "transient": "get put",
            "users": "get query update",
        },
    ),
    "client_server.spaces": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "destinations": "delete get update",
            "rooms": "batch_get get query",
            "transient": "batch_get get put",
            "users": "batch_get get update",
        },
    ),
    "client_server.sync": Grant(
        objects=ANSWERS,
        queues={"wake-*": "create delay delete receive"},
        secrets={"queue-secret": "get", "signing-key": "get"},
        tables={
            **READING,
            "listeners": "batch_get update",
            "rooms": "batch_get get query",
            "streams": "batch_get batch_write get put query",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get put update",
            "users": "batch_get get query update",
        },
    ),
    "client_server.tags": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get update"},
    ),
    "client_server.third_party": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get update"},
    ),
    "client_server.threepids": Grant(
        mail={"*": "send"},
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "delete get put",
            "transient": "get put update",
            "users": "delete get put query update",
        },
    ),
    "client_server.to_device": Grant(
        queues={
            "outbound": "find ring send",
        },
        secrets={"viewer-secret": "get"},
        tables={
            "streams": "batch_get batch_write put update",
            "streams/by-seq": "query",
            "transient": "batch_get put",
            "users": "batch_get get query update",
            "destinations": "put update",
        },
    ),
    "client_server.typing": Grant(
        secrets={"viewer-secret": "get"},
        tables={"rooms": "get update", "streams": "get put", "users": "get update"},
    ),
    "client_server.user_directory": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "query",
            "rooms": "batch_get query",
            "users": "batch_get get query update",
        },
    ),
    "client_server.user_interactive_auth": Grant(
        secrets={"viewer-secret": "get"},
        tables={"directory": "get put", "transient": "get put update", "users": "get query update"},
    ),
    "client_server.versions": Grant(),
    "client_server.voip": Grant(
        secrets={"turn-secret": "get", "viewer-secret": "get"},
        tables={"users": "get update"},
    ),
    "client_server.well_known": Grant(),
}
