"""The words by which local users are found: items of the table `directory`.

Each word of a user's name and ID is an item in the partition of its first character, so a query finds the
users with a word that begins with a prefix. A reader must check the profile, because an item may be outdated.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Write
from murmuration.protocol.identifiers import localpart_of

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

TABLE = "directory"
MOST_WORDS, MOST_CHARACTERS = 8, 32
"""How many words of a text are stored, and how many characters of each."""
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the first `MOST_WORDS` words of a text, in lower case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return list(dict.fromkeys(word[:MOST_CHARACTERS] for word in _WORD.findall(folded)))[:MOST_WORDS]


def word_writes(user_id: UserId, display_name: str | None) -> list[Write]:
    """Return the writes that make a user findable by their display name and the local part of their ID."""
    words = [*words_of(localpart_of(user_id)), *words_of(display_name or "")]
    return [
        dynamodb.put(TABLE, {"pk": _pk(word), "sk": f"{word}#{user_id}"}) for word in dict.fromkeys(words)
    ]


def add_words(user_id: UserId, display_name: str | None) -> None:
    """Execute `word_writes`. Words that are stored already are kept."""
    dynamodb.batch_write(word_writes(user_id, display_name))


def remove_words(user_id: UserId, before: str | None, now: str | None) -> None:
    """Remove those words of a former display name that neither the current one nor the ID has."""
    kept = {*words_of(localpart_of(user_id)), *words_of(now or "")}
    _remove(user_id, [word for word in words_of(before or "") if word not in kept])


def remove_all(user_id: UserId, display_name: str | None) -> None:
    """Remove all words by which a user is found, of their display name and of their ID."""
    _remove(user_id, {*words_of(localpart_of(user_id)), *words_of(display_name or "")})


def _remove(user_id: UserId, words: Iterable[str]) -> None:
    dynamodb.batch_write(
        [dynamodb.delete(TABLE, {"pk": _pk(word), "sk": f"{word}#{user_id}"}) for word in words]
    )


def find_by_prefix(prefix: str, limit: int) -> list[UserId]:
    """Return users with a word that begins with `prefix`, in the order of these words. One query."""
    items = dynamodb.query(
        TABLE,
        "pk = :pk AND begins_with(sk, :prefix)",
        {":pk": _pk(prefix), ":prefix": prefix[:MOST_CHARACTERS]},
        limit=limit,
        consistent=False,
    )
    return _distinct(item["sk"].partition("#")[2] for item in items)


def _distinct(user_ids: Iterable[UserId]) -> list[UserId]:
    return list(dict.fromkeys(user_ids))


def _pk(word: str) -> str:
    return f"user-words#{word[0]}"
