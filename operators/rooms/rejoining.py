"""`murmuration room rejoin`: have a room's state as another server has it."""

from __future__ import annotations

import argparse
from typing import Any

from operators.operating import Server, add_action


def add_to(actions: Any) -> None:
    about = (
        "Take a room's state anew from another server, as after a state reset. What this server alone knew "
        "of the state is lost; the messages stay."
    )
    action = add_action(actions, "rejoin", about, _rejoin)
    action.add_argument("room", metavar="ROOM", help="its ID")
    action.add_argument(
        "--by", metavar="SERVER", action="append", default=[], help="the server to ask (those in the room)"
    )


def _rejoin(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.federation.membership.rejoining import rejoin

    done = rejoin(args.room, args.by)
    print(f"{done.user_id} joined again; {done.changed} entries of the state have changed.")
    return 0
