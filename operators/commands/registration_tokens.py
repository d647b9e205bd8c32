"""Create, list and delete the tokens that new users need if `registration` is `token`."""

from __future__ import annotations

import argparse

from operators.arguments import days, whole_number
from operators.operating import NotOperable, Server, add_action, run_action, with_progress

DAY_MS = 24 * 3600 * 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    create = add_action(actions, "create", "Make a token, and print it.", _create)
    create.add_argument("--token", help="the text of the token (random)")
    create.add_argument(
        "--uses", type=whole_number, help="how many accounts may be registered with it (unlimited)"
    )
    create.add_argument("--days", type=days, help="how many days it is valid (unlimited)")
    add_action(actions, "list", "List the tokens.", _list)
    delete = add_action(actions, "delete", "Delete a token.", _delete)
    delete.add_argument("token", metavar="TOKEN")


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _create(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.accounts.registration_tokens import create_registration_token
    from murmuration.clock import now_ms

    expiry = None if args.days is None else now_ms() + int(args.days * DAY_MS)
    print(create_registration_token(args.token, uses_allowed=args.uses, expiry_ms=expiry))
    return 0


def _list(_args: argparse.Namespace, _server: Server) -> int:
    from datetime import UTC, datetime

    from murmuration.storage.auth.registration_tokens import scan_tokens

    for token in sorted(with_progress(scan_tokens(), "tokens"), key=lambda each: each.token):
        allowed = "any number" if token.uses_allowed is None else str(token.uses_allowed)
        until = (
            "" if token.expiry_ms is None
            else f", until {datetime.fromtimestamp(token.expiry_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        )  # fmt: skip
        print(f"{token.token}  {token.completed} used of {allowed}{until}")
    return 0


def _delete(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.auth.registration_tokens import delete_token, read_token

    if read_token(args.token) is None:
        raise NotOperable("There is no such token.")
    delete_token(args.token)
    return 0
