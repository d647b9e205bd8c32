"""Make all local users leave a room, or fetch a room again from other servers.

After an outage or a fault, other servers may have another state of a room than this one. `rejoin` takes over
their state. `forget` makes all local users leave; the room's data is deleted later, as for any empty room.
"""

from __future__ import annotations

import argparse

from operators.operating import Server, add_action, run_action


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    forget = add_action(actions, "forget", "Have this server's users leave a room and forget it.", _forget)
    rejoin = add_action(actions, "rejoin", "Take the state of a room from another server.", _rejoin)
    for action in (forget, rejoin):
        action.add_argument("room", metavar="ROOM", help="its ID")
    forget.add_argument("--yes", action="store_true", help="don't ask for confirmation")
    rejoin.add_argument(
        "--via", action="append", default=[], metavar="SERVER", help="a server in the room; may be repeated"
    )


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _forget(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.federation.membership.repairing import forget_room

    if not args.yes and input(f"Have everybody of this server leave {args.room}? [y/N] ").lower() != "y":
        return 1
    failures = 0
    for user_id, error in forget_room(args.room):
        failures += bool(error)
        print(f"{user_id} could not leave: {error}" if error else f"{user_id} left.")
    return 1 if failures else 0


def _rejoin(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.federation.membership.repairing import rejoin_room

    for user_id in rejoin_room(args.room, args.via):
        print(f"{user_id} is in the room.")
    return 0
