"""The checks of `murmuration doctor`. They change nothing permanently."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from operators.operating import Server

TIMEOUT_S = 10
MOST_SKEW_S = 5.0
MOST_SERVERS = 10
MISSING_KEY = "there is none: put your copy back; without one `murmuration keys make` makes a new key"


class Standing(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    standing: Standing
    subject: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an HTTP request; `body` is None if it isn't a JSON object."""

    status: int
    body: dict[str, Any] | None
    date: str | None
    sent_at: float
    """The time in the middle of the request, in seconds since the Unix epoch."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers by lower-case name."""


class Unreachable(Exception):
    """There was no answer. The message says why."""


def checks(server: Server, url: str) -> Iterator[Finding]:
    """Perform all checks, each when the caller asks for the next finding."""
    if server.is_running:
        yield from _http_checks(server, url.rstrip("/"))
    else:
        yield Finding(Standing.SKIPPED, "requests", "no server is running on this data folder")
    for subject, check in (
        ("signing key", check_signing_key),
        ("tables", check_tables),
        ("queues", lambda: check_queues(server)),
        ("other servers", check_destinations),
        ("registration", check_registration),
    ):
        yield from _guarded(subject, check)


def fetch(url: str) -> Answer:
    """GET `url`. Raises Unreachable."""
    request = urllib.request.Request(url, headers={"User-Agent": "murmuration doctor"})  # noqa: S310
    started = time.time()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - the operator's URL
            status, headers, content = response.status, response.headers, response.read(1 << 20)
    except urllib.error.HTTPError as error:
        status, headers, content = error.code, error.headers, error.read(1 << 20)
    except (OSError, ValueError) as error:
        raise Unreachable(str(getattr(error, "reason", error))) from error
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    middle = (started + time.time()) / 2
    told = {name.lower(): value for name, value in headers.items()}
    return Answer(status, body if isinstance(body, dict) else None, headers.get("Date"), middle, told)


# -- Over HTTP -------------------------------------------------------------------------------------------


def _http_checks(server: Server, url: str) -> Iterator[Finding]:
    try:
        answer = fetch(f"{url}/_matrix/client/versions")
    except Unreachable as error:
        where = "" if server.folder else ". Does the domain's DNS point to the stack's output `Address`?"
        yield Finding(Standing.FAILED, "versions", f"{url} does not answer: {error}{where}")
        return
    from operators.probing import check_routes, check_waits

    yield check_versions(answer)
    yield check_clock(answer)
    for subject, check in (
        ("well-known for clients", lambda: check_wellknown_client(server, url)),
        ("well-known for servers", lambda: check_wellknown_server(server, url)),
        ("federation", lambda: check_federation(server, url)),
        ("routes", lambda: check_routes(server, url)),
        ("waits", lambda: check_waits(server, url)),
    ):
        yield from _guarded(subject, check)


