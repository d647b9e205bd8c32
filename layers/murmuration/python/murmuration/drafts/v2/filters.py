"""Event filter tokens: a filter that a client describes once and then names.

https://github.com/matrix-org/matrix-spec/blob/a1aaf781/drafts/general_api.rst
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from murmuration.drafts.v2.bundles import MAX_REPLIES, EventForm
from murmuration.protocol.bodies import Fields, limit_size
from murmuration.protocol.encoding import canonical_json, unpadded_base64
from murmuration.protocol.errors import NotFound
from murmuration.protocol.filters import EventFilter, parse_filter, parse_room_event_filter
from murmuration.storage.users import filters as storage

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body
    from murmuration.protocol.identifiers import UserId

MAX_BYTES = 65_536
_TOKEN = re.compile(r"e_[\w-]{22}", re.ASCII)
_OF_EVENTS = ("types", "not_types", "rooms", "not_rooms", "senders", "not_senders", "contains_url")


@dataclass(frozen=True, slots=True)
class Filter:
    """The events that a client wants, their form, and the users whose presence it wants (`users`;
    None: all).
    """

    events: EventFilter = field(default_factory=EventFilter)
    users: tuple[str, ...] | None = None
    form: EventForm = field(default_factory=EventForm)


def parse(definition: Body) -> Filter:
    """Return a filter from its JSON: `types`, `rooms` and so on as in today's filters, with wildcards in
    types.

    `users` limits presence. `updates` (default true) and `relates_to` (default 0) say what events include.
    `format` is client or federation. `fields` are paths of the properties to keep. Raises BadJson,
    InvalidParam.
    """
    body = Fields(definition)
    shape = parse_filter(
        {
            name: definition[key]
            for name, key in (("event_fields", "fields"), ("event_format", "format"))
            if key in definition
        }
    )
    form = EventForm(
        updates=body.boolean("updates", True),
        replies=min(body.integer("relates_to", 0), MAX_REPLIES),
        federation=shape.event_format == "federation",
        fields=shape.event_fields,
    )
    events = {name: definition[name] for name in _OF_EVENTS if name in definition}
    users = tuple(body.strings("users")) if "users" in definition else None
    return Filter(parse_room_event_filter(events), users, form)


def define(user_id: UserId, definition: Body) -> str:
    """Store a filter and return its token. The same filter has the same token. Raises BadJson, InvalidParam,
    TooLarge.
    """
    parse(definition)
    limit_size(definition, "A filter", MAX_BYTES)
    encoded = canonical_json.encode(dict(definition), strict=False)
    token = f"e_{unpadded_base64.encode_urlsafe(hashlib.sha256(encoded).digest()[:16])}"
    storage.write(user_id, token, encoded.decode())
    return token


def read(user_id: UserId, token: str | None) -> Filter:
    """Return the filter that a user's token names; without a token, a filter that admits all. One read.

    Raises NotFound.
    """
    if token is None:
        return Filter()
    definition = storage.read(user_id, token) if _TOKEN.fullmatch(token) else None
    if definition is None:
        raise NotFound("There is no such filter")
    return parse(definition)
