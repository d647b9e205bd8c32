"""The order in which functions are made and changed: a few at a time, and workers before all others.

Lambda's control plane takes 15 requests a second of an account, and each upgrade changes all functions, as it
changes the layers. So each function waits for another, in as many chains as may be at work at once.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#api-requests

A deployment that stops halfway must still serve. Workers come first: they understand what functions of the
version before have written, and what those of the new version will write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import CfnResource
from aws_cdk import aws_lambda as lambda_

from murmuration.endpoint import Function

AT_ONCE = 10
"""How many functions are made or changed at once."""


def chain(
    functions: Sequence[Function], made: Mapping[str, lambda_.CfnFunction], first: Sequence[CfnResource] = ()
) -> Sequence[CfnResource]:
    """Put functions into order, after those in `first`. `made` has them by their names. Returns the last."""
    workers = [made[each.name] for each in functions if each.group.startswith("workers.")]
    others = [made[each.name] for each in functions if not each.group.startswith("workers.")]
    ends: Sequence[CfnResource] = first
    for group in (workers, others):
        for number, function in enumerate(group):
            before = ends if number < AT_ONCE else [group[number - AT_ONCE]]
            for each in before:
                function.add_resource_dependency(each)
        ends = group[-AT_ONCE:] or ends
    return ends