def _guarded(subject: str, check: Callable[[], Finding | Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check. If nothing answers it, or AWS refuses it, that is a fault.

    The next check is then performed all the same.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from murmuration.aws.calls import ServiceError

    try:
        found = check()
        yield from (found,) if isinstance(found, Finding) else found
    except Unreachable as error:
        yield Finding(Standing.FAILED, subject, f"nobody answers: {error}")
    except (BotoCoreError, ClientError, ServiceError) as error:
        yield Finding(Standing.FAILED, subject, f"AWS: {error}")


def check_versions(answer: Answer) -> Finding:
    versions = (answer.body or {}).get("versions")
    if answer.status != 200 or not isinstance(versions, list) or not versions:
        return Finding(Standing.FAILED, "versions", f"the answer has status {answer.status} and no versions")
    return Finding(Standing.OK, "versions", f"speaks the client-server API up to {versions[-1]}")


def check_clock(answer: Answer) -> Finding:
    """Compare the clocks. An answer's `Date` has whole seconds, so half a second of difference is ignored."""
    if answer.date is None:
        return Finding(Standing.SKIPPED, "clock", "the answer has no Date")
    skew = parsedate_to_datetime(answer.date).timestamp() + 0.5 - answer.sent_at
    if abs(skew) > MOST_SKEW_S:
        return Finding(
            Standing.WARNING, "clock", f"the server's clock and this machine's differ by {skew:+.0f} s"
        )
    return Finding(Standing.OK, "clock", "agrees with this machine's")


def _name_url(server: Server, url: str) -> str:
    """Return the URL of the server name's own `.well-known`; for a name with a port, that of the server."""
    return url if ":" in server.server_name else f"https://{server.server_name}"


def check_wellknown_client(server: Server, url: str) -> Finding:
    """Check the well-known file by which clients find this server.
    https://spec.matrix.org/v1.19/client-server-api/#well-known-uris
    """
    subject = "well-known for clients"
    where = f"{_name_url(server, url)}/.well-known/matrix/client"
    answer = fetch(where)
    homeserver = (answer.body or {}).get("m.homeserver")
    base_url = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    if answer.status != 200 or not isinstance(base_url, str):
        return Finding(
            Standing.WARNING, subject, f"{where} has none: clients must be told {server.public_url}"
        )
    if base_url.rstrip("/") != server.public_url:
        return Finding(Standing.FAILED, subject, f"it names {base_url}, not {server.public_url}")
    return Finding(Standing.OK, subject, f"names {base_url}")


def check_wellknown_server(server: Server, url: str) -> Finding:
    """Check the well-known file by which other servers find this server.
    https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
    """
    subject = "well-known for servers"
    where = f"{_name_url(server, url)}/.well-known/matrix/server"
    from murmuration.settings import settings

    must = server.folder is None and settings().federation
    answer = fetch(where)
    delegated = _delegate(answer)
    if delegated is None:
        wrong = f"{where} has none: others look for port 8448"
        if must:
            return Finding(Standing.FAILED, subject, f"{wrong}, which isn't this server")
        return Finding(Standing.SKIPPED, subject, wrong)
    if must and not delegated.endswith(":443"):
        return Finding(Standing.FAILED, subject, f"it names {delegated}: it must name the port, 443")
    return Finding(Standing.OK, subject, f"names {delegated}")


def _delegate(answer: Answer) -> str | None:
    """Return the server name in a well-known file's answer; None if there is none."""
    delegated = (answer.body or {}).get("m.server")
    return delegated if answer.status == 200 and isinstance(delegated, str) else None


def _reached_at(server: Server, url: str) -> str:
    """Return the URL at which other servers reach this one, found from the server name as they do."""
    if server.folder is not None or ":" in server.server_name:
        return url
    delegated = _delegate(fetch(f"https://{server.server_name}/.well-known/matrix/server"))
    return f"https://{delegated}" if delegated is not None else url


def check_federation(server: Server, url: str) -> Finding:
    """Check that other servers find this one by its name, get its keys, and reach its federation API.

    The document must be signed with the keys that it lists, and have one of this server's. It may be some
    minutes old, so it may lack the newest key.
    https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
    """
    from murmuration.protocol.errors import MatrixError
    from murmuration.protocol.pdus.keys import parse_server_keys
    from murmuration.protocol.pdus.signing import InvalidSignature
    from murmuration.settings import settings

    subject = "federation"
    if not settings().federation:
        return Finding(Standing.SKIPPED, subject, "the server does not federate")
    reached = _reached_at(server, url)
    answer = fetch(f"{reached}/_matrix/key/v2/server")
    if answer.status != 200 or answer.body is None:
        return Finding(
            Standing.FAILED, subject, f"{reached} answers with status {answer.status} instead of the keys"
        )
    try:
        keys = parse_server_keys(answer.body, server.server_name, int(answer.sent_at * 1000))
    except (MatrixError, InvalidSignature) as error:
        return Finding(Standing.FAILED, subject, f"other servers refuse the keys of {reached}: {error}")
    ours = _own_keys()
    if ours and not any(key.public_key in ours for key in keys.verify_keys.values()):
        return Finding(Standing.FAILED, subject, f"{reached} publishes none of the keys that this server has")
    version = fetch(f"{reached}/_matrix/federation/v1/version")
    if version.status != 200 or not isinstance((version.body or {}).get("server"), dict):
        said = f"{reached} has the keys, but its federation API answers with status {version.status}"
        return Finding(Standing.FAILED, subject, said)
    return Finding(Standing.OK, subject, f"{reached} publishes {', '.join(keys.verify_keys)}")


def _own_keys() -> set[bytes]:
    """Return the current and former public keys of this server; none if they can't be read.

    `check_signing_key` reports why they can't be read.
    """
    from murmuration.server_keys import parse_signing_key

    try:
        return {parse_signing_key(line).public_key for line in _signing_key_lines() or ()}
    except ValueError:
        return set()


def _signing_key_lines() -> list[str] | None:
    """Return the lines of the parameter with the signing keys; None if it isn't there."""
    from murmuration.aws import parameters
    from murmuration.server_keys import PARAMETER
    from murmuration.settings import settings

    client = parameters.client()
    name = settings().parameter(PARAMETER)
    try:
        found = client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    except client.exceptions.ParameterNotFound:
        return None
    return str(found).splitlines()


# -- In AWS ----------------------------------------------------------------------------------------------


def check_signing_key() -> Finding:
    from murmuration.server_keys import PARAMETER, parse_signing_key
    from murmuration.settings import settings

    lines = _signing_key_lines()
    if lines is None:
        return Finding(Standing.FAILED, "signing key", MISSING_KEY)
    try:
        key = parse_signing_key(lines[0])
    except (ValueError, IndexError):
        name = settings().parameter(PARAMETER)
        return Finding(Standing.FAILED, "signing key", f"the parameter {name} is not a signing key")
    return Finding(Standing.OK, "signing key", f"{key.key_id}, {len(lines) - 1} former ones")


def check_tables() -> Iterator[Finding]:
    from murmuration.aws import dynamodb
    from murmuration.settings import settings
    from murmuration.storage.tables import TABLES

    client = dynamodb.client()
    fine = 0
    for table in TABLES:
        name = settings().table(table.name)
        try:
            found = client.describe_table(TableName=name)["Table"]
        except client.exceptions.ResourceNotFoundException:
            said = f"there is no {name}: see Restore in docs/deploying.md"
            yield Finding(Standing.FAILED, "tables", said)
            continue
        streams = found.get("StreamSpecification", {}).get("StreamEnabled", False)
        if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
            yield Finding(Standing.FAILED, "tables", f"{name} is {found['TableStatus']}")
        elif table.streams and not streams:
            yield Finding(
                Standing.FAILED, "tables", f"{name} has no stream, so waiting clients would never be woken"
            )
        else:
            fine += 1
    if fine == len(TABLES):
        yield Finding(Standing.OK, "tables", f"all {fine} are as they should be")


def check_queues(server: Server) -> Iterator[Finding]:
    """Check queues for waiting messages, and for dead letters: messages that failed too often."""
    from murmuration.aws import queues

    if server.folder is not None:
        yield Finding(Standing.SKIPPED, "queues", "a local server's are in its memory")
        return
    client = queues.client()
    urls = list(_queue_urls(client, server.prefix))
    waiting = 0
    for url in urls:
        name = url.rpartition("/")[2]
        wanted = ["ApproximateNumberOfMessages"]
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        count = int(attributes[wanted[0]])
        if "dead" in name and count:
            said = f"{count} in {name}: docs/runbook.md has what to do with them"
            yield Finding(Standing.FAILED, "dead letters", said)
        elif "dead" not in name:
            waiting += count
    yield Finding(Standing.OK, "queues", f"{len(urls)}, in which {waiting} messages wait")


def _queue_urls(client: Any, prefix: str) -> Iterator[str]:
    """Yield the URLs of the deployed queues, without those on which devices wait, which come and go."""
    for page in client.get_paginator("list_queues").paginate(QueueNamePrefix=f"{prefix}-"):
        yield from (url for url in page.get("QueueUrls", ()) if f"/{prefix}-wake-" not in url)


def check_destinations() -> Iterator[Finding]:
    """Check for other servers that don't answer. Some are always gone, so this is only a warning."""
    from murmuration.settings import settings
    from murmuration.storage.servers.standings import scan_standings

    subject = "other servers"
    if not settings().federation:
        yield Finding(Standing.SKIPPED, subject, "the server does not federate")
        return
    failing = sorted(
        (one for one in scan_standings() if one.failing_since_ms), key=lambda one: one.failing_since_ms
    )
    for one in failing[:MOST_SERVERS]:
        owed = f", owed events of {one.rooms_owed} rooms" if one.rooms_owed else ""
        days = (time.time() - one.failing_since_ms / 1000) / 86_400
        yield Finding(Standing.WARNING, subject, f"{one.server_name} has failed for {days:.1f} days{owed}")
    more = len(failing) - MOST_SERVERS
    if more > 0:
        yield Finding(Standing.WARNING, subject, f"and {more} more: `murmuration destinations list`")
    if not failing:
        yield Finding(Standing.OK, subject, "all servers that were asked answer")


def check_registration() -> Finding:
    from murmuration.settings import settings

    if settings().registration == "open":
        limited = "" if settings().rate_limits else ", and without rate limits"
        return Finding(Standing.WARNING, "registration", f"anyone may register an account{limited}")
    return Finding(Standing.OK, "registration", settings().registration)
