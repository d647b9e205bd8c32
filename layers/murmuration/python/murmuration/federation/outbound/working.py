"""The work of the queue `outbound`: sends the events, EDUs or backlog that a message names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from murmuration.federation.outbound import pokes
from murmuration.federation.outbound.catching_up import catch_up
from murmuration.federation.outbound.fan_out import send_all_messages, send_new, send_passing
from murmuration.protocol.identifiers import ServerName
from murmuration.settings import settings

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject


def work(message: JsonObject) -> None:
    """Send the new events and EDUs of a message to its servers, or the backlog to its one server."""
    if not settings().federation:
        return
    if pokes.is_resumption(message):
        catch_up(message["server"])
    elif "messages_to" in message:
        servers: Any = message["messages_to"]  # earlier versions named one server
        send_all_messages([ServerName(servers)] if isinstance(servers, str) else servers)
    elif "edus" in message:
        send_passing(message["edus"], message["servers"], message["made_ms"])
    else:
        send_new(message["room_id"], message["ordinals"], message["servers"], message["made_ms"])
