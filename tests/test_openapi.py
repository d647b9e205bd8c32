"""The checker finds each kind of violation: shown with a specification of two small files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.openapi import Exchange, Specification, required

THINGS = """
servers: [{variables: {basePath: {default: /_matrix/client/v3}}}]
paths:
  "/things/{thing}":
    put:
      operationId: setThing
      requestBody:
        required: true
        content: {application/json: {schema: {type: object, required: [size]}}}
      responses:
        "200":
          content: {application/json: {schema: {$ref: definitions/thing.yaml}}}
        "409":
          content: {application/json: {schema: {required: [errcode, error, rival]}}}
        "307": {$ref: "#/components/responses/moved"}
  "/things/all":
    put: {operationId: setAll, responses: {"200": {content: {}}}}
components:
  responses:
    moved: {headers: {Location: {required: true}}}
"""
THING = "{type: object, required: [owner], properties: {owner: {type: string, format: mx-user-id}}}"
ERROR = "{type: object, required: [errcode], properties: {errcode: {type: string}}}"
CORS = {"Access-Control-Allow-Origin": "*"}


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Specification:
    folder = tmp_path_factory.mktemp("spec")
    api = folder / "data/api/client-server"
    (api / "definitions/errors").mkdir(parents=True)
    (api / "things.yaml").write_text(THINGS)
    (api / "definitions/thing.yaml").write_text(THING)
    (api / "definitions/errors/error.yaml").write_text(ERROR)
    (api / "definitions/auth_response.yaml").write_text("{required: [flows, session]}")
    return Specification(folder)


def exchange(status: int = 200, answer: Any = None, **changed: Any) -> Exchange:
    fields: dict[str, Any] = {
        "method": "PUT",
        "path": "/_matrix/client/v3/things/one",
        "request_body": b'{"size": 3}',
        "status": status,
        "headers": {**CORS, "Content-Type": "application/json"},
        "body": json.dumps({"owner": "@a:b"} if answer is None else answer).encode(),
    }
    return Exchange(**(fields | changed))


@pytest.mark.parametrize(
    "fine",
    [
        exchange(),
        exchange(path="/_matrix/client/r0/things/one?query=1"),
        exchange(401, {"errcode": "M_UNKNOWN_TOKEN"}),
        exchange(401, {"flows": [], "session": "x"}),
        exchange(403, {"errcode": "M_FORBIDDEN"}, request_body=b"[]"),
        exchange(409, {"errcode": "M_X", "error": "x", "rival": 1}),
        exchange(307, headers={**CORS, "Location": "/"}),
        exchange(path="/_matrix/client/v3/things/all", body=b""),
        exchange(path="/_matrix/client/v3/things/one?filter=%7B%22event_fields%22%3A%5B%5D%7D", answer={}),
        exchange(path="/_matrix/client/unstable/things/one", body=b"not in the specification"),
    ],
)
def test_what_is_allowed(specification: Specification, fine: Exchange) -> None:
    assert specification.violations(fine) == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (exchange(answer={}), "setThing's answer: $: 'owner' is a required property"),
        (exchange(answer={"owner": "a"}), "setThing's answer: $.owner: 'a' is not a 'mx-user-id'"),
        (exchange(body=b""), "setThing's answer: it is not JSON: b''"),
        (exchange(headers=CORS), "setThing's answer: its Content-Type is ''"),
        (
            exchange(headers={"Content-Type": "application/json"}),
            "setThing's answer: it lacks the CORS headers",
        ),
        (exchange(201), "setThing's answer: status 201 is none of 200, 409, 307"),
        (exchange(307), "setThing's answer: it lacks the header Location"),
        (exchange(401, {"flows": []}), "setThing's answer: $: 'session' is a required property"),
        (exchange(404, {}), "setThing's answer: $: 'errcode' is a required property"),
        (
            exchange(409, {"errcode": "M_X", "error": "x"}),
            "setThing's answer: $: 'rival' is a required property",
        ),
        (exchange(request_body=b"{}"), "setThing's request: $: 'size' is a required property"),
        (exchange(request_body=b""), "setThing's request: it is not JSON: b''"),
    ],
)
def test_what_is_not(specification: Specification, wrong: Exchange, problem: str) -> None:
    assert specification.violations(wrong) == [problem]


def test_the_specification_itself() -> None:
    found = required()
    (operation,) = found.find("GET", "/_matrix/client/v3/sync?since=s1")
    assert operation.name == "sync"
    assert {one.name for one in found.find("POST", "/_matrix/client/v3/rooms/!r/invite")} == {
        "inviteUser",
        "inviteBy3PID",
    }
    (operation,) = found.find("PUT", "/_matrix/client/r0/rooms/!r/state/m.room.topic")
    assert operation.name == "setRoomStateWithKey"
    rooms = {"join": {"!r:example.org": {"timeline": {"events": [{"type": "m.room.message"}]}}}}
    headers = {**CORS, "Content-Type": "application/json"}
    body = json.dumps({"next_batch": "s1", "rooms": rooms}).encode()
    problems = found.violations(Exchange("GET", "/_matrix/client/v3/sync", b"", 200, headers, body))
    assert any("'event_id' is a required property" in problem for problem in problems)


def test_every_schema_can_be_resolved() -> None:
    found = required()
    for operation in found.operations:
        for status in operation.description["responses"]:
            headers = {**CORS, "Content-Type": "application/json"}
            tried = Exchange(operation.method, "/", b"{}", int(status), headers, b"{}")
            assert isinstance(found.violations_of(operation, tried), list)
