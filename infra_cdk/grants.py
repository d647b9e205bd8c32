"""Which module of functions may do what to which resource: the whole of the functions' permissions.

Plain data, without the CDK. `policies` makes IAM policies of it, and what isn't here is refused. The words
are those of `needs.ACTIONS`; names are logical, an index is `table/index`, and a `*` at a name's end stands
for the rest of it. `infra_cdk.recording` measures what the tests use of it.

What follows from a function's route (reading its stream or queue, writing its log) is granted with the
event source and not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra_cdk.needs import MAIL, OBJECTS, QUEUES, SECRETS, SOCKETS, TABLES, Need

Words = Mapping[str, str]
"""Words of ACTIONS with spaces between them, by the resource's name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one module may do."""

    tables: Words = field(default_factory=dict)
    queues: Words = field(default_factory=dict)
    objects: Words = field(default_factory=dict)
    secrets: Words = field(default_factory=dict)
    mail: Words = field(default_factory=dict)
    sockets: Words = field(default_factory=dict)

    def by_kind(self) -> Mapping[str, Words]:
        return {
            TABLES: self.tables,
            QUEUES: self.queues,
            OBJECTS: self.objects,
            SECRETS: self.secrets,
            MAIL: self.mail,
            SOCKETS: self.sockets,
        }

    def needs(self) -> set[Need]:
        """Each single permission."""
        return {
            Need(kind, resource, action)
            for kind, words in self.by_kind().items()
            for resource, actions in words.items()
            for action in actions.split()
        }


def covers(granted: Need, wanted: Need) -> bool:
    """Whether the permission `granted` is enough for `wanted`."""
    if (granted.kind, granted.action) != (wanted.kind, wanted.action):
        return False
    if granted.resource.endswith("*"):
        return wanted.resource.startswith(granted.resource[:-1])
    return granted.resource == wanted.resource


def allows(module: str, wanted: Need) -> bool:
    """Whether a module, such as `client_server.rooms`, may do something."""
    grant = GRANTS.get(module)
    return grant is not None and any(covers(granted, wanted) for granted in grant.needs())


