"""List a user's or a room's media; hide single files from everybody, show them again, or delete them.

URI is what messages name, as mxc://example.org/AbCd1234; it may be another server's. quarantine hides a file
and keeps its bytes. remove deletes it with its thumbnails, and gives its bytes back to the user's quota. Of
another server's file both delete the copy that is here, and it isn't fetched again until it is released.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from operators.arguments import whole_number
from operators.operating import NotOperable, Server, add_action, run_action, user_id_of

MOST = 1_000
"""The most media that one list shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = add_action(actions, "list", "List media with their sizes, the newest first.", _list)
    whose = listing.add_mutually_exclusive_group(required=True)
    whose.add_argument(
        "--user", metavar="USER", help="what this user uploaded; reads the whole table of media"
    )
    whose.add_argument("--room", metavar="ROOM", help="what this room's events name; the room's ID")
    listing.add_argument("--limit", type=whole_number, default=50, metavar="N", help="show at most N (50)")
    listing.add_argument("--before", metavar="PLACE", help="go on where an earlier list ended, as it said")
    quarantine = add_action(
        actions, "quarantine", "Hide media from everybody, and keep their bytes.", _quarantine
    )
    release = add_action(actions, "release", "Show quarantined media again.", _release)
    remove = add_action(actions, "remove", "Delete media for good.", _remove)
    remove.add_argument("--yes", action="store_true", help="don't ask for confirmation")
    for action in (quarantine, release, remove):
        action.add_argument("uris", nargs="+", metavar="URI")


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _list(args: argparse.Namespace, server: Server) -> int:
    from murmuration.protocol.identifiers import RoomId
    from operators import moderating_media

    if args.limit > MOST:
        raise NotOperable(f"--limit is at most {MOST:,}.")
    if args.user is not None:
        user_id = user_id_of(args.user, server)
        listing = moderating_media.list_of_user(user_id, args.before, args.limit, server)
    else:
        listing = moderating_media.list_of_room(RoomId(args.room), args.before, args.limit, server)
    for line in listing.lines:
        print(line)
    for note in listing.notes or ([] if listing.lines else ["There are none."]):
        print(note, file=sys.stderr)
    return 0


def _quarantine(args: argparse.Namespace, server: Server) -> int:
    from operators import moderating_media

    return _each(args, server, moderating_media.quarantine)


def _release(args: argparse.Namespace, server: Server) -> int:
    from operators import moderating_media

    return _each(args, server, moderating_media.release)


def _remove(args: argparse.Namespace, server: Server) -> int:
    from operators import moderating_media

    if not args.yes and input(f"Delete {' '.join(args.uris)} for good? [y/N] ").lower() != "y":
        print("Nothing was done.", file=sys.stderr)
        return 1
    return _each(args, server, moderating_media.remove)


def _each(args: argparse.Namespace, server: Server, do: Callable[..., str]) -> int:
    """Do something to each of the media, and return the exit status. A URI that isn't one stops it before it
    has begun; another failure doesn't stop the rest.
    """
    from operators.moderating_media import parse_uri

    status = 0
    for uri in [parse_uri(text, server) for text in args.uris]:
        try:
            print(do(uri))
        except NotOperable as error:
            print(error, file=sys.stderr)
            status = 1
    return status
