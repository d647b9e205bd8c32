"""Reads a table's stream from moto, for `--dynamodb moto`: through the API, in memory, for small tests."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from local_cloud.names import REGION, stream_arn
from local_cloud.pollers.stream_source import Record, sequence_number


class MotoStreamReader:
    """One table's stream; positions count its records from 1."""

    def __init__(self, table: str) -> None:
        from botocore.session import Session

        self._client = Session().create_client("dynamodbstreams")
        self._table = table
        self._iterator: str | None = None
        self._records: list[Record] = []
        self._arn = ""

    def read(self, after: int, limit: int) -> list[Record]:
        """Up to `limit` records past the position `after`, in order."""
        if self._iterator is None:
            self._open()
        while True:
            page = self._client.get_records(ShardIterator=self._iterator)
            self._iterator = page["NextShardIterator"]
            for found in page["Records"]:
                position = len(self._records) + 1
                self._records.append(Record(position, self._event(found, position)))
            if not page["Records"]:
                return self._records[after : after + limit]

    def _open(self) -> None:
        found = self._client.list_streams(TableName=self._table)["Streams"][0]
        stream = self._client.describe_stream(StreamArn=found["StreamArn"])["StreamDescription"]
        self._arn = stream_arn(self._table, found["StreamLabel"])
        self._iterator = self._client.get_shard_iterator(
            StreamArn=found["StreamArn"],
            ShardId=stream["Shards"][0]["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )["ShardIterator"]

    def _event(self, found: dict[str, Any], position: int) -> dict[str, Any]:
        change = _jsonable(found["dynamodb"])
        change["SequenceNumber"] = sequence_number(position)
        return {**_jsonable(found), "dynamodb": change, "awsRegion": REGION, "eventSourceARN": self._arn}

    def close(self) -> None:
        self._client.close()


def _jsonable(value: Any) -> Any:
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
