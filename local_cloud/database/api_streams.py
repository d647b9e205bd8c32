"""Reads a table's stream through the API: from moto, or from a DynamoDB with a URL."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.names import REGION, stream_arn
from local_cloud.pollers.stream_source import Record, sequence_number

_POSITIONS = 1 << 62
_GONE = frozenset(("ExpiredIteratorException", "TrimmedDataAccessException"))


class ApiStreamReader:
    """Reads one table's stream, for one thread. A record's position is its sequence number, or its last bits.

    Shards are read one after another, in the order in which they were opened. So records keep their order if
    the table has one open shard at a time, as in databases for a laptop.
    """

    def __init__(self, table: str) -> None:
        from botocore.session import Session

        self._client = Session().create_client("dynamodbstreams")
        self._table = table
        self._arn = ""
        self._iterators: dict[str, str | None] = {}
        """The iterator of each shard; None for one that was read to its end."""
        self._records: list[Record] = []

    def read(self, after: int, limit: int) -> list[Record]:
        """Return up to `limit` records past the position `after`, in order."""
        self._records = [record for record in self._records if record.position > after]
        try:
            self._fetch(after, limit)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            self._iterators, self._records = {}, []
        return self._records[:limit]

    def _fetch(self, after: int, limit: int) -> None:
        for shard in self._open():
            while (iterator := self._iterators[shard]) is not None and len(self._records) < limit:
                page = self._client.get_records(ShardIterator=iterator)
                self._iterators[shard] = page.get("NextShardIterator")
                for found in page["Records"]:
                    position = int(found["dynamodb"]["SequenceNumber"]) % _POSITIONS
                    if position > after:
                        self._records.append(Record(position, self._event(found, position)))
                if not page["Records"]:
                    break

    def _open(self) -> list[str]:
        """Return the stream's shards, in order. Each gets an entry in `_iterators`."""
        found = self._client.list_streams(TableName=self._table)["Streams"][0]
        stream = self._client.describe_stream(StreamArn=found["StreamArn"])["StreamDescription"]
        self._arn = stream_arn(self._table, found["StreamLabel"])
        shards = sorted(stream["Shards"], key=lambda each: _beginning(each["SequenceNumberRange"]))
        names = [shard["ShardId"] for shard in shards]
        for name in names:
            if name not in self._iterators:
                self._iterators[name] = self._client.get_shard_iterator(
                    StreamArn=found["StreamArn"], ShardId=name, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
        return names

    def _event(self, found: dict[str, Any], position: int) -> dict[str, Any]:
        change = _jsonable(found["dynamodb"])
        change["SequenceNumber"] = sequence_number(position)
        return {**_jsonable(found), "dynamodb": change, "awsRegion": REGION, "eventSourceARN": self._arn}

    def close(self) -> None:
        self._client.close()


def _beginning(numbers: dict[str, str]) -> int:
    return int(numbers.get("StartingSequenceNumber", "0"))


def _jsonable(value: object) -> Any:
    match value:
        case dict():
            return {name: _jsonable(inner) for name, inner in value.items()}
        case list():
            return [_jsonable(inner) for inner in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.timestamp()
        case _:
            return value
