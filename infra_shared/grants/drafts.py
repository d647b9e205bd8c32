"""The permissions of the founding drafts' modules."""

from __future__ import annotations

from collections.abc import Mapping

from infra_shared.grants.grant import ANSWERS, ENDING, READING, TAKING, WRITING, Grant

GRANTS: Mapping[str, Grant] = {
    "client_v1.history": Grant(
        objects=ANSWERS,
        tables={
            **READING,
            "rooms": "batch_get query",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get update",
        },
    ),
    "client_v1.login": Grant(
        mail={"*": "send"},
        secrets={"viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete get put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_v1.old_sync": Grant(
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
    "client_v1.presence": Grant(
        objects=ANSWERS,
        secrets={"viewer-secret": "get"},
        tables={
            "rooms": "batch_get",
            "streams": "batch_get get put update",
            "transient": "update",
            "users": "batch_get delete get put query update",
        },
    ),
    "client_v1.registration": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete get put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_v1.room_membership": Grant(
        queues={"remote-joins": "find ring send"},
        secrets={"signing-key": "get"},
        tables={
            **WRITING,
            "directory": "get",
            "streams": "get put update",
            "transient": "get put update",
            "users": "batch_get check delete get put update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_v1.room_send": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **WRITING,
            "room-log": "batch_get put query update",
            "transient": "batch_get get put update",
            "users": "batch_get delete get put update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_v1.room_state": Grant(
        objects=ANSWERS,
        tables={
            **READING,
            "rooms": "batch_get query",
            "streams": "batch_get",
            "users": "batch_get update",
        },
    ),
    "client_v1.rooms": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **TAKING,
            "directory": "put",
            "streams": "batch_get",
            "users": "delete get put query update",
        },
        queues={"dead-letters": "find send"},
    ),
    "client_v2.account": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            **ENDING,
            "directory": "delete put",
            "rooms": "get update",
            "streams": "batch_get batch_write get put query update",
            "users": "batch_write get put query update",
        },
    ),
    "client_v2.capabilities": Grant(
        objects=ANSWERS,
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put", "users": "check get put query update"},
    ),
    "client_v2.directory": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "put query",
            "rooms": "batch_get put query update",
            "transient": "get put",
            "users": "get update",
        },
    ),
    "client_v2.filter": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get put update"},
    ),
    "client_v2.history": Grant(
        objects=ANSWERS,
        tables={
            **READING,
            "rooms": "batch_get query",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get get update",
        },
    ),
    "client_v2.receipts": Grant(
        tables={
            "events": "batch_get",
            "rooms": "batch_get get update",
            "streams": "batch_get get put update",
            "users": "batch_get update",
        },
    ),
    "client_v2.room_membership": Grant(
        queues={"dead-letters": "find send", "remote-joins": "find ring send"},
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "clock": "put",
            **TAKING,
            "directory": "get",
            "streams": "batch_get get put update",
            "sync-tokens": "get update",
            "users": "batch_get check delete get put query update",
        },
    ),
    "client_v2.room_send": Grant(
        secrets={"signing-key": "get"},
        tables={
            **WRITING,
            "directory": "get",
            "streams": "batch_get",
            "sync-tokens": "get update",
            "transient": "batch_get get put update",
            "users": "batch_get delete get put query update",
            "remote-keys": "batch_get put",
        },
    ),
    "client_v2.rooms": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            **TAKING,
            "directory": "put",
            "streams": "batch_get get",
            "sync-tokens": "get update",
            "users": "batch_get delete get put query update",
        },
        queues={"dead-letters": "find send"},
    ),
    "client_v2.sync": Grant(
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
}
