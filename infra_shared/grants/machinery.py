"""The permissions of the WebSocket API's modules and of the workers."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants import server_server
from infra_shared.grants.grant import WRITING, Grant

GRANTS: Mapping[str, Grant] = {
    "websocket": Grant(
        queues={"socket-pushes": "find ring send"},
        secrets={"signing-key": "get"},
        sockets={"*": "manage"},
        tables={
            "clock": "put",
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
    "workers.clock": Grant(
        queues={
            "dead-letters": "find send",
            "delayed-events": "find inspect ring",
            "gateway-pushes": "find inspect ring",
            "incoming-uploads": "find inspect ring",
            "outbound": "find inspect ring",
            "remote-joins": "find inspect ring",
            "room-pdus": "find inspect ring",
            "socket-pushes": "find inspect ring",
        },
        tables={"clock": "batch_write put query"},
    ),
    "workers.closing": Grant(
        queues={
            "remote-joins": "find ring send",
        },
        secrets={
            "signing-key": "get",
        },
        tables={
            "clock": "put",
            "destinations": "delete get update",
            "directory": "batch_write delete put",
            "events": "batch_get put",
            "keys": "batch_write delete get put query",
            "listeners": "update",
            "parked": "batch_write delete query update",
            "parked/by-due": "query",
            "remote-keys": "batch_get put",
            "room-log": "batch_get put update",
            "rooms": "batch_get check delete get put query update",
            "snapshots": "batch_get batch_write delete put",
            "streams": "batch_get batch_write get put query update",
            "sync-tokens": "batch_write query",
            "transient": "get put",
            "users": "batch_write delete get put query update",
        },
    ),
    "workers.delayed_events": Grant(
        queues={
            "delayed-events": "find ring send",
        },
        secrets={
            "signing-key": "get",
        },
        tables={
            "clock": "put",
            **WRITING,
            "directory": "get",
            "parked": "batch_get batch_write delete get update",
            "parked/by-due": "query",
            "remote-keys": "batch_get put",
            "room-log": "batch_get put query update",
            "streams": "batch_get",
            "transient": "batch_get get put update",
            "users": "batch_get delete get put query update",
        },
    ),
    "workers.joins": Grant(
        queues={"remote-joins": "find ring send"},
        secrets={"signing-key": "get"},
        tables={
            "clock": "put",
            **WRITING,
            "remote-keys": "batch_get put",
            "snapshots": "batch_get batch_write delete get put",
            "streams": "get put update",
            "transient": "get put update",
            "users": "delete get put update",
        },
    ),
    "workers.pushes": Grant(
        queues={"gateway-pushes": "find ring send"},
        tables={
            "clock": "put",
            "directory": "delete put",
            "listeners": "update",
            "room-log": "batch_get",
            "rooms": "batch_get get",
            "streams": "batch_get",
            "transient": "delete get put update",
            "users": "batch_get delete get put",
        },
    ),
    "workers.queues": Grant(
        queues={
            "dead-letters": "find send",
            "room-pdus": "find ring send",
            "socket-pushes": "find ring send",
        },
        secrets={"signing-key": "get"},
        sockets={"*": "manage"},
        tables={
            "clock": "put",
            **server_server.RECEIVING,
            "connections": "delete get update",
            "listeners": "batch_get update",
            "parked": "delete get put",
            "streams": "batch_get get put query update",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get put",
            "users": "batch_get delete get put query update",
            "keys": "batch_get delete put query update",
        },
    ),
    "workers.schedules": Grant(
        objects={"media/*": "delete", "thumbnail/*": "delete"},
        queues={
            "room-pdus": "find ring send",
        },
        tables={
            "directory": "delete",
            "events": "batch_get batch_write",
            "keys": "batch_get update",
            "media": "delete get put scan update",
            "parked": "delete get put update",
            "parked/by-due": "query",
            "room-log": "batch_write put query update",
            "rooms": "batch_get batch_write delete get put query scan update",
            "snapshots": "batch_get batch_write delete query update",
            "streams": "batch_write query",
            "users": "batch_write get",
        },
    ),
    "workers.sending": Grant(
        queues={"outbound": "find ring send"},
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
            "gateway-pushes": "find ring send",
            "outbound": "find ring send",
            "socket-pushes": "find ring send",
            "wake-*": "create send",
            "room-pdus": "find ring send",
        },
        secrets={"queue-secret": "get"},
        tables={
            "clock": "put",
            "events": "batch_get",
            "listeners": "batch_get update",
            "room-log": "query",
            "rooms": "batch_get get query update",
            "streams": "batch_get get put update",
            "users": "batch_get query",
            "destinations": "update",
            "keys": "batch_get put update",
        },
    ),
    "workers.uploads": Grant(
        objects={"incoming/*": "delete get put", "media/*": "delete put"},
        tables={
            "media": "batch_get get update",
            "users": "batch_get",
        },
    ),
}
