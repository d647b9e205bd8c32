"""Create, list and change a server's users.

USER is `alice`, `@alice` or `@alice:example.org`. The command asks for passwords, or reads them from the
standard input if that isn't a terminal.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable

from operators.operating import Server, add_action, run_action, user_id_of, with_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, help_text: str, do: Callable[[argparse.Namespace, Server], int]
    ) -> argparse.ArgumentParser:
        choice = add_action(actions, name, help_text, do)
        if do not in (_list, _index):
            choice.add_argument("user", metavar="USER")
        return choice

    create = action("create", "Create an account.", _create)
    create.add_argument("--admin", action="store_true", help="make them an administrator of the server")
    action(
        "index",
        "Put all users into the user directory. Needed for accounts that are older than it.",
        _index,
    )
    listing = action("list", "List the accounts.", _list)
    listing.add_argument("--json", action="store_true", help="print each account as a line of JSON")
    action("reset-password", "Set a new password, and log out all of the user's devices.", _reset_password)
    admin = action("make-admin", "Make a user an administrator of the server.", _make_admin)
    admin.add_argument("--revoke", action="store_true", help="take the administrator's rights away again")
    deactivate = action("deactivate", "Deactivate an account permanently.", _deactivate)
    deactivate.add_argument(
        "--erase",
        action="store_true",
        help="also show only redacted copies of their messages to users who join their rooms later",
    )
    deactivate.add_argument("--yes", action="store_true", help="don't ask for confirmation")


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _create(args: argparse.Namespace, server: Server) -> int:
    from murmuration.accounts.registration import create_account

    localpart = user_id_of(args.user, server)[1:].partition(":")[0]
    user_id = create_account(localpart, _ask_password(), is_admin=args.admin)
    print(f"{user_id} may log in now at {server.public_url}")
    return 0


def _index(_args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.users import profiles, user_words
    from murmuration.storage.users.accounts import scan_accounts

    count = 0
    for item in with_progress(scan_accounts(), "accounts"):
        if "deactivated_ms" not in item:
            name = profiles.read_member_fields(item["user_id"]).get("displayname")
            user_words.add_words(item["user_id"], name)
            count += 1
    print(f"{count} users can be found")
    return 0


def _list(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.users.accounts import scan_accounts

    found = sorted(with_progress(scan_accounts(), "accounts"), key=lambda item: str(item["user_id"]))
    for item in found:
        if args.json:
            shown = {name: item.get(name) for name in ("user_id", "created_ms", "admin", "deactivated_ms")}
            print(json.dumps(shown))
        else:
            notes = [note for note, holds in (
                ("admin", item.get("admin")), ("deactivated", "deactivated_ms" in item),
            ) if holds]  # fmt: skip
            print(f"{_date(item.get('created_ms'))}  {item['user_id']}  {' '.join(notes)}".rstrip())
    if not args.json:
        print(f"{len(found)} accounts", file=sys.stderr)
    return 0


def _reset_password(args: argparse.Namespace, server: Server) -> int:
    from murmuration.accounts.management import reset_password

    user_id = user_id_of(args.user, server)
    reset_password(user_id, _ask_password())
    print(f"{user_id} has a new password; their devices are logged out")
    return 0


def _make_admin(args: argparse.Namespace, server: Server) -> int:
    from murmuration.accounts.management import set_admin

    user_id = user_id_of(args.user, server)
    set_admin(user_id, not args.revoke)
    print(f"{user_id} is {'no administrator any more' if args.revoke else 'an administrator'}")
    return 0


def _deactivate(args: argparse.Namespace, server: Server) -> int:
    from murmuration.accounts.management import close_account

    user_id = user_id_of(args.user, server)
    if not args.yes:
        print(
            f"{user_id} will leave all rooms and can never be used again. Type the user ID to go on: ", end=""
        )
        if input() != user_id:
            print("Nothing was done.", file=sys.stderr)
            return 1
    close_account(user_id, erase=args.erase)
    print(f"{user_id} is deactivated")
    return 0


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    while True:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") == password:
            return password
        print("The two passwords differ. Type them again.", file=sys.stderr)


def _date(ms: int | None) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" if ms else "          "
