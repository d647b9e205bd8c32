"""The tables as PynamoDB models: keys, indexes, streams and expiry, defined once.

`local_cloud` and the tests create the tables from these models, and `infra_cdk` builds the deployed ones from
`TABLES`. Nothing queries through the models: functions and operators' commands use `aws.dynamodb` and
`aws.calls`, which import far less. `docs/storage.md` describes the items of each table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, LocalSecondaryIndex
from pynamodb.models import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pynamodb.attributes import Attribute

    from murmuration.aws.calls import Parameters


class Rooms(Model):
    """The items of rooms: head, current state, aliases, relations."""

    class Meta:
        table_name = "rooms"

    room_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class RoomLog(Model):
    """The rooms' logs. Ordinals have no holes except gaps for missing events, and are negative for backfilled
    events.
    """

    class Meta:
        table_name = "room-log"

    room_id = UnicodeAttribute(hash_key=True)
    ordinal = NumberAttribute(range_key=True)


class Events(Model):
    """The place of each event, by its ID, and the event itself if it isn't in a log."""

    class Meta:
        table_name = "events"

    event_id = UnicodeAttribute(hash_key=True)


class Snapshots(Model):
    """Nodes of the state snapshots, immutable."""

    class Meta:
        table_name = "snapshots"

    room_id = UnicodeAttribute(hash_key=True)
    node_id = BinaryAttribute(range_key=True, legacy_encoding=False)


class BySeq(LocalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """A stream's items in the order of their last change."""

    class Meta:
        index_name = "by-seq"
        projection = AllProjection()

    stream_id = UnicodeAttribute(hash_key=True)
    seq = NumberAttribute(range_key=True)


class Streams(Model):
    """Sequenced items of a room, a user or a device."""

    class Meta:
        table_name = "streams"

    stream_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    by_seq = BySeq()


class Users(Model):
    """Accounts, profiles, devices, memberships, filters."""

    class Meta:
        table_name = "users"

    user_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class SyncTokens(Model):
    """Sync tokens: the positions that a client has seen."""

    class Meta:
        table_name = "sync-tokens"

    user_id = UnicodeAttribute(hash_key=True)
    token = UnicodeAttribute(range_key=True)


class Listeners(Model):
    """The clients that wait for a user's updates, and how to wake them."""

    class Meta:
        table_name = "listeners"

    user_id = UnicodeAttribute(hash_key=True)


class Connections(Model):
    """Open WebSockets: their user, and the updates that they got."""

    class Meta:
        table_name = "connections"

    connection_id = UnicodeAttribute(hash_key=True)


class Transient(Model):
    """Items that expire: transaction IDs, authentication sessions, login tokens, counters."""

    class Meta:
        table_name = "transient"

    id = UnicodeAttribute(hash_key=True)


class Directory(Model):
    """Aliases, published rooms, registration tokens, push keys, identity providers' subjects, addresses."""

    class Meta:
        table_name = "directory"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class Keys(Model):
    """End-to-end encryption: device keys, one-time keys, fallback keys, cross-signing keys."""

    class Meta:
        table_name = "keys"

    user_id = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class Media(Model):
    """Metadata of media; the bytes are in the bucket."""

    class Meta:
        table_name = "media"

    media_id = UnicodeAttribute(hash_key=True)


class RemoteKeys(Model):
    """Other servers' signing keys, current and former. They don't expire."""

    class Meta:
        table_name = "remote-keys"

    server_name = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class Destinations(Model):
    """Other servers: their health, and what is still to be sent to them."""

    class Meta:
        table_name = "destinations"

    server_name = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class ByDue(LocalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """The index of parked items by the time at which they are due."""

    class Meta:
        index_name = "by-due"
        projection = AllProjection()

    pk = UnicodeAttribute(hash_key=True)
    due_ms = NumberAttribute(range_key=True)


class Parked(Model):
    """Items that wait for their time: PDUs that can't be checked yet, events to be sent later."""

    class Meta:
        table_name = "parked"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    by_due = ByDue()


class Clock(Model):
    """The times at which queues' workers are to be rung."""

    class Meta:
        table_name = "clock"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


@dataclass(frozen=True)
class Table:
    """A table's definition beyond its keys: whether it has a stream, and which attribute expires its items.

    `lasts` marks a table that has an expiry although many of its items don't expire.
    """

    model: type[Model]
    streams: bool = False
    ttl: str | None = None
    indexes: tuple[type[LocalSecondaryIndex[Any]], ...] = field(default=())
    lasts: bool = False

    @property
    def is_backed_up(self) -> bool:
        """Whether it has items that normal use doesn't recreate, so that it must be restorable to each second
        of the last month.
        """
        return self.ttl is None or self.lasts

    @property
    def name(self) -> str:
        """The logical name, without the deployment's prefix."""
        return str(self.model.Meta.table_name)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The (name, "S" or "N") of the hash key and, if there is one, of the range key."""
        return _keys(self.model.get_attributes())

    def create_request(self, physical_name: str) -> Parameters:
        """Return the parameters of DynamoDB's CreateTable."""
        attributes = dict(self.keys)
        request: Parameters = {
            "TableName": physical_name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": _key_schema(self.keys),
        }
        local = []
        for index in self.indexes:
            keys = _keys(index.Meta.attributes)
            attributes.update(keys)
            local.append(
                {
                    "IndexName": index.Meta.index_name,
                    "KeySchema": _key_schema(keys),
                    "Projection": {"ProjectionType": "ALL"},
                }
            )
        if local:
            request["LocalSecondaryIndexes"] = local
        if self.streams:
            request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        request["AttributeDefinitions"] = [
            {"AttributeName": name, "AttributeType": kind} for name, kind in attributes.items()
        ]
        return request


def _keys(attributes: Mapping[str, Attribute[Any]]) -> tuple[tuple[str, str], ...]:
    found = [
        (not attribute.is_hash_key, str(attribute.attr_name), str(attribute.attr_type))
        for attribute in attributes.values()
        if attribute.is_hash_key or attribute.is_range_key
    ]
    return tuple((name, kind) for _, name, kind in sorted(found))


def _key_schema(keys: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": key_type}
        for (name, _), key_type in zip(keys, ("HASH", "RANGE"), strict=False)
    ]


TABLES: tuple[Table, ...] = (
    Table(Rooms),
    Table(RoomLog, streams=True),
    Table(Events),
    Table(Snapshots),
    Table(Streams, streams=True, indexes=(BySeq,)),
    Table(Users),
    Table(SyncTokens, ttl="expires"),
    Table(Listeners, ttl="expires"),
    Table(Connections, ttl="expires"),
    Table(Transient, ttl="expires"),
    Table(Directory),
    Table(Keys),
    Table(Media, ttl="expires", lasts=True),
    Table(RemoteKeys),
    Table(Destinations),
    Table(Parked, ttl="expires", indexes=(ByDue,)),
    Table(Clock, streams=True, ttl="expires"),
)
"""Every table of a deployment."""
