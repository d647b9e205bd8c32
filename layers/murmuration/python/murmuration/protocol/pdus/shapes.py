"""The shapes of this package's JSON objects, for mypy only: nothing is checked at run time."""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict

from murmuration.protocol.encoding.shapes import Content
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId

Signatures: TypeAlias = dict[str, dict[str, str]]
"""Signatures in unpadded Base64, by server name (or user ID) and key ID."""
Reference: TypeAlias = str | list[Any]
"""A reference in `prev_events` or `auth_events`: an event ID; in room versions 1 and 2, [event ID,
hashes]."""


class UnsignedPdu(TypedDict):
    """An event without its hash and signatures. Times are milliseconds since the epoch."""

    type: str
    sender: UserId
    content: Content
    depth: int
    origin_server_ts: int
    prev_events: list[Reference]
    auth_events: list[Reference]
    room_id: NotRequired[RoomId]
    """Missing in create events from room version 12 on."""
    state_key: NotRequired[str]
    redacts: NotRequired[str]
    """The event that an m.room.redaction redacts, before room version 11."""
    event_id: NotRequired[EventId]
    """In room versions 1 and 2 only."""
    unsigned: NotRequired[dict[str, Any]]


class HashedPdu(UnsignedPdu):
    """An event with its content hash, `{"sha256": unpadded Base64}`."""

    hashes: dict[str, str]


class Pdu(HashedPdu):
    """An event in the form in which servers send and store it; `event_format.check_format` checks the
    format.
    """

    signatures: Signatures


class PublishedKey(TypedDict):
    """A server's public key in unpadded Base64, and when it expired, if it has."""

    key: str
    expired_ts: NotRequired[int | None]


class KeyDocument(TypedDict):
    """The document that a server publishes about its keys. Times are milliseconds since the epoch."""

    server_name: ServerName
    valid_until_ts: int
    verify_keys: dict[str, PublishedKey]
    old_verify_keys: dict[str, PublishedKey]
    signatures: NotRequired[Signatures]
