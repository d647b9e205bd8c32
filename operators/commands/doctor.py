"""Check a server, deployed or local: what clients, other servers and its operator need from it.

Every check prints a line; the exit status is 1 if one failed. For a data folder on which no server is
running, only the stored data is checked.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter

from operators.arguments import web_url
from operators.operating import Server, operate
from operators.operating import add_arguments as add_server_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    parser.add_argument("--url", type=web_url, help="the URL to check (the server's public URL)")


def run(args: argparse.Namespace) -> int:
    return operate(args, lambda server: _run(args, server))


def _run(args: argparse.Namespace, server: Server) -> int:
    from operators import account
    from operators.doctor import Standing, checks

    print(f"{server.server_name} at {args.url or server.public_url}")
    counts: Counter[Standing] = Counter()
    found = itertools.chain(checks(server, args.url or server.public_url), account.checks(server))
    for finding in found:
        counts[finding.standing] += 1
        print(f"{finding.standing.value:>7}  {finding.subject}: {finding.sentence}", flush=True)
    return 1 if counts[Standing.FAILED] else 0
