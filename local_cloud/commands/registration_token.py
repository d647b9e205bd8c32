"""Make a token with which people may register in a deployment whose registration is `token`."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from local_cloud import deployed

    parser.add_argument("--uses", type=int, default=1, help="how many accounts it makes (1)")
    deployed.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from local_cloud import deployed
    from murmuration.accounts.registration_tokens import create_registration_token
    from murmuration.protocol.errors import MatrixError

    try:
        deployed.enter(args.stage)
        print(create_registration_token(uses_allowed=args.uses))
    except (deployed.NoDeployment, MatrixError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
