"""The stage: a backdrop whose tables, bucket and connections are set to a world before each event.

A function's writes are found by comparing the tables before and after, and undone before the next event.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud import provision
from local_cloud.aws import patch
from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed
from replay.backdrop import Backdrop, Handler, Outcome
from replay.worlds import Contents, Item, World, item_key, key_names

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import LambdaEvent


class Stage(Backdrop):
    """Replays events, each in a world as if nothing had happened before.

    `secrets` are the parameters in SSM, by logical name.
    """

    def __init__(
        self,
        database_url: str,
        objects: Path,
        *,
        prefix: str,
        secrets: Mapping[str, str],
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(database_url, objects, store=Path(":memory:"), prefix=prefix, variables=variables)
        self._secrets = secrets
        self._touched: set[str] = set()
        self._standing: Contents = {}
        self._world: World | None = None

    def set_up(self) -> None:
        from murmuration.aws import dynamodb
        from murmuration.settings import settings
        from murmuration.storage.tables import TABLES

        provision.create_tables(dynamodb.client(), TABLES, prefix=self.prefix)
        self.s3.create_bucket({"Bucket": settings().media_bucket})
        for name, value in self._secrets.items():
            self.ssm.put_parameter({"Name": f"/{self.prefix}/{name}", "Value": value})
        calls.intercept(self._note_tables)

    def __exit__(self, *details: object) -> None:
        calls.release(self._note_tables)
        super().__exit__(*details)

    def _note_tables(self, call: Call, proceed: Proceed) -> Answer:
        if call.operation in patch.WRITES:
            for writes in call.parameters.get("TransactItems", ()):
                self._touched.update(operation["TableName"] for operation in writes.values())
            self._touched.update(call.parameters.get("RequestItems", ()))
            if "TableName" in call.parameters:
                self._touched.add(call.parameters["TableName"])
        return proceed(call)

    # -- The world -------------------------------------------------------------------------------------------

    def set(self, world: World) -> None:
        """Make the tables contain the items of `world` and nothing else."""
        if world is self._world:
            return
        self._change(self._standing, world.contents)
        self._standing = {table: dict(items) for table, items in world.contents.items()}
        self._world = world

    def contents(self) -> Contents:
        """Return the items of all tables."""
        from murmuration.storage.tables import TABLES

        return {table.name: found for table in TABLES if (found := _read(table.name))}

    def objects(self) -> dict[str, tuple[str, bytes]]:
        """Return the objects in the bucket: (content type, bytes) by key."""
        bucket = self._bucket()
        found = self.s3.list_objects_v2({"Bucket": bucket}).get("Contents", [])
        entries = {
            entry["Key"]: self.s3.get_object({"Bucket": bucket, "Key": entry["Key"]}) for entry in found
        }
        return {key: (entry["ContentType"], entry["Body"].read()) for key, entry in entries.items()}

    def adopt(self, world: World) -> None:
        """Begin the next event with the current tables; `world` has their items."""
        self._standing, self._world = self.contents(), world

    def _change(self, before: Contents, after: Contents) -> None:
        from murmuration.aws import dynamodb

        writes = []
        for table, items in before.items():
            gone = items.keys() - after.get(table, {}).keys()
            writes += [dynamodb.delete(table, _key(table, items[key])) for key in gone]
        for table, items in after.items():
            known = before.get(table, {})
            writes += [dynamodb.put(table, item) for key, item in items.items() if known.get(key) != item]
        if writes:
            dynamodb.batch_write(writes)

    def dress(self) -> None:
        """Set the bucket, queues and connections to those of the world."""
        self.clear_queues()
        self.connections = {key[0] for key in self._standing.get("connections", {})}
        for statement in ("DELETE FROM objects", "DELETE FROM uploads", "DELETE FROM parts"):
            self.store.write(statement)
        world = self._world
        if world is not None:
            for key, (kind, data) in world.objects.items():
                self.s3.put_object({"Bucket": self._bucket(), "Key": key, "Body": data, "ContentType": kind})

    def _bucket(self) -> str:
        return self.variables["MURMURATION_MEDIA_BUCKET"]

    # -- Playing
    # ----------------------------------------------------------------------------------------------

    def play(
        self,
        handler: Handler,
        event: LambdaEvent,
        *,
        clock: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Pass `event` to the function at the time `clock`, and return the outcome. Then the world is
        restored.

        `settings` are the deployment's, such as `{"registration": "open"}`. Raises what the function raises.
        """
        self.dress()
        self._touched.clear()
        outcome = self.call(handler, event, clock=clock, settings=settings)
        self._compare(outcome)
        return outcome

    def _compare(self, outcome: Outcome) -> None:
        touched = [name.removeprefix(f"{self.prefix}-") for name in sorted(self._touched)]
        for table in touched:
            now, before = _read(table), self._standing.get(table, {})
            outcome.items[table] = [item for key, item in now.items() if before.get(key) != item]
            gone = [_key(table, item) for key, item in before.items() if key not in now]
            outcome.deleted[table] = gone
            self._change({table: now}, {table: before})
        outcome.items = {table: items for table, items in outcome.items.items() if items}
        outcome.deleted = {table: keys for table, keys in outcome.deleted.items() if keys}
        outcome.objects = self._stored_objects()

    def _stored_objects(self) -> list[dict[str, Any]]:
        before = self._world.objects if self._world is not None else {}
        return [
            {"key": key, "content_type": kind, "size": len(data)}
            for key, (kind, data) in self.objects().items()
            if key not in before
        ]


def _read(table: str) -> dict[tuple[Any, ...], Item]:
    from murmuration.aws import dynamodb

    return {item_key(table, item): item for item in dynamodb.scan(table, ConsistentRead=True)}


def _key(table: str, item: Mapping[str, Any]) -> Item:
    return {name: item[name] for name in key_names(table)}
