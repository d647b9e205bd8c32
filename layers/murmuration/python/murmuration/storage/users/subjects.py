"""Subjects of identity providers and their users: items `subject#…` of `directory` and `users`.

A subject belongs to one user; a user may have several.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Write
from murmuration.protocol.identifiers import UserId

DIRECTORY = "directory"
USERS = "users"
PREFIX = "subject#"


@dataclass(frozen=True, slots=True)
class Subject:
    """A person at an identity provider: the ID of the provider, and the provider's name for the person."""

    provider: str
    name: str

    @property
    def key(self) -> str:
        """The key of the subject: a hash, because a provider's names may be long."""
        return f"{PREFIX}{self.provider}#{hashlib.sha256(self.name.encode()).hexdigest()}"


def read_owner(subject: Subject) -> UserId | None:
    """Return the user to whom a subject belongs; None if there is none."""
    item = dynamodb.get(DIRECTORY, {"pk": subject.key, "sk": "user"})
    return UserId(str(item["user_id"])) if item is not None else None


def read_subjects(user_id: UserId) -> Sequence[str]:
    """Return the IDs of the providers that know a user, one for each subject."""
    found = dynamodb.query(
        USERS, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": PREFIX}
    )
    return [str(item["sk"]).split("#")[1] for item in found]


LINK = "identity provider's user"


def link_writes(subject: Subject, user_id: UserId) -> list[Write]:
    """Return the writes that link a subject to a user. The one named LINK is refused if it is linked
    already.
    """
    return [
        dynamodb.put(
            DIRECTORY,
            {"pk": subject.key, "sk": "user", "user_id": user_id},
            condition="attribute_not_exists(pk)",
        ).named(LINK),
        dynamodb.put(USERS, {"user_id": user_id, "sk": subject.key}),
    ]


def unlink_all(user_id: UserId) -> None:
    """Remove all subjects of a user. If it stops halfway, calling it again continues."""
    found = dynamodb.query(
        USERS, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": PREFIX}
    )
    dynamodb.batch_write([dynamodb.delete(DIRECTORY, {"pk": item["sk"], "sk": "user"}) for item in found])
    dynamodb.batch_write([dynamodb.delete(USERS, {"user_id": user_id, "sk": item["sk"]}) for item in found])