GRANTS: Mapping[str, Grant] = {
    "client_server.account": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "batch_write",
            "events": "put",
            "keys": "batch_write query",
            "room-log": "put",
            "rooms": "batch_get check get put update",
            "snapshots": "batch_get put",
            "streams": "batch_write get put query update",
            "transient": "get put update",
            "users": "batch_write get put query update",
        },
    ),
    "client_server.account_data": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get update"},
    ),
    "client_server.capabilities": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get update"},
    ),
    "client_server.devices": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "keys": "batch_write query",
            "streams": "batch_write get put query update",
            "transient": "get update",
            "users": "batch_write get query update",
        },
    ),
    "client_server.directory": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "delete get put query",
            "events": "put",
            "room-log": "put",
            "rooms": "batch_get check delete get put query update",
            "snapshots": "batch_get put",
            "streams": "batch_get",
            "users": "batch_get get update",
        },
    ),
    "client_server.fallback": Grant(),
    "client_server.filter": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get put update"},
    ),
    "client_server.key_backup": Grant(
        secrets={"viewer-secret": "get"},
        tables={"keys": "batch_get batch_write delete get put query update", "users": "get update"},
    ),
    "client_server.keys": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "events": "batch_get",
            "keys": "batch_get batch_write check delete get put query update",
            "listeners": "batch_get",
            "room-log": "batch_get query",
            "rooms": "batch_get get query update",
            "snapshots": "batch_get",
            "streams": "batch_get get put update",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get",
            "transient": "batch_get get put update",
            "users": "batch_get check get query update",
        },
    ),
    "client_server.login": Grant(
        secrets={"identity-provider-*": "get", "viewer-secret": "get"},
        tables={
            "directory": "get put",
            "keys": "batch_write query",
            "rooms": "get update",
            "streams": "batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_server.media": Grant(
        objects={"media/*": "delete get put", "thumbnail/*": "get put"},
        secrets={"viewer-secret": "get"},
        tables={"media": "get put update", "users": "get update"},
    ),
    "client_server.presence": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put", "transient": "update", "users": "get query update"},
    ),
    "client_server.profile": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "events": "put",
            "room-log": "put",
            "rooms": "batch_get check get put update",
            "snapshots": "batch_get put",
            "streams": "get put",
            "transient": "update",
            "users": "get put query update",
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
            "streams": "get put update",
            "users": "batch_get update",
        },
    ),
    "client_server.registration": Grant(
        secrets={"viewer-secret": "get"},
        tables={"directory": "get put", "transient": "get update", "users": "batch_get check get put"},
    ),
    "client_server.relations": Grant(
        tables={
            "events": "batch_get",
            "room-log": "batch_get",
            "rooms": "batch_get query",
            "snapshots": "batch_get",
            "streams": "batch_get",
            "users": "batch_get update",
        },
    ),
    "client_server.room_membership": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "get",
            "events": "batch_get put",
            "room-log": "batch_get put",
            "rooms": "batch_get check get put query update",
            "snapshots": "batch_get put",
            "streams": "get put update",
            "transient": "update",
            "users": "batch_get delete get put query update",
        },
    ),
    "client_server.room_messages": Grant(
        tables={
            "events": "batch_get",
            "room-log": "batch_get query",
            "rooms": "batch_get query",
            "snapshots": "batch_get",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get update",
        },
    ),
    "client_server.room_send": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "get",
            "events": "batch_get put",
            "room-log": "batch_get put update",
            "rooms": "batch_get check delete get put update",
            "snapshots": "batch_get put",
            "transient": "batch_get get put update",
            "users": "batch_get get put update",
        },
    ),
    "client_server.room_state": Grant(
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
    "client_server.room_summary": Grant(
        secrets={"viewer-secret": "get"},
        tables={"directory": "get", "rooms": "batch_get get", "users": "get update"},
    ),
    "client_server.rooms": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "delete get put update",
            "events": "batch_get put",
            "room-log": "batch_get put",
            "rooms": "batch_get check delete get put query update",
            "snapshots": "batch_get put",
            "streams": "get put update",
            "transient": "update",
            "users": "get put update",
        },
    ),
    "client_server.sync": Grant(
        queues={"wake-*": "create delay delete receive send"},
        secrets={"signing-key": "get"},
        tables={
            "events": "batch_get",
            "listeners": "batch_get update",
            "room-log": "batch_get query",
            "rooms": "batch_get get query",
            "snapshots": "batch_get",
            "streams": "batch_get batch_write get put",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get get put",
            "users": "batch_get get query update",
        },
    ),
    "client_server.tags": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put update", "users": "get update"},
    ),
    "client_server.to_device": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "streams": "batch_get put update",
            "transient": "batch_get put",
            "users": "batch_get get query update",
        },
    ),
    "client_server.typing": Grant(
        secrets={"viewer-secret": "get"},
        tables={"rooms": "get update", "streams": "get put", "users": "get update"},
    ),
    "client_server.user_interactive_auth": Grant(
        secrets={"viewer-secret": "get"},
        tables={"directory": "get put", "transient": "get put update", "users": "get"},
    ),
    "client_server.versions": Grant(),
    "client_server.voip": Grant(
        secrets={"turn-secret": "get", "viewer-secret": "get"},
        tables={"users": "get update"},
    ),
    "client_server.well_known": Grant(),
    "client_v1.login": Grant(
        mail={"*": "send"},
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "get",
            "keys": "batch_write query",
            "rooms": "get update",
            "streams": "batch_write get put query update",
            "transient": "delete get put update",
            "users": "batch_get batch_write check get put query update",
        },
    ),
    "client_v1.presence": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "streams": "batch_get get put update",
            "transient": "update",
            "users": "batch_get delete get put query update",
        },
    ),
    "client_v1.registration": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "get put",
            "transient": "delete get put update",
            "users": "batch_get check get put",
        },
    ),
    "client_v2.account": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "keys": "batch_write query",
            "rooms": "get update",
            "streams": "batch_write get put query update",
            "users": "batch_write get query update",
        },
    ),
    "client_v2.capabilities": Grant(
        secrets={"viewer-secret": "get"},
        tables={"streams": "get put", "users": "check get put query update"},
    ),
    "client_v2.directory": Grant(
        secrets={"viewer-secret": "get"},
        tables={
            "directory": "put query",
            "rooms": "batch_get put",
            "transient": "get put",
            "users": "get update",
        },
    ),
    "client_v2.filter": Grant(
        secrets={"viewer-secret": "get"},
        tables={"users": "get put update"},
    ),
    "client_v2.history": Grant(
        tables={
            "events": "batch_get",
            "room-log": "batch_get query",
            "rooms": "batch_get query",
            "snapshots": "batch_get",
            "streams": "batch_get",
            "sync-tokens": "get",
            "users": "batch_get get update",
        },
    ),
    "client_v2.receipts": Grant(
        tables={
            "events": "batch_get",
            "rooms": "batch_get get update",
            "streams": "get put",
            "users": "batch_get update",
        },
    ),
    "client_v2.room_membership": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "get",
            "events": "batch_get put",
            "room-log": "batch_get put query",
            "rooms": "batch_get check get put query update",
            "snapshots": "batch_get put",
            "streams": "batch_get get put update",
            "transient": "get put update",
            "users": "batch_get get put query update",
        },
    ),
    "client_v2.room_send": Grant(
        secrets={"signing-key": "get"},
        tables={
            "events": "batch_get put",
            "room-log": "batch_get put update",
            "rooms": "batch_get check get put update",
            "snapshots": "batch_get put",
            "transient": "batch_get put update",
            "users": "batch_get get put update",
        },
    ),
    "client_v2.rooms": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "directory": "put",
            "events": "put",
            "room-log": "put query",
            "rooms": "batch_get check get put query update",
            "snapshots": "batch_get put",
            "streams": "batch_get get",
            "transient": "get put update",
            "users": "batch_get get put update",
        },
    ),
    "websocket": Grant(
        queues={"socket-pushes": "find send"},
        secrets={"signing-key": "get"},
        sockets={"*": "manage"},
        tables={
            "connections": "delete get put",
            "events": "put",
            "listeners": "batch_get update",
            "room-log": "put",
            "rooms": "batch_get check get put update",
            "snapshots": "batch_get put",
            "streams": "batch_get batch_write get put",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get",
            "transient": "batch_get put update",
            "users": "batch_get get query update",
        },
    ),
    "workers.queues": Grant(
        queues={"socket-pushes": "find send"},
        sockets={"*": "manage"},
        tables={
            "connections": "delete get update",
            "listeners": "batch_get update",
            "room-log": "query",
            "rooms": "batch_get query",
            "snapshots": "batch_get",
            "streams": "batch_get get put",
            "streams/by-seq": "query",
            "sync-tokens": "batch_get put",
            "users": "batch_get get query",
        },
    ),
    "workers.schedules": Grant(
        tables={
            "room-log": "query",
            "rooms": "get query",
            "snapshots": "batch_get batch_write delete query update",
        },
    ),
    "workers.streams": Grant(
        queues={"socket-pushes": "find send", "wake-*": "create send"},
        tables={
            "listeners": "batch_get update",
            "rooms": "batch_get get query update",
            "streams": "batch_get get put update",
            "users": "query",
        },
    ),
}
"""By the module's name."""
