"""Relations that a client may not send.

https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.errors import BadJson, DuplicateAnnotation, Unknown
from murmuration.rooms.writing.append import Append, Draft
from murmuration.storage.rooms import relations, room_items

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId


LONGEST_KEY = 500
"""The maximum number of characters in the key of an annotation."""


def check_relation(batch: Append, draft: Draft) -> None:
    """Refuse relations that a client may not send.

    Raises DuplicateAnnotation for a repeated annotation, BadJson for one without a key, Unknown for a
    relation to an event that isn't in the room and for a thread that can't begin at this event. Reads the
    parent's place, which the write needs too, and more only for annotations and events of threads.
    """
    related = relations.relation_in(draft.content)
    if related is None:
        return
    parent_id, rel_type = related
    if rel_type in (relations.UPDATES, relations.RELATES_TO):
        return  # the founding draft allows any target
    if rel_type == relations.ANNOTATION:
        _check_annotation(batch, draft, parent_id)
    ordinal = batch.places([parent_id]).get(parent_id)
    if ordinal is None:
        _check_known(batch.room_id, parent_id)
    elif rel_type == relations.THREAD:
        _check_root(batch, ordinal)


def _check_annotation(batch: Append, draft: Draft, parent_id: EventId) -> None:
    key = relations.annotation_key(draft.content)
    if key is None or len(key) > LONGEST_KEY:
        raise BadJson(f"An annotation has a key, of at most {LONGEST_KEY} characters")
    if relations.read_annotation(batch.room_id, parent_id, draft.sender, draft.type, key) is not None:
        raise DuplicateAnnotation("You have annotated this event with this key already")


def _check_known(room_id: RoomId, parent_id: EventId) -> None:
    """Raise Unknown for an unknown parent, unless others relate to it: then it is an older event of
    the room.
    """
    if not relations.is_parent(room_id, parent_id):
        raise Unknown("An event can't relate to one that isn't in the room")


def _check_root(batch: Append, ordinal: int) -> None:
    roots = room_items.read_log_entries([(batch.room_id, ordinal)], {batch.room_id: batch.version})
    if relations.parents_of(roots):
        raise Unknown("A thread can't begin with an event that relates to another")
