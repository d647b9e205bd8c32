"""The user directory: local users, and members of the rooms that the requester is in.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from murmuration.aws.reads import Batch, fetch_all
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import UserId
from murmuration.storage.rooms import member_index, room_items
from murmuration.storage.users import accounts, memberships, profiles, user_words

DEFAULT, MOST = 10, 50
MOST_FOUND = 200
"""How many users with a fitting word are looked at."""
MOST_ROOMS, MOST_MEMBERS = 50, 500
"""How many rooms with members of other servers, and how many of these, are looked at."""
NAMES = {"displayname": "display_name", "avatar_url": "avatar_url"}
Found = dict[UserId, Mapping[str, str]]
"""By user ID the fields `displayname` and `avatar_url` that there are."""


def search_user_directory(requester: Requester, body: Fields) -> Answer:
    """Return the users who have, for each word of the search term, a word in their name or ID that begins
    with it.

    Raises MissingParam, BadJson, LimitExceeded.
    """
    term, limit = body.string("search_term"), min(body.integer("limit", DEFAULT), MOST)
    rate_limits.check("user_directory", requester.user_id)
    wanted = user_words.words_of(term)
    if not wanted or not limit:
        return {"results": [], "limited": False}
    # Of a whole ID the server's name isn't in the index.
    indexed = user_words.words_of(term.partition(":")[0]) if term.startswith("@") else wanted
    longest = max(indexed or wanted, key=len)
    candidates = user_words.find_by_prefix(longest, MOST_FOUND)
    found = _profiles(candidates) | _members(requester.user_id)
    found.pop(requester.user_id, None)
    fitting = [user_id for user_id, fields in found.items() if _fits(user_id, fields, wanted)]
    fitting.sort(key=lambda user_id: _rank(user_id, found[user_id], term))
    results = [
        {
            "user_id": user_id,
            **{shown: found[user_id][name] for name, shown in NAMES.items() if name in found[user_id]},
        }
        for user_id in fitting[:limit]
    ]
    return {"results": results, "limited": len(fitting) > limit or len(candidates) >= MOST_FOUND}


def _fits(user_id: UserId, fields: Mapping[str, str], wanted: Iterable[str]) -> bool:
    local, _, server = user_id[1:].partition(":")
    words = [*user_words.words_of(local), *user_words.words_of(fields.get("displayname", ""))]
    words += user_words.words_of(server)
    return all(any(word.startswith(part) for word in words) for part in wanted)


def _rank(user_id: UserId, fields: Mapping[str, str], term: str) -> tuple[bool, bool, bool, str]:
    """Return the sort key: a match of the whole ID, then of the whole name, then users with a name, then
    by ID.
    """
    folded = term.strip().casefold()
    name = fields.get("displayname", "")
    whole = folded in (user_id.casefold(), user_id[1:].partition(":")[0].casefold())
    return not whole, name.casefold() != folded, not name, user_id


def _profiles(user_ids: Iterable[UserId]) -> Found:
    """Return the profiles of those local users whose accounts are in use. One round trip for a hundred items.

    The read is eventually consistent, which costs half as much.
    """
    batch = Batch()
    answers = {
        user_id: (
            batch.add(replace(accounts.is_findable_read(user_id), eventual=True)),
            batch.add(replace(profiles.member_fields_read(user_id), eventual=True)),
        )
        for user_id in user_ids
    }
    batch.fetch()
    return {user_id: fields.value for user_id, (findable, fields) in answers.items() if findable.value}


def _members(user_id: UserId) -> Found:
    """Return the remote members of a user's rooms. Nothing is read of rooms without remote members."""
    joined = memberships.read_joined_rooms(user_id)
    heads = fetch_all([room_items.head_read(room_id) for room_id in joined])
    federated = [head for head in heads if head is not None and head.federated and head.is_indexed]
    found: Found = {}
    for head in sorted(federated, key=lambda each: each.joined)[:MOST_ROOMS]:
        others = [
            each
            for each in member_index.read_present(head, limit=MOST_MEMBERS)
            if not member_index.is_local(each) and each not in found
        ]
        pairs = [(MEMBER, each) for each in others[: MOST_MEMBERS - len(found)]]
        for entry in room_items.read_state_entries(head.room_id, head.version, pairs).values():
            content = entry.event.content
            found[entry.event.member_id] = {
                name: content[name] for name in NAMES if isinstance(content.get(name), str)
            }
        if len(found) >= MOST_MEMBERS:
            break
    return found
