"""Relations that a client may not send.

https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.protocol.errors import DuplicateAnnotation, Unknown
from murmuration.rooms.writing.append import Append, Draft
from murmuration.storage.rooms import relations, room_items

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId


def check_relation(batch: Append, draft: Draft) -> None:
    """Raise DuplicateAnnotation for a repeated annotation, Unknown for a thread that can't begin at this
    event.

    Reads only for annotations and events of threads.
    """
    related = relations.relation_in(draft.content)
    if related is None:
        return
    parent_id, rel_type = related
    key = relations.annotation_key(draft.content)
    if key is not None:
        earlier = relations.read_annotation(batch.room_id, parent_id, draft.sender, draft.type, key)
        if earlier is not None:
            raise DuplicateAnnotation("You have annotated this event with this key already")
    if rel_type == relations.THREAD:
        _check_root(batch, parent_id)


def _check_root(batch: Append, root_id: EventId) -> None:
    ordinal = batch.places([root_id]).get(root_id)
    if ordinal is None:
        return
    roots = room_items.read_log_entries([(batch.room_id, ordinal)], {batch.room_id: batch.version})
    if relations.parents_of(roots):
        raise Unknown("A thread can't begin with an event that relates to another")
