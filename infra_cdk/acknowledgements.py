"""The accepted findings of cdk-nag, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aws_cdk import Acknowledgment, Names, Stack, Validations
from aws_cdk import aws_iam as iam

REASONS = {
    "AwsSolutions-APIG1": "Access logs cost more than the requests; the functions log what went wrong.",
    "AwsSolutions-APIG2": "Each function validates its requests: Matrix has error answers of its own.",
    "AwsSolutions-APIG3": "A web ACL costs $5 a month, used or not; the stage limits the rate of requests.",
    "AwsSolutions-APIG4": "Matrix's access tokens are its authorisation; functions check them.",
    "AwsSolutions-APIG6": "Execution logs cost more than the requests, and would hold access tokens.",
    "AwsSolutions-COG4": "Matrix's access tokens are its authorisation; Cognito knows nothing of them.",
    "AwsSolutions-CFR1": "A homeserver is reached from everywhere: federation has no borders.",
    "AwsSolutions-CFR2": "A web ACL costs $5 a month, used or not; the API limits the rate of requests.",
    "AwsSolutions-CFR3": "Access logs would keep the addresses of all users for nobody to read.",
    "AwsSolutions-CFR4": "Without a domain of one's own CloudFront's certificate comes with its own policy.",
    "AwsSolutions-CFR7": "Large answers are read by signed paths; CloudFront would sign them anew.",
    "AwsSolutions-DDB3": "What expires by itself is made anew by use; there is nothing to restore.",
    "AwsSolutions-L1": "The version is `infra_cdk.layers.PYTHON`, which Lambda runs.",
    "AwsSolutions-S1": "Functions and CloudFront alone reach the bucket; access logs would double its cost.",
    "AwsSolutions-SNS3": "CloudWatch alone publishes to the topic, by itself, and always over TLS.",
    "AwsSolutions-SQS3": "A queue of dead letters has no queue of dead letters.",
}
"""By the rule's name, for the whole stack."""

WILDCARDS = (
    (
        r":function:[a-z0-9_-]+-\*$",
        "API Gateway may call what is behind it: a name each would break IAM's limit.",
    ),
    (r"\.Arn>/[a-z_-]+/\*$", "One kind of media; an object's name is not known beforehand."),
    (r"<referenceto\w+>/[a-z_-]+/\*$", "The same bucket, as the nested stack is told of it."),
    (r":parameter/[a-z0-9-]+/\*$", "The function that makes the deployment's parameters, and only those."),
    (r":parameter/[a-z0-9-]+/identity-provider-\*$", "Operators name who logs their users in."),
    (r":[a-z0-9-]+-wake-(\d+-)?\*$", "A device's wake queue is made when it first waits."),
    (r"/ws/\*/@connections/\*$", "The WebSocket API's own connections, whose names come and go."),
    (r"^\*$", "ListStreams, which Lambda asks of who reads a stream, is granted for all or none."),
    (r"<MediaBucket\.Arn>/\*$", "A try's media is deleted with it."),
)
"""The wildcards that are intended in roles, by the end of the ARN as cdk-nag writes it."""


def acknowledge(stack: Stack) -> None:
    """Tell cdk-nag which findings are accepted, each with its reason. All other findings still count."""
    rules = [Acknowledgment(id=rule, reason=reason) for rule, reason in REASONS.items()]
    Validations.of(stack).acknowledge(*rules)
    for child in stack.node.children:
        if isinstance(child, iam.CfnRole):
            found = [
                Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{name}]", reason=reason)
                for name in _resources(stack, child)
                if (reason := _reason(name))
            ]
            if found:
                Validations.of(child).acknowledge(*found)


def _reason(name: str) -> str | None:
    return next((reason for pattern, reason in WILDCARDS if re.search(pattern, name)), None)


def _resources(stack: Stack, role: iam.CfnRole) -> Iterator[str]:
    """Yield the ARNs that a role's policies name, as cdk-nag writes them."""
    for policy in stack.resolve(role.policies):
        for statement in policy["policyDocument"]["Statement"]:
            for resource in statement["Resource"]:
                yield re.sub(
                    r"<(\w+)(?:\.(\w+))?>", lambda found: _as_seen_from(stack, found), _text(resource)
                )


def _as_seen_from(stack: Stack, found: re.Match[str]) -> str:
    """Return a reference as cdk-nag writes it for a nested stack.

    There, a reference to a resource outside of the stack is a parameter.
    """
    parent = stack.nested_stack_parent
    outside = parent.node.try_find_child(found[1]) if parent is not None else None
    if outside is None or stack.node.try_find_child(found[1]) is not None:
        return found[0]
    return f"<referenceto{Names.node_unique_id(outside.node)}{found[2] or 'Ref'}>"


def _text(value: object) -> str:
    match value:
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", r"<\1>", text)
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(_text(part) for part in parts)
        case {"Fn::GetAtt": [str(resource), str(attribute)]}:
            return f"<{resource}.{attribute}>"
        case {"Ref": str(resource)}:
            return f"<{resource}>"
        case _:
            return str(value)
