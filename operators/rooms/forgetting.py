"""`murmuration room forget`: have everybody of this server leave a room."""

from __future__ import annotations

import argparse
from typing import Any

from operators.operating import Server, add_action


def add_to(actions: Any) -> None:
    about = (
        "Have this server's users leave a room and forget it. What is stored of it is deleted later, as for "
        "any empty room."
    )
    action = add_action(actions, "forget", about, _forget)
    action.add_argument("room", metavar="ROOM", help="its ID")
    action.add_argument("--yes", action="store_true", help="don't ask")


def _forget(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.federation.membership.leaving import forget_room

    if not args.yes and input(f"Have everybody of this server leave {args.room}? [y/N] ").lower() != "y":
        return 1
    failures = 0
    for user_id, error in forget_room(args.room):
        failures += bool(error)
        print(f"{user_id} could not leave: {error}" if error else f"{user_id} left.")
    return 1 if failures else 0
