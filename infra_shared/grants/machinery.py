"""What the modules of the WebSocket API and the workers may do."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants import server_server
from infra_shared.grants.grant import WRITING, Grant

GRANTS: Mapping[str, Grant] = {
    "websocket": Grant(
        queues={"socket-pushes": "find send"},
        secrets={"signing-key": "get"},
        sockets={"*": "manage"},
        tables={
            **WRITING,
            "connections": "delete get put",
            "directory": "get",
            "listeners": "batch_get update",
            "remote-keys": "batch_get put",
            "room-log": "batch_get put query update",
            "streams": "batch_get batch_write get put",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get",
            "transient": "batch_get get put update",
            "users": "batch_get delete get put query update",
        },
    ),
    "workers.delayed_events": Grant(
        queues={
            "delayed-events": "find send",
        },
        secrets={
            "signing-key": "get",
        },
        tables={
            **WRITING,
            "directory": "get",
            "parked": "batch_get batch_write delete get update",
            "parked/by-due": "query",
            "remote-keys": "batch_get put",
            "room-log": "batch_get put query update",
            "streams": "batch_get",
            "transient": "batch_get get put update",
            "users": "batch_get delete get put update",
        },
    ),
    "workers.joins": Grant(
        queues={"remote-joins": "find send"},
        secrets={"signing-key": "get"},
        tables={
            **WRITING,
            "remote-keys": "batch_get put",
            "snapshots": "batch_get batch_write delete get put",
            "streams": "get put update",
            "transient": "get put update",
            "users": "delete get put update",
        },
    ),
    "workers.pushes": Grant(
        queues={"gateway-pushes": "find send"},
        tables={
            "directory": "delete put",
            "listeners": "update",
            "room-log": "batch_get",
            "rooms": "batch_get get",
            "streams": "batch_get",
            "transient": "delete get put",
            "users": "delete get put",
        },
    ),
    "workers.queues": Grant(
        queues={
            "dead-letters": "find send",
            "room-pdus": "find send",
            "socket-pushes": "find send",
        },
        secrets={"signing-key": "get"},
        sockets={"*": "manage"},
        tables={
            **server_server.RECEIVING,
            "connections": "delete get update",
            "listeners": "batch_get update",
            "parked": "delete get put",
            "streams": "batch_get get put update",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get put",
            "users": "batch_get delete get put query update",
            "keys": "batch_get delete put query update",
        },
    ),
    "workers.schedules": Grant(
        queues={"room-pdus": "find send"},
        tables={
            "directory": "delete",
            "events": "batch_get batch_write",
            "parked": "delete update",
            "parked/by-due": "query",
            "room-log": "batch_write put query update",
            "rooms": "batch_get batch_write delete get put query scan update",
            "snapshots": "batch_get batch_write delete query update",
            "streams": "batch_write query",
            "users": "batch_write",
        },
    ),
    "workers.sending": Grant(
        queues={"outbound": "find send"},
        secrets={"signing-key": "get"},
        tables={
            "destinations": "batch_get delete get put query update",
            "room-log": "batch_get query",
            "rooms": "batch_get get query",
            "transient": "get put",
            "keys": "batch_get query",
            "users": "query",
        },
    ),
    "workers.streams": Grant(
        queues={
            "dead-letters": "find send",
            "gateway-pushes": "find send",
            "outbound": "find send",
            "socket-pushes": "find send",
            "wake-*": "create send",
            "room-pdus": "find send",
        },
        secrets={"queue-secret": "get"},
        tables={
            "listeners": "batch_get update",
            "room-log": "query",
            "rooms": "batch_get get query update",
            "streams": "batch_get get put update",
            "users": "batch_get query",
            "destinations": "update",
            "keys": "batch_get update",
        },
    ),
}
