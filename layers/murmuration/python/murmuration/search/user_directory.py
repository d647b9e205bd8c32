"""The user directory: local users, members of the requester's rooms, and members of published open rooms.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace

from murmuration.aws import concurrency
from murmuration.aws.reads import Batch, fetch_all
from murmuration.identity import rate_limits
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import RoomId, UserId, localpart_of, server_of
from murmuration.rooms.reading import summaries
from murmuration.rooms.room import Room, prefetch
from murmuration.settings import settings
from murmuration.storage.rooms import directory, member_index, room_items
from murmuration.storage.users import accounts, memberships, profiles, user_words

DEFAULT, MOST = 10, 50
MOST_FOUND = 200
"""How many users with a matching word are considered."""
MOST_ROOMS, MOST_MEMBERS = 50, 500
"""How many rooms with remote members, and how many of these members, are considered."""
MOST_PUBLISHED = 100
"""How many published rooms are searched for those with remote members."""
NAMES = {"displayname": "display_name", "avatar_url": "avatar_url"}
Found = dict[UserId, Mapping[str, str]]
"""The existing fields among `displayname` and `avatar_url`, by user ID."""


def search_user_directory(requester: Requester, body: Fields) -> Answer:
    """Return the users in whose name or ID, for each word of the search term, a word begins with it.

    Raises MissingParam, BadJson, LimitExceeded.
    """
    term, limit = body.string("search_term"), min(body.integer("limit", DEFAULT), MOST)
    rate_limits.check("user_directory", requester.user_id)
    wanted = user_words.words_of(term)
    if not wanted or not limit:
        return {"results": [], "limited": False}
    # The index has no server names of IDs, and people may leave out the @.
    indexed = user_words.words_of(term.partition(":")[0])
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
    texts = (localpart_of(user_id), fields.get("displayname", ""), server_of(user_id))
    words = [word for text in texts for word in user_words.words_of(text)]
    return all(any(word.startswith(part) for word in words) for part in wanted)


def _rank(user_id: UserId, fields: Mapping[str, str], term: str) -> tuple[bool, bool, bool, str]:
    """Return the sort key: first users whose whole ID matches, then whose whole name matches, then users with
    a name, then by ID.
    """
    folded = term.strip().casefold()
    name = fields.get("displayname", "")
    whole = folded in (user_id.casefold(), localpart_of(user_id).casefold())
    return not whole, name.casefold() != folded, not name, user_id


def _profiles(user_ids: Iterable[UserId]) -> Found:
    """Return the profiles of those local users whose accounts are active. One round trip for a hundred items.

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
    """Return the remote members of a user's rooms, and of published rooms that are open to everybody.

    Reads nothing for rooms without remote members.
    """
    joined, published = concurrency.gather(
        functools.partial(memberships.read_joined_rooms, user_id), _read_published
    )
    own = set(joined)
    heads = fetch_all([room_items.head_read(room_id) for room_id in dict.fromkeys((*joined, *published))])
    federated = [head for head in heads if head is not None and head.federated and head.is_indexed]
    rooms = sorted(map(Room, federated), key=lambda each: (each.room_id not in own, each.head.joined))
    rooms = rooms[:MOST_ROOMS]
    others = [room for room in rooms if room.room_id not in own]
    prefetch(others, summaries.SUMMARISED)
    closed = {room.room_id for room in others if not _is_open(room)}
    found: Found = {}
    for room in rooms:
        if room.room_id not in closed:
            found |= _members_of(room, found)
        if len(found) >= MOST_MEMBERS:
            break
    return found


def _read_published() -> list[RoomId]:
    return directory.read_published()[:MOST_PUBLISHED] if settings().federation else []


def _is_open(room: Room) -> bool:
    """Return whether everybody may see a room's members, because they may join it, or read it without
    joining.
    """
    listed = summaries.listing(room)
    return listed["world_readable"] or listed.get("join_rule") == "public"


def _members_of(room: Room, known: Found) -> Found:
    """Return those remote members of a room who aren't in `known` yet, up to the limit."""
    others = [
        each
        for each in member_index.read_present(room.head, limit=MOST_MEMBERS)
        if not member_index.is_local(each) and each not in known
    ]
    pairs = [(MEMBER, each) for each in others[: MOST_MEMBERS - len(known)]]
    found: Found = {}
    for entry in room_items.read_state_entries(room.room_id, room.version, pairs).values():
        content = entry.event.content
        found[entry.event.member_id] = {
            name: content[name] for name in NAMES if isinstance(content.get(name), str)
        }
    return found
