"""Requests and answers held to the OpenAPI files of the specification, where MATRIX_SPEC names its folder.

An answer's status must be one that its operation names, or an error that any endpoint may give; its JSON must
keep the schema of that status, the standard error's where there is none. A request that was accepted must
keep its schema too. Without MATRIX_SPEC nothing is checked.
https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urljoin, urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

VARIABLE = "MATRIX_SPEC"
METHODS = ("get", "put", "post", "delete")
RANGE_STATUSES = (206, 416)
COMMON_ERRORS = frozenset((400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504))
"""What any endpoint may answer, whether or not its operation names it."""

_FORMATS = {
    "mx-user-id": r"@[^:]+:.+",
    "mx-event-id": r"\$.+",
    "mx-room-id": r"!.+",
    "mx-room-alias": r"#[^:]+:.+",
    "mx-server-name": r"[0-9A-Za-z.:\[\]-]+",
    "mx-mxc-uri": r"mxc://[^/]+/[A-Za-z0-9_-]+",
    "mx-unpadded-base64": r"[A-Za-z0-9+/]*",
    "mx-urlsafe-unpadded-base64": r"[A-Za-z0-9_-]*",
    "uri": r"[A-Za-z][A-Za-z0-9+.-]*:\S*",
    "email": r"\S+@\S+",
}

# The specification says "one of" where several fit: a piece of state is an event or "an object".
_Validator: Any = extend(Draft202012Validator, {"oneOf": Draft202012Validator.VALIDATORS["anyOf"]})


@dataclass(frozen=True)
class Exchange:
    """A request and its answer; `path` is percent-encoded, with or without a query."""

    method: str
    path: str
    request_body: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Operation:
    """An operation of the specification; `location` is where it stands, as a URI with a JSON pointer."""

    pattern: re.Pattern[str]
    method: str
    location: str
    description: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.description["operationId"])


class Specification:
    """The client-server and server-server operations below a folder `data/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
        self._operations = sorted(self._load(), key=lambda entry: entry[0])
        self._validators: dict[str, Draft202012Validator] = {}

    def _load(self) -> Iterator[tuple[list[bool], Operation]]:
        folders = (self._folder / "data/api" / api for api in ("client-server", "server-server"))
        for file in (file for folder in folders for file in sorted(folder.glob("*.yaml"))):
            document = _read(file)
            base = document["servers"][0]["variables"]["basePath"]["default"]
            for path, methods in document["paths"].items():
                parts = f"{base}{path.strip()}".split("/")  # a space tells two operations of a path apart
                rank = [part.startswith("{") for part in parts]
                for method in METHODS:
                    if method in methods:
                        location = f"{file.as_uri()}#/paths/{_escape(path)}/{method}"
                        yield rank, Operation(_pattern(parts), method, location, methods[method])

    @property
    def operations(self) -> list[Operation]:
        return [operation for _, operation in self._operations]

    def find(self, method: str, path: str) -> list[Operation]:
        """Return the operations that serve a request: those with the most literal path, which several may
        share.
        """
        path = urlsplit(path).path
        found = [
            (rank, operation)
            for rank, operation in self._operations
            if operation.method == method.lower() and operation.pattern.fullmatch(path)
        ]
        return [operation for rank, operation in found if rank == found[0][0]]

    def violations(self, exchange: Exchange) -> list[str]:
        """Return a sentence for each violation of an exchange; nothing for an unknown endpoint.

        If the request was refused, only the answer is checked.
        """
        if _is_scheduling(exchange):
            return []
        operations = self.find(exchange.method, exchange.path)
        return min((self.violations_of(operation, exchange) for operation in operations), key=len, default=[])

    def violations_of(self, operation: Operation, exchange: Exchange) -> list[str]:
        """Return the violations of an exchange, as one of `operation`."""
        found = [f"{operation.name}'s answer: {problem}" for problem in self._of_answer(operation, exchange)]
        if exchange.status < 300:
            problems = self._of_request(operation, exchange)
            found += [f"{operation.name}'s request: {problem}" for problem in problems]
        return found

    def request_schema(self, operation: Operation) -> Any:
        """Return the schema of an operation's JSON body, with references replaced; None without one."""
        described = operation.description.get("requestBody", {})
        location, described = self._resolve(operation.location, described)
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        return None if schema is None else self._expand(location, schema, 8)

    def _expand(self, location: str, schema: Any, depth: int) -> Any:
        """Return `schema`, from the file of `location`, with references replaced to a certain depth."""
        if isinstance(schema, list):
            return [self._expand(location, element, depth) for element in schema]
        if not isinstance(schema, dict) or not depth:
            return schema
        if isinstance(schema.get("$ref"), str):
            location, schema = self._resolve(location, schema)
            return self._expand(location, schema, depth - 1)
        expanded = {name: self._expand(location, value, depth) for name, value in schema.items()}
        for part in expanded.pop("allOf", ()):
            properties = {**part.get("properties", {}), **expanded.get("properties", {})}
            required = [*part.get("required", ()), *expanded.get("required", ())]
            expanded = {**part, **expanded, "properties": properties, "required": required}
        return expanded

    def _of_answer(self, operation: Operation, exchange: Exchange) -> Iterator[str]:
        # HTTP's answers to a request for a part of a file, whichever file that is.
        is_range = exchange.status in RANGE_STATUSES and "content-range" in map(str.lower, exchange.headers)
        status = "200" if is_range and exchange.status == 206 else str(exchange.status)
        responses = operation.description["responses"]
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        is_known = exchange.status == 304 and "etag" in headers  # to a client that has the file
        if headers.get("access-control-allow-origin") != "*":
            yield "it lacks the CORS headers"
        # Its text lets people choose an identity provider on a page, and encourages pages about errors.
        is_page = operation.name in ("redirectToSSO", "redirectToIdP") and headers.get(
            "content-type", ""
        ).startswith("text/html")
        if (
            status not in responses
            and exchange.status not in COMMON_ERRORS
            and not (is_page or is_range or is_known)
        ):
            yield f"status {status} is none of {', '.join(responses)}"
        location, described = self._resolve(
            f"{operation.location}/responses/{status}", responses.get(status, {})
        )
        for name, header in described.get("headers", {}).items():
            if header.get("required") and name.lower() not in headers:
                yield f"it lacks the header {name}"
        schema = self._schema(location, described, exchange)
        picks_fields = '"event_fields"' in unquote_plus(urlsplit(exchange.path).query)
        # Clients take an empty object for "no TURN server"; the schema has no word for it.
        no_turn_server = operation.location.find("voip.yaml") >= 0 and exchange.body == b"{}"
        if schema is not None and not picks_fields and not no_turn_server and not is_page:
            media_type = headers.get("content-type", "").partition(";")[0]
            if media_type != "application/json":
                yield f"its Content-Type is {media_type!r}"
            body = exchange.body if exchange.status >= 300 else _of_rooms(operation, exchange.body)
            yield from self._of_json(schema, body)

    def _resolve(self, location: str, described: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        if "$ref" not in described:
            return location, described
        resolved = self._registry.resolver(location.partition("#")[0]).lookup(described["$ref"])
        return urljoin(location, described["$ref"]), resolved.contents

    def _schema(self, location: str, described: Mapping[str, Any], exchange: Exchange) -> str | None:
        """Return the place of the schema of an answer's JSON; None for an answer that isn't JSON."""
        definitions = self._folder / "data/api/client-server/definitions"
        if exchange.status == 401:
            # Each endpoint with interactive authentication also refuses bad access tokens.
            asks = b'"flows"' in exchange.body
            return (definitions / ("auth_response.yaml" if asks else "errors/error.yaml")).as_uri()
        if "application/json" in described.get("content", {}):
            return f"{location}/content/application~1json/schema"
        return (definitions / "errors/error.yaml").as_uri() if exchange.status >= 400 else None

    def _of_request(self, operation: Operation, exchange: Exchange) -> Iterator[str]:
        described = operation.description.get("requestBody")
        if described is None or "application/json" not in described.get("content", {}):
            return
        if not exchange.request_body and not described.get("required"):
            return
        location = f"{operation.location}/requestBody/content/application~1json/schema"
        yield from self._of_json(location, exchange.request_body)

    def _of_json(self, location: str, body: bytes) -> Iterator[str]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            yield f"it is not JSON: {body[:80]!r}"
            return
        validator = self._validators.get(location)
        if validator is None:
            validator = _Validator({"$ref": location}, registry=self._registry, format_checker=_checker())
            self._validators[location] = validator
        for error in validator.iter_errors(value):
            yield f"{error.json_path}: {error.message[:300]}"


@functools.cache
def _checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, pattern in _FORMATS.items():
        matches = re.compile(pattern, re.DOTALL).fullmatch
        checker.checks(name)(
            lambda value, matches=matches: not isinstance(value, str) or bool(matches(value))
        )
    return checker


def _is_scheduling(exchange: Exchange) -> bool:
    """Return whether an event was scheduled for later, which the specification doesn't have yet."""
    wanted = {name.rpartition(".")[2] for name, _ in parse_qsl(urlsplit(exchange.path).query)}
    return "delay" in wanted and exchange.status == 200


def _of_members(body: bytes) -> bytes:
    """Return the answer of /joined_members without unset fields. The schema has no null, which clients
    accept.
    """
    answer = json.loads(body)
    for user_id, profile in answer.get("joined", {}).items():
        answer["joined"][user_id] = {name: value for name, value in profile.items() if value is not None}
    return json.dumps(answer).encode()


def _of_rooms(operation: Operation, body: bytes) -> bytes:
    """Return the answer of /events without events that aren't in a room's history.

    The schema has no presence, typing and receipts, which have always been in this answer.
    """
    if operation.name == "getJoinedMembersByRoom":
        return _of_members(body)
    if operation.name != "getEvents":
        return body
    answer = json.loads(body)
    answer["chunk"] = [event for event in answer.get("chunk", ()) if "event_id" in event]
    return json.dumps(answer).encode()


def _pattern(parts: list[str]) -> re.Pattern[str]:
    """Return a pattern for a raw path. r0 is the old name of v3. An empty state key may be left out."""
    patterns = []
    for part in parts[1:]:
        if part == "v3":
            patterns.append("/(?:r0|v3)")
        elif part == "{stateKey}":
            patterns.append("(?:/[^/]*)?")
        else:
            patterns.append("/[^/]+" if part.startswith("{") else f"/{re.escape(part)}")
    return re.compile("".join(patterns) + "/?")


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


@functools.cache
def _read(file: Path) -> Any:
    return yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _retrieve(uri: str) -> Resource[Any]:
    return DRAFT202012.create_resource(_read(Path(urlsplit(uri).path)))


@functools.cache
def specification() -> Specification | None:
    """Return the specification that MATRIX_SPEC names, or None."""
    folder = os.environ.get(VARIABLE)
    return Specification(Path(folder)) if folder else None


def required() -> Specification:
    """Return the specification. Skip the test if there is none."""
    found = specification()
    if found is None:
        pytest.skip(f"{VARIABLE} names no folder with the specification's data/")
    return found


def check(exchange: Exchange, *, request: bool = True) -> None:
    """Raise AssertionError if an exchange violates the specification, if that is available.

    `request=False` is for tests of requests that a server may accept although they violate it.
    """
    found = specification()
    if found is None:
        return
    problems = found.violations(exchange)
    if not request:
        problems = [problem for problem in problems if "'s request: " not in problem]
    assert not problems, "\n".join([f"{exchange.method} {exchange.path} -> {exchange.status}", *problems])
