"""Workers: consumers of DynamoDB Streams and SQS, a record at a time, with partial batch failures.

Records arrive at least once, in order within a shard or message group. Powertools' batch processing reports
the records that failed; Lambda brings them again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from murmuration.endpoint.routes import Stream


class StreamWorker:
    """A Lambda entry point around a function of one new item of a table."""

    def __init__(self, function: Callable[[dict[str, Any]], None], route: Stream) -> None:
        self.function = function
        self.route = route
        self.__doc__ = function.__doc__

    def __call__(self, event: Mapping[str, Any], context: Any = None) -> Any:
        from aws_lambda_powertools.utilities.batch import (
            BatchProcessor,
            EventType,
            process_partial_response,
        )

        processor = BatchProcessor(event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)
        return process_partial_response(
            event=dict(event), record_handler=self._take, processor=processor, context=context
        )

    def _take(self, record: Any) -> None:
        image = record.raw_event["dynamodb"].get("NewImage")
        if image is not None:
            self.function({name: _value(attribute) for name, attribute in image.items()})


def _value(attribute: Mapping[str, Any]) -> Any:
    """The Python value of an attribute as a stream record has it: binary as base64 text."""
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "B":
            return base64.b64decode(value)
        case "NULL":
            return None
        case "L":
            return [_value(element) for element in value]
        case "M":
            return {name: _value(element) for name, element in value.items()}
        case "SS":
            return frozenset(value)
        case _:
            return value


def stream_worker(
    table: str, *, batch_size: int = 100
) -> Callable[[Callable[[dict[str, Any]], None]], StreamWorker]:
    """Make a function of one item the consumer of a table's stream; deletions are left out."""

    def decorate(function: Callable[[dict[str, Any]], None]) -> StreamWorker:
        return StreamWorker(function, Stream(table, batch_size))

    return decorate
