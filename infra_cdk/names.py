"""The names of resources: `<prefix>-<api>-<operation>` for functions, `<prefix>-<name>` for the rest.

The worker of a queue is `<prefix>-queue-<queue>`: code that queues a message invokes it by that name.
"""

from __future__ import annotations

import hashlib
from typing import Any

from aws_cdk import Fn

from infra_cdk.division import api_name
from infra_cdk.settings import Settings
from murmuration.endpoint import Function, Queue

LONGEST = 64
"""Lambda's limit for a function's name."""
LONGEST_COMMENT = 128
"""CloudFront's limit for a distribution's comment.

https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DistributionConfig.html
"""
LONGEST_REGION = 24
"""How many characters the name of a region may have; the longest today has 14."""


def function_name(settings: Settings, function: Function) -> str:
    """Return a function's physical name. One that would be too long ends with a digest of the removed
    part.
    """
    if isinstance(function.route, Queue):
        return worker_name(settings, function.route.name)
    name = f"{settings.prefix}-{api_name(function)}-{function.name.partition('-')[2]}"
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: LONGEST - 7]}-{digest}"


def worker_name(settings: Settings, queue: str) -> str:
    """Return the physical name of a queue's worker, as `murmuration.settings` builds it."""
    return f"{settings.prefix}-queue-{queue}"


def queue_name(settings: Settings, name: str, fifo: bool) -> str:
    return f"{settings.prefix}-{name}" + (".fifo" if fifo else "")


def global_name(settings: Settings, name: str) -> Any:
    """Return a name for a resource of CloudFront, a budget or a dashboard. It contains the region, because
    such names must be unique in the whole account.
    """
    return Fn.sub(f"{settings.prefix}-${{AWS::Region}}-{name}")


def distribution_comment(settings: Settings) -> Any:
    """Return the comment that identifies the distribution in CloudFront's list; a long server name is cut."""
    before = f"{settings.prefix} in "
    room = LONGEST_COMMENT - len(before) - LONGEST_REGION - len(": ")
    name = settings.server_name
    shown = name if len(name) <= room else name[: room - 3] + "..."
    return Fn.sub(f"{before}${{AWS::Region}}: {shown}")


def logical_id(*parts: str) -> str:
    """Return a logical ID such as `FunctionClientServerLogin`, made of the words between `.`, `-`, `_`, `/`
    and `$`.
    """
    words = "-".join(parts).translate(str.maketrans("._/$", "----")).split("-")
    return "".join(word[:1].upper() + word[1:] for word in words)
