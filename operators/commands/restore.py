"""Restore a deployment's tables, as they were at one time, and its secrets, as another stage beside it.

After an interruption, run the same command again: finished steps are skipped. At the end it prints the steps
that remain to be done by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", required=True, type=_moment, help="a time, such as 2026-11-20T12:00:00Z")
    parser.add_argument("--stage", required=True, type=_stage, help="the new deployment's, such as back")
    parser.add_argument(
        "--prefix", default="murmuration-prod", help="the deployment to restore (murmuration-prod)"
    )


def _stage(text: str) -> str:
    """Return a stage that the deployment's settings accept. Raises ArgumentTypeError."""
    if not re.fullmatch("[a-z][a-z0-9-]{0,15}", text):
        raise argparse.ArgumentTypeError(f"{text} is no stage: use up to 16 of a-z, 0-9 and -, as in back")
    return text


def _moment(text: str) -> datetime:
    """Return a time to the second, with its time zone. Raises ArgumentTypeError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time such as 2026-11-20T12:00:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} lacks its zone: add a Z for UTC")
    return moment.astimezone(UTC).replace(microsecond=0)


NEXT = """What remains, in this order:
  npx cdk deploy {options}-c domain= -c certificate_arn= -c zone= -c zone_id=
                             (takes the domain from {source}; not needed where that is gone, or has none)
  put "stage": "{stage}" into the context of cdk.json: later deployments are of it, too
  npx cdk deploy --import-existing-resources
  aws s3 sync s3://BUCKET-OF-{source} s3://BUCKET-OF-{target}   (the stacks' outputs name the buckets)
  point the domain to the new Address (unless a zone of Route 53 is set)
  murmuration doctor --prefix {target}"""


def run(args: argparse.Namespace) -> int:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    from operators.account import make_client
    from operators.operating import aws_sentence
    from operators.restoring import NotRestorable, restore

    target = f"murmuration-{args.stage}"
    try:
        restore(args.prefix, target, args.at, make_client, print)
    except NotRestorable as error:
        print(error, file=sys.stderr)
        return 2
    except (NoRegionError, NoCredentialsError) as error:
        print(aws_sentence(error), file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"{aws_sentence(error)}\nRun the same command again to continue.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What AWS has begun continues. Run the same command again to continue.",
            file=sys.stderr,
        )
        return 130
    stage = args.prefix.removeprefix("murmuration-")
    options = "" if stage == "prod" else f"-c stage={stage} "
    print(NEXT.format(source=args.prefix, stage=args.stage, target=target, options=options))
    return 0
