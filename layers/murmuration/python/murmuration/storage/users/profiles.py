"""Profiles: the item `profile` of the table `users`.

`displayname` and `avatar_url` are separate attributes, so that a batch of reads finds them; the custom fields
are one JSON object in `custom`. `revision` counts the changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Item, StoredItem, Write
from murmuration.aws.reads import Read, fetch

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

USERS = "users"
MEMBER_FIELDS = ("displayname", "avatar_url")

ProfileFields = Mapping[str, Any]
"""A profile in the form for clients: `displayname` and `avatar_url`, which are strings, and custom fields."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile's fields by name, at `revision` (0: there is no profile)."""

    fields: ProfileFields = field(default_factory=dict)
    revision: int = 0


def profile_key(user_id: UserId) -> dict[str, str]:
    return {"user_id": user_id, "sk": "profile"}


def from_item(item: StoredItem | None) -> Profile:
    if item is None:
        return Profile()
    fields = {name: item[name] for name in MEMBER_FIELDS if name in item}
    return Profile(fields | json.loads(item.get("custom", "{}")), item["revision"])


def read_profile(user_id: UserId) -> Profile:
    return from_item(dynamodb.get(USERS, profile_key(user_id)))


def member_fields(item: StoredItem | None) -> dict[str, str]:
    """Return `displayname` and `avatar_url` from a profile's item. Membership events repeat these two."""
    return {name: item[name] for name in MEMBER_FIELDS if name in item} if item else {}


def member_fields_read(user_id: UserId) -> Read[dict[str, str]]:
    """Return the read of a local user's `member_fields`, for a batch."""
    return Read(USERS, profile_key(user_id), member_fields)


def read_member_fields(user_id: UserId) -> dict[str, str]:
    """Read `member_fields` of a local user."""
    return fetch(member_fields_read(user_id))


def profile_write(user_id: UserId, fields: ProfileFields, *, revision: int = 0) -> Write:
    """Return the write that replaces a profile's fields. It is refused if its `revision` has changed."""
    item: Item = {**profile_key(user_id), "revision": revision + 1}
    item |= {name: fields[name] for name in MEMBER_FIELDS if name in fields}
    custom = {name: value for name, value in fields.items() if name not in MEMBER_FIELDS}
    if custom:
        item["custom"] = json.dumps(custom, separators=(",", ":"), ensure_ascii=False)
    if not revision:
        return dynamodb.put(USERS, item, condition="attribute_not_exists(user_id)")
    return dynamodb.put(USERS, item, condition="revision = :revision", values={":revision": revision})


def unchanged_check(user_id: UserId, shown: ProfileFields) -> Write:
    """Return the check that a profile's `displayname` and `avatar_url` are still those of `shown`.

    A concurrent profile change only updates the rooms that are joined by then.
    """
    conditions = [
        f"{name} = :{name}" if name in shown else f"attribute_not_exists({name})" for name in MEMBER_FIELDS
    ]
    values = {f":{name}": shown[name] for name in MEMBER_FIELDS if name in shown}
    return dynamodb.check(USERS, profile_key(user_id), " AND ".join(conditions), values=values)
