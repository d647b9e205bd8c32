"""The permissions of one module, in the words of `needs.ACTIONS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra_shared.needs import MAIL, OBJECTS, QUEUES, SECRETS, SOCKETS, TABLES, Need

Words = Mapping[str, str]
"""Words of ACTIONS with spaces between them, by the resource's name."""
ANSWERS: Words = {"answers/*": "put show"}
"""For functions whose answers may be too large: they store them, and sign paths at which clients read
them."""

READING: Words = {"events": "batch_get", "room-log": "batch_get query", "snapshots": "batch_get"}
"""The tables for reading rooms' logs, and the state at a position in them. A module adds how it reads
`rooms`."""
WRITING: Words = {
    "destinations": "delete get update",
    "events": "batch_get put",
    "room-log": "batch_get put update",
    "rooms": "batch_get check delete get put query update",
    "snapshots": "batch_get batch_write delete put",
}
"""The tables for sending local users' events to rooms, including their delivery to other servers."""
TAKING: Words = {
    **WRITING,
    "events": "batch_get put update",
    "remote-keys": "batch_get put",
    "room-log": "batch_get put query update",
    "snapshots": "batch_get batch_write delete get put",
    "transient": "batch_get get put update",
}
"""The tables for adding other servers' events to rooms, and checking their signatures."""
ENDING: Words = {
    "keys": "batch_write delete get put query",
    "listeners": "update",
    "parked": "delete update",
    "parked/by-due": "query",
    "sync-tokens": "batch_write query",
}
"""The tables with items about a device, for logging it out."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of one module."""

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
        """Return the single permissions of the grant."""
        return {
            Need(kind, resource, action)
            for kind, words in self.by_kind().items()
            for resource, actions in words.items()
            for action in actions.split()
        }
