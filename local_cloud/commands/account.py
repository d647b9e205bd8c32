"""Create an account in a deployment, whether or not people may register there.

The password is asked for, or read from standard input if that isn't a terminal.
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from local_cloud import deployed

    parser.add_argument("name", help="the user's name: alice for @alice:example.org")
    parser.add_argument("--admin", action="store_true", help="make the user an administrator of the server")
    deployed.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from local_cloud import deployed
    from murmuration.accounts.registration import create_account
    from murmuration.protocol.errors import MatrixError

    try:
        deployed.enter(args.stage)
        print(create_account(args.name, _password(), is_admin=args.admin))
    except (deployed.NoDeployment, MatrixError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    return getpass("Password: ")
