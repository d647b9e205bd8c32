from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.session import Session

from local_cloud.data_folder import DataFolder, DataFolderInUse
from local_cloud.database.dynoxide import Dynoxide, DynoxideError, find_binary
from local_cloud.database.time_to_live import sweep
from local_cloud.names import REGION
from local_cloud.pollers.stream_source import Changes, StreamReader, sequence_number, trim, watch
from tests.local_cloud.waiting import PATIENCE_S, until

TABLE = "murmuration-local-things"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    folder.open()
    yield folder
    folder.close()


@pytest.fixture(scope="module")
def database(folder):
    try:
        find_binary()
    except DynoxideError as error:
        pytest.skip(str(error))
    dynoxide = Dynoxide(folder)
    dynoxide.start()
    yield dynoxide
    dynoxide.stop()


@pytest.fixture(scope="module")
def client(database):
    found = Session().create_client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=database.url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    found.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    found.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    return found


@pytest.fixture
def reader(folder, client):
    reader = StreamReader(folder.database, TABLE)
    yield reader
    reader.close()


def latest(reader):
    records = reader.read(0, 10_000)
    return records[-1].position if records else 0


def put(client, key, **attributes):
    client.put_item(TableName=TABLE, Item={"pk": {"S": key}, "n": {"N": "-1"}, **attributes})


def test_stream_records_are_lambdas(client, reader):
    after = latest(reader)
    put(client, "a", data={"B": b"\x00\x01"})
    put(client, "a", data={"B": b"\x02"})
    client.delete_item(TableName=TABLE, Key={"pk": {"S": "a"}, "n": {"N": "-1"}})
    insert, modify, remove = (record.event for record in reader.read(after, 10))
    assert [event["eventName"] for event in (insert, modify, remove)] == ["INSERT", "MODIFY", "REMOVE"]
    assert insert["dynamodb"]["NewImage"]["data"] == {"B": "AAE="}
    assert "OldImage" not in insert["dynamodb"]
    assert modify["dynamodb"]["OldImage"]["data"] == {"B": "AAE="}
    assert remove["dynamodb"]["Keys"] == {"pk": {"S": "a"}, "n": {"N": "-1"}}
    assert "NewImage" not in remove["dynamodb"]
    assert insert["eventSourceARN"].startswith(
        f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}/stream/"
    )
    numbers = [event["dynamodb"]["SequenceNumber"] for event in (insert, modify, remove)]
    assert numbers == sorted(numbers)
    assert all(len(number) >= 21 for number in numbers)
    assert set(insert) == {
        "eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN",
    }  # fmt: skip


def test_a_rolled_back_transaction_leaves_no_record(client, reader):
    after = latest(reader)
    with pytest.raises(client.exceptions.TransactionCanceledException):
        client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "rolled back"}, "n": {"N": "1"}}}},
                {
                    "ConditionCheck": {
                        "TableName": TABLE,
                        "Key": {"pk": {"S": "none"}, "n": {"N": "1"}},
                        "ConditionExpression": "attribute_exists(pk)",
                    }
                },
            ]
        )
    assert reader.read(after, 10) == []


def test_reads_go_on_after_other_tables_records(client, folder, reader):
    other = StreamReader(folder.database, "murmuration-local-other")
    assert other.read(0, 10) == []
    put(client, "b")
    assert other.read(0, 10) == []
    assert reader.read(0, 10_000)
    other.close()


def test_positions_are_never_used_twice(client, folder, reader):
    for number in range(3):
        put(client, f"old-{number}")
    last = latest(reader)
    connection = sqlite3.connect(folder.database, timeout=PATIENCE_S)
    connection.execute("UPDATE _stream_records SET created_at = created_at - 90000 WHERE id <= ?", (last,))
    connection.commit()
    connection.close()
    assert trim(folder.database, last - 1) > 0
    put(client, "new")
    remaining = reader.read(0, 10)
    assert [record.position for record in remaining] == [last, last + 1]
    assert remaining[1].event["dynamodb"]["SequenceNumber"] == sequence_number(last + 1)


def test_writes_by_others_are_noticed(client, folder):
    changes, stop = Changes(), threading.Event()
    thread = threading.Thread(target=watch, args=(folder.database, changes, stop, 0.005))
    thread.start()
    try:
        seen = changes.wait(0, PATIENCE_S)
        put(client, "noticed")
        assert changes.wait(seen, PATIENCE_S) > seen
    finally:
        stop.set()
        thread.join(PATIENCE_S)


def test_expired_items_go_unless_given_more_time(client, folder):
    now = int(time.time())
    put(client, "expired", expires={"N": str(now - 5)})
    put(client, "alive", expires={"N": str(now + 1000)})
    put(client, "ancient", expires={"N": "1000"})
    put(client, "odd", expires={"S": "soon"})
    assert sweep(folder.database, client) == 1
    left = {item["pk"]["S"] for item in client.scan(TableName=TABLE)["Items"]}
    assert "expired" not in left
    assert {"alive", "ancient", "odd"} <= left


def test_the_stream_table_is_indexed(client, folder):
    connection = sqlite3.connect(folder.database)
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT MAX(CAST(sequence_number AS INTEGER)) FROM _stream_records"
        " WHERE table_name = ?",
        (TABLE,),
    ).fetchall()
    connection.close()
    assert "murmuration_stream" in plan[0][3]


def test_dynoxide_is_started_again_when_it_ends(database, client):
    put(client, "before")
    (first,) = processes(database.port)
    os.kill(first, signal.SIGKILL)
    until(lambda: processes(database.port) not in ([first], []))
    until(lambda: answers(client))
    item = client.get_item(TableName=TABLE, Key={"pk": {"S": "before"}, "n": {"N": "-1"}})
    assert "Item" in item


def processes(port):
    """Return the process IDs of the databases on a port, without their shells."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    lines = [line for line in listed.stdout.splitlines() if f"--port {port} " in line]
    return [int(line.split()[0]) for line in lines if "/bin/sh" not in line]


def answers(client):
    try:
        client.list_tables()
    except EndpointConnectionError:
        return False
    return True


def test_a_folder_has_one_server(folder):
    with pytest.raises(DataFolderInUse, match=r"Another server \(process \d+\) is using the data folder"):
        DataFolder(folder.path).open()
