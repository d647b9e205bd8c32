"""The order in which functions are created and updated: a few at a time, and workers before all others.

Lambda's control plane accepts 15 requests a second for an account, and each upgrade updates all functions,
because the layers change. So the functions form chains in which each waits for the one before; there are as
many chains as functions may change at once.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#api-requests

A deployment that stops halfway must still work. So workers come first: they understand data both from the
previous version's functions and from the new version's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import CfnResource
from aws_cdk import aws_lambda as lambda_

from murmuration.endpoint import Function

AT_ONCE = 10
"""How many functions are created or updated at once."""


def chain(
    functions: Sequence[Function], made: Mapping[str, lambda_.CfnFunction], first: Sequence[CfnResource] = ()
) -> Sequence[CfnResource]:
    """Make each function depend on one before it, and the first ones on the resources in `first`.

    `made` has the functions' resources by name. Returns the last resource of each chain.
    """
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
