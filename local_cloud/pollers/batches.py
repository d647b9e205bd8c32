"""Interprets a batch function's answer as Lambda does, and disturbs deliveries on purpose for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from local_cloud.config import Chaos

Item = TypeVar("Item")


def failed_identifiers(answer: object, known: Sequence[str]) -> set[str]:
    """Return the identifiers that `answer` reports as failed (ReportBatchItemFailures); all if it is
    malformed.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not answer or not isinstance(answer, dict):
        return set()
    failures = answer.get("batchItemFailures")
    if not failures:
        return set()
    if not isinstance(failures, list):
        return set(known)
    failed = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not identifier or identifier not in known:
            return set(known)
        failed.add(identifier)
    return failed


def deliveries(items: Sequence[Item], chaos: Chaos) -> Iterator[Sequence[Item]]:
    """Yield the deliveries of a batch: once; with `twice` two times; with `pieces` each item alone, two
    times.

    At-least-once delivery allows all of these, so the result of a function must be the same.
    """
    if chaos == "pieces":
        for item in items:
            yield [item]
            yield [item]
        return
    yield items
    if chaos == "twice":
        yield items
