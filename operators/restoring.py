"""Restores a deployment's data as it was at one moment, as another deployment beside it.

Each step is skipped if it is done already, so after an interruption the same command continues. All tables
are restored to the same second, because otherwise they would contradict each other. Tables whose items all
expire aren't restored: normal use creates them again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from murmuration.storage.tables import TABLES, Table

RESTORED: tuple[Table, ...] = tuple(table for table in TABLES if table.is_backed_up)
"""The tables that AWS can restore to any second of the last 35 days."""
SIGNING_KEY = "signing-key"
MADE_ANEW = frozenset(("viewer-secret", "queue-secret"))
"""Secrets between the parts of one deployment. The new deployment creates its own."""
ATTEMPTS, PAUSE_S = 60, 10
Clients = Callable[[str], Any]
Say = Callable[[str], None]


class NotRestorable(Exception):
    """Something prevents the restoration, however often it is tried. The message says what to do."""


def restore(source: str, target: str, at: datetime, clients: Clients, say: Say) -> None:
    """Create the tables and the secrets of the prefix `target` from those of the prefix `source`.

    Raises NotRestorable if `source` can't be restored to that time, or if `target` has a table of another
    time, or another server's key.
    """
    if source == target:
        raise NotRestorable(f"{target} is what is restored from: name another stage")
    dynamodb = clients("dynamodb")
    for table in RESTORED:
        if _begin(dynamodb, f"{source}-{table.name}", f"{target}-{table.name}", at):
            say(f"restoring {target}-{table.name}")
    for table in RESTORED:
        _finish(dynamodb, table, f"{target}-{table.name}")
        say(f"{target}-{table.name} is as it was at {at.isoformat()}")
    for name in _copy_secrets(clients("ssm"), source, target):
        say(f"the {name.replace('-', ' ') if name == SIGNING_KEY else f'secret {name}'} is copied")


def _begin(dynamodb: Any, source: str, target: str, at: datetime) -> bool:
    """Make AWS restore a table, unless it does or did so already. Returns whether it was requested."""
    try:
        there = dynamodb.describe_table(TableName=target)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        _ask(dynamodb, source, target, at)
        return True
    restored_at = there.get("RestoreSummary", {}).get("RestoreDateTime")
    if restored_at is None or int(restored_at.timestamp()) != int(at.timestamp()):
        what = f"of {restored_at.isoformat()}" if restored_at else "that was not restored"
        raise NotRestorable(f"{target} is a table {what}: delete it, or choose another stage")
    return False


def _ask(dynamodb: Any, source: str, target: str, at: datetime) -> None:
    """Request the restoration of a table. Raises NotRestorable if it can never succeed."""
    try:
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=source, TargetTableName=target, RestoreDateTime=at
        )
    except dynamodb.exceptions.TableNotFoundException:
        wrong = f"there is no table {source} in {dynamodb.meta.region_name}"
        raise NotRestorable(f"{wrong}: name the deployment by --prefix and AWS_REGION") from None
    except dynamodb.exceptions.PointInTimeRecoveryUnavailableException:
        raise NotRestorable(f"AWS keeps no past of {source}: its point-in-time recovery is off") from None
    except dynamodb.exceptions.InvalidRestoreTimeException:
        found = dynamodb.describe_continuous_backups(TableName=source)["ContinuousBackupsDescription"]
        known = found.get("PointInTimeRecoveryDescription", {})
        earliest, latest = known.get("EarliestRestorableDateTime"), known.get("LatestRestorableDateTime")
        between = f" from {_shown(earliest)} to {_shown(latest)}" if earliest and latest else ""
        raise NotRestorable(
            f"AWS can't restore {source} as it was at {_shown(at)}: choose a time{between}"
        ) from None


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _finish(dynamodb: Any, table: Table, name: str) -> None:
    """Configure a restored table with what AWS doesn't restore: its backups, its expiry, its stream, its
    protection.
    """
    _wait(dynamodb, name)
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        _enable_backups(dynamodb, name)
    if table.ttl:
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if expiry.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            specified = {"Enabled": True, "AttributeName": table.ttl}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specified)
    there = dynamodb.describe_table(TableName=name)["Table"]
    if table.streams and not there.get("StreamSpecification", {}).get("StreamEnabled"):
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        dynamodb.update_table(TableName=name, StreamSpecification=stream)
        _wait(dynamodb, name)
    if not there.get("DeletionProtectionEnabled"):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
        _wait(dynamodb, name)


def _enable_backups(dynamodb: Any, name: str) -> None:
    """Turn on point-in-time backups of the table. AWS refuses for a while after a table was restored.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateContinuousBackups.html
    """
    for attempt in range(ATTEMPTS):
        try:
            dynamodb.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
        except dynamodb.exceptions.ContinuousBackupsUnavailableException:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def _wait(dynamodb: Any, name: str) -> None:
    """Wait until a table is active; a large one takes hours to restore."""
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 20, "MaxAttempts": 4_320})


def _copy_secrets(ssm: Any, source: str, target: str) -> list[str]:
    """Copy the signing key, by which others know the server, and the secrets that its operator put into SSM.

    Returns their names. A secret that `target` has already isn't changed. Raises NotRestorable if `source`
    has no signing key, or `target` has another one.
    """
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path=f"/{source}", Recursive=True, WithDecryption=True
    )
    found = {
        each["Name"].removeprefix(f"/{source}/"): each["Value"]
        for page in pages
        for each in page["Parameters"]
    }
    if SIGNING_KEY not in found:
        raise NotRestorable(f"there is no /{source}/{SIGNING_KEY}: put your copy there, and come again")
    copied = sorted(found.keys() - MADE_ANEW, key=lambda name: (name != SIGNING_KEY, name))
    for name in copied:
        parameter = f"/{target}/{name}"
        try:
            ssm.put_parameter(Name=parameter, Value=found[name], Type="SecureString", Overwrite=False)
        except ssm.exceptions.ParameterAlreadyExists:
            there = ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]
            if name == SIGNING_KEY and there != found[name]:
                raise NotRestorable(
                    f"{parameter} is another key than /{source}/{SIGNING_KEY}: delete it, and come again"
                ) from None
    return copied
