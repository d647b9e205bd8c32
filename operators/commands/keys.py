"""Show, create or rotate the server's signing key; fetch another server's keys.

A rotation keeps the former keys, because other servers need them to check earlier signatures. Running
functions use the key that they have until they end, so a former key counts as current for one more day.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from operators.operating import NotOperable, Server, operate
from operators.operating import add_arguments as add_server_arguments

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import ServerName


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text in (
        ("list", "Show the public keys."),
        ("make", "Create the signing key if there is none."),
        ("rotate", "Sign with a new key from now on."),
    ):
        add_server_arguments(actions.add_parser(name, help=help_text, description=help_text))
    help_text = "Ask another server for its keys, keep them, and show them."
    fetch = actions.add_parser("fetch", help=help_text, description=help_text)
    add_server_arguments(fetch)
    fetch.add_argument("server", metavar="SERVER", help="its name")


def run(args: argparse.Namespace) -> int:
    if args.action == "fetch":
        return operate(args, lambda _: _fetch(args.server))
    return operate(args, {"list": _list, "make": _make, "rotate": _rotate}[args.action])


def _fetch(server_name: ServerName) -> int:
    """Fetch another server's keys now, even if it was asked recently or failed, and show them."""
    from murmuration.federation.keys import fetching
    from murmuration.federation.requests.errors import RequestFailed
    from murmuration.protocol.encoding.unpadded_base64 import encode
    from murmuration.protocol.identifiers import is_valid_server_name
    from murmuration.storage.servers import destinations

    if not is_valid_server_name(server_name):
        raise NotOperable(f"{server_name} is not the name of a server.")
    destinations.clear(server_name)
    try:
        keys = fetching.fetch_from_origin(server_name)
    except RequestFailed as error:
        raise NotOperable(f"{server_name} doesn't answer with its keys: {error}") from error
    fetching.remember_asking([server_name], set(), {})
    for key in (stored.key for stored in keys):
        former = f"a former key, until {_time(key.expired_ts)}" if key.expired_ts is not None else ""
        current = f"valid until {_time(key.valid_until_ts or 0)}"
        print(f"{key.key_id}  {encode(key.public_key)}  {former or current}")
    return 0


def _time(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _list(_server: Server) -> int:
    text = _read()
    if text is None:
        raise NotOperable("There is no signing key: make one with `murmuration keys make`.")
    for line in text.splitlines():
        key = _parse(line)
        until = line.split()[3:]
        note = f"until {_time(int(until[0]))}" if until else "in use"
        print(f"{key.key_id}  {key.public_base64}  {note}")
    return 0


def _make(_server: Server) -> int:
    from murmuration.server_keys import new_line

    if _read() is not None:
        raise NotOperable("There is a signing key already; `murmuration keys rotate` makes another.")
    line = new_line()
    _write(line, overwrite=False)
    print(f"Signing with {_parse(line).key_id}")
    return 0


def _rotate(server: Server) -> int:
    from murmuration.clock import now_ms
    from murmuration.server_keys import new_line, rotated

    text = _read()
    if text is None:
        raise NotOperable("There is no signing key: make one with `murmuration keys make`.")
    line = new_line()
    _write(rotated(text, line, now_ms()), overwrite=True)
    print(f"Signing with {_parse(line).key_id}; the previous key stays valid for one more day")
    if server.folder is not None and server.is_running:
        print("The running server signs with the new key only after a restart.", file=sys.stderr)
    return 0


def _parse(line: str) -> Any:
    from murmuration.server_keys import parse_signing_key

    return parse_signing_key(line)


def _read() -> str | None:
    from murmuration.aws import parameters

    client = parameters.client()
    try:
        value: str = client.get_parameter(Name=_name(), WithDecryption=True)["Parameter"]["Value"]
    except client.exceptions.ParameterNotFound:
        return None
    return value


def _write(value: str, *, overwrite: bool) -> None:
    from murmuration.aws import parameters

    parameters.client().put_parameter(Name=_name(), Value=value, Type="SecureString", Overwrite=overwrite)


def _name() -> str:
    from murmuration.server_keys import PARAMETER
    from murmuration.settings import settings

    return settings().parameter(PARAMETER)
