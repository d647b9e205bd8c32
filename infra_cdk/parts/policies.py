"""IAM policy documents from `grants`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from infra_cdk.names import worker_name
from infra_cdk.settings import Settings
from infra_shared.grants import Grant
from infra_shared.needs import ACTIONS, MAIL, OBJECTS, QUEUES, SECRETS, SOCKETS, TABLES


class Statement(TypedDict):
    """A statement of a policy. Only a trust policy, or the policy of a queue or bucket, names a principal."""

    Effect: Literal["Allow", "Deny"]
    Action: str | list[str]
    Resource: NotRequired[str | list[Any]]
    Principal: NotRequired[str | dict[str, str]]
    Condition: NotRequired[dict[str, dict[str, str]]]


class Document(TypedDict):
    """A policy document of IAM."""

    Version: str
    Statement: list[Statement]


def document(statements: Iterable[Statement]) -> Document:
    """Return a policy of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(actions: Iterable[str], resources: Iterable[Any]) -> Statement:
    """Return a statement that allows `actions` on `resources`."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def assumed_by(service: str) -> Document:
    """Return the trust policy of a role that an AWS service assumes."""
    principal = {"Service": f"{service}.amazonaws.com"}
    return document([{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}])


def arn(service: str, resource: str) -> dict[str, str]:
    """Return the ARN of a resource of this account and region."""
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}"}


def worker_arn(settings: Settings, queue: str) -> dict[str, str]:
    """Return the ARN of the function that works through a queue."""
    return arn("lambda", f"function:{worker_name(settings, queue)}")


@dataclass(frozen=True)
class Resources:
    """Translates the names in a grant into resources of this deployment."""

    settings: Settings
    fifo_queues: Collection[str]
    bucket_arn: str
    socket_arns: str | None
    """The connections of the WebSocket API; None if there is none."""

    def statements(self, grant: Grant) -> list[Statement]:
        """Return the statements for a grant. Resources with the same permissions share a statement."""
        shared: dict[tuple[str, ...], list[Any]] = defaultdict(list)
        for kind, words in grant.by_kind().items():
            for resource, actions in sorted(words.items()):
                for arns, names in self._targets(kind, resource, actions.split()):
                    shared[names] += arns
        return [allow(names, arns) for names, arns in shared.items() if arns]

    def _targets(
        self, kind: str, resource: str, words: list[str]
    ) -> Iterator[tuple[list[Any], tuple[str, ...]]]:
        """Yield ARNs, each with the actions on it. Ringing a queue means invoking its worker's function.

        Listing objects is a permission on the bucket itself. A role that reads objects needs it too: without
        it, S3 answers that access is denied instead of saying that an object doesn't exist.
        """
        if kind == OBJECTS and {"list", "get"} & set(words):
            words = [word for word in words if word != "list"]
            yield [self.bucket_arn], ACTIONS[OBJECTS]["list"]
        if kind == QUEUES and "ring" in words:
            words = [word for word in words if word != "ring"]
            yield [worker_arn(self.settings, resource)], ACTIONS[QUEUES]["ring"]
        if words:
            yield (
                self._arns(kind, resource),
                tuple(sorted(name for word in words for name in ACTIONS[kind][word])),
            )

    def _arns(self, kind: str, resource: str) -> list[Any]:
        prefix = self.settings.prefix
        if kind == TABLES:
            table, _, index = resource.partition("/")
            return [arn("dynamodb", f"table/{prefix}-{table}" + (f"/index/{index}" if index else ""))]
        if kind == QUEUES:
            suffix = ".fifo" if resource in self.fifo_queues else ""
            return [arn("sqs", f"{prefix}-{resource}{suffix}")]
        if kind == OBJECTS:
            return [f"{self.bucket_arn}/{resource}"]
        if kind == SECRETS:
            return [arn("ssm", f"parameter/{prefix}/{resource}")]
        if kind == MAIL:
            sender = self.settings.mail_sender
            identities = [sender, sender.partition("@")[2]] if sender else []
            return [arn("ses", f"identity/{identity}") for identity in identities]
        if kind == SOCKETS:
            return [self.socket_arns] if self.socket_arns else []
        raise ValueError(f"no ARN is known for {kind}")


def inline(statements: Iterable[Statement]) -> list[Any]:
    """Return a role's inline policy."""
    return [{"policyName": "permissions", "policyDocument": document(statements)}]
