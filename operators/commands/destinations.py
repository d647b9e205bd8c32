"""Show which other servers don't answer or are behind; try one again now, or forget what is owed to it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operators.operating import NotOperable, Server, add_action, run_action, with_progress

if TYPE_CHECKING:
    from murmuration.storage.servers.standings import ServerStanding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    add_action(actions, "list", "List the servers that don't answer, or to which something is owed.", _list)
    reset = add_action(actions, "reset", "Try a server again now, as if it had answered.", _reset)
    reset.add_argument("server", metavar="SERVER", help="its name")
    reset.add_argument(
        "--forget",
        action="store_true",
        help="delete what is owed to it; it must fetch missed events by itself",
    )


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _list(_args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.servers.standings import scan_standings

    for found in sorted(with_progress(scan_standings(), "servers"), key=lambda each: each.server_name):
        print(_line(found))
    return 0


def _line(found: ServerStanding) -> str:
    failing = f"fails since {_time(found.failing_since_ms)}" if found.failing_since_ms else "answers"
    again = f", asked again at {_time(found.retry_at_ms)}" if found.retry_at_ms else ""
    rooms = f", events of {found.rooms_owed} rooms are owed to it" if found.rooms_owed else ""
    devices = ", messages to devices or news of them are owed to it" if found.devices_owed else ""
    return f"{found.server_name}  {failing}{again}{rooms}{devices}"


def _time(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _reset(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.protocol.identifiers import is_valid_server_name
    from murmuration.storage.servers import backlogs, destinations

    if not is_valid_server_name(args.server):
        raise NotOperable(f"{args.server} is not the name of a server.")
    destinations.clear(args.server)
    if args.forget:
        print(f"Deleted what was owed to it, for {backlogs.drop(args.server)} rooms and device lists.")
    elif backlogs.hasten(args.server):
        print(f"What is owed to {args.server} is sent within a minute.")
    else:
        print(f"Nothing is owed to {args.server}.")
    return 0
