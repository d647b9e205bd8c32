"""A function may do what its role allows, in every thread of it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local_cloud.permissions import acting_for, module_of
from murmuration.aws import concurrency, dynamodb
from murmuration.aws.calls import ServiceError
from murmuration.endpoint import discover
from tests.in_process import Client, segment

V3 = "/_matrix/client/v3"
KEY = {"user_id": "@nobody:example.org", "sk": "account"}
pytestmark = pytest.mark.usefixtures("deployment")


def read_users() -> object:
    return dynamodb.get("users", KEY)


def read_keys() -> object:
    return dynamodb.get("keys", {"user_id": "@nobody:example.org", "sk": "x"})


def test_what_the_role_allows_is_done_and_nothing_else() -> None:
    with acting_for("client_server.tags"):
        read_users()
        with pytest.raises(
            ServiceError, match=r"for get on tables keys; grant it in infra_shared/grants/client_server\.py"
        ):
            read_keys()
    read_keys()


def test_threads_act_for_the_same_function() -> None:
    with acting_for("client_server.tags"), pytest.raises(ServiceError, match="AccessDenied"):
        concurrency.parallel(read_users, read_keys)


def test_a_transaction_needs_permission_for_each_part() -> None:
    writes = [dynamodb.delete("users", KEY), dynamodb.delete("events", {"event_id": "$x"})]
    with acting_for("client_server.account"), pytest.raises(ServiceError, match="AccessDenied"):
        dynamodb.transact(writes)


def test_a_function_that_nobody_granted_anything_may_do_nothing() -> None:
    with acting_for("client_server.brand_new"), pytest.raises(ServiceError, match="AccessDenied"):
        read_users()


def test_each_function_acts_for_its_module() -> None:
    assert all(module_of(function.handler) == function.group for function in discover())
    assert module_of(len) is None


def test_a_request_acts_for_its_function(
    make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration import account_data

    monkeypatch.setattr(account_data, "get_account_data", lambda *_: read_keys())
    alice = make_client("alice")
    path = f"/_matrix/client/v3/user/{alice.user_id}/account_data/m.direct"
    assert alice.get(path).status == 500


def test_relations_and_threads_go_on_from_a_token_of_sync(make_client: Callable[..., Client]) -> None:
    alice = make_client("alice")
    room = segment(alice.post(f"{V3}/createRoom").json["room_id"])
    content = {"msgtype": "m.text", "body": "hello"}
    event_id = alice.put(f"{V3}/rooms/{room}/send/m.room.message/1", content).json["event_id"]
    token = alice.get(f"{V3}/sync").json["next_batch"]
    for path in (f"relations/{segment(event_id)}", "threads"):
        answer = alice.get(f"/_matrix/client/v1/rooms/{room}/{path}", **{"from": token})
        assert (answer.status, answer.json["chunk"]) == (200, [])
