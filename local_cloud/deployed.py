"""A deployment in AWS, as operators' commands reach it: by its functions' own settings."""

from __future__ import annotations

import argparse
import os
from typing import Any

PROBE = "client_server-get_versions"
"""A function whose environment is every function's."""


class NoDeployment(Exception):
    """There is none of that name to be reached; the message says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The option that names the deployment."""
    parser.add_argument("--stage", default="prod", help="the deployment's stage (prod)")


def enter(stage: str) -> None:
    """Take over the settings of the deployment `stage`, for this process. Raises NoDeployment."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    name = f"murmuration-{stage}-{PROBE}"
    try:
        found: dict[str, Any] = (
            Session().create_client("lambda").get_function_configuration(FunctionName=name)
        )
    except (BotoCoreError, ClientError) as error:
        raise NoDeployment(
            f"The deployment {stage!r} can't be reached ({error}). Are AWS's credentials and region set?"
        ) from error
    os.environ.update(found["Environment"]["Variables"])
