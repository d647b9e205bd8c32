"""The state of all other servers, for operators. Reads the whole table `destinations`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.protocol.identifiers import ServerName
from murmuration.storage.servers.backlogs import OWED, TABLE


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """A server that doesn't answer, asked to be sent no requests, or is behind. A time is 0 if it doesn't
    apply.

    `rooms_owed` is the number of rooms whose events it lacks. `devices_owed` says whether it lacks messages
    to its users' devices, or changes of this server's users' devices.
    """

    server_name: ServerName
    failing_since_ms: int = 0
    retry_at_ms: int = 0
    rooms_owed: int = 0
    devices_owed: bool = False


def scan_standings() -> Iterator[ServerStanding]:
    """Yield every server that has an item. A scan returns a server's items one after another."""
    name, items = ServerName(""), list[dict[str, object]]()
    for item in dynamodb.scan(TABLE):
        if item["server_name"].startswith("#"):
            continue
        if item["server_name"] != name and items:
            yield _standing(name, items)
            items = []
        name = item["server_name"]
        items.append(item)
    if items:
        yield _standing(name, items)


def _standing(server_name: ServerName, items: list[dict[str, object]]) -> ServerStanding:
    times = {"failing_since_ms": 0, "retry_at_ms": 0}
    for item in items:
        if item["sk"] == "health":
            times = {name: int(str(item.get(name, 0))) for name in times}
    owed = [str(item["sk"])[len(OWED) :] for item in items if str(item["sk"]).startswith(OWED)]
    rooms = [log_id for log_id in owed if log_id.startswith("!")]
    return ServerStanding(server_name, **times, rooms_owed=len(rooms), devices_owed=len(rooms) < len(owed))
