"""Serve the homeserver on this machine.

Everything that it stores is in the data folder and survives restarts, except queued messages, which are
created again from the database. Each option has an environment variable: MURMURATION_HOST, _PORT,
_SERVER_NAME, _DATA, _REGISTRATION, _RATE_LIMITS, _WAITING, _WAITS, _API, _DEFAULT_ROOM_VERSION, _MAIL_SENDER,
_LOGIN_FLOWS, _PROVIDERS, _FEDERATION_PORT, _TLS_CERT, _TLS_KEY, _CA, _ALLOW_LOOPBACK.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_cloud.config import Config

COLLECTED_AFTER = 20_000
"""After how many new objects Python's garbage collector runs. Its default is 700."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def option(name: str, default: str, help_text: str, choices: tuple[str, ...] | None = None) -> None:
        variable = f"MURMURATION_{name.upper().replace('-', '_')}"
        parser.add_argument(
            f"--{name}", default=os.environ.get(variable, default), choices=choices, help=help_text
        )

    option("host", "127.0.0.1", "the address to listen on (127.0.0.1)")
    option("port", "8008", "the port to listen on (8008)")
    option("server-name", "", "the Matrix server name (localhost:<port>)")
    option("data", ".murmuration", "the data folder (./.murmuration)")
    option("registration", "closed", "whether anyone may register (closed)", ("open", "closed", "token"))
    option("rate-limits", "on", "whether to limit request rates (on)", ("on", "off"))
    option("waiting", "parked", "whether a function holds each waiting client (parked)", ("held", "parked"))
    option("waits", "edge", "what stands between parked clients and their queues (edge)", ("edge", "rest"))
    option("api", "http", "the kind of API Gateway API to simulate (http)", ("http", "rest"))
    option("default-room-version", "", "the version of rooms whose creators name none (12)")
    option("dynamodb", "dynoxide", "dynoxide, moto (in memory), or a DynamoDB's URL (dynoxide)")
    option("mail-sender", "", "the sender of mail, which is written into the data folder (none)")
    option("login-flows", "", "the flows by which users log in, such as m.login.password,m.login.oauth2")
    option("providers", "", "a JSON file of identity providers, each with its client_secret (none)")
    option("functions", "functions", "the package of the functions (functions)")
    option("federation-port", "", "the port for other servers, over TLS (none: no federation)")
    option("tls-cert", "", "the file of the certificate for that port")
    option("tls-key", "", "the file of the certificate's key")
    option("ca", "", "a file of certificate authorities to trust, besides the system's (none)")
    parser.add_argument(
        "--allow-loopback",
        nargs="?",
        const="on",
        choices=("on", "off"),
        default=os.environ.get("MURMURATION_ALLOW_LOOPBACK", "off"),
        help="allow other servers on this machine, for trials (off)",
    )
    option(
        "chaos",
        "none",
        "how deliveries to workers are disturbed, for tests (none)",
        ("none", "twice", "pieces"),
    )
    option("meter", "off", "whether to count what AWS would bill, for `murmuration cost`", ("on", "off"))
    option("log", "warning", "what to log (warning)", ("debug", "info", "warning", "error"))


def run(args: argparse.Namespace) -> int:
    import logging

    from local_cloud.stopping import StopSignals

    started = time.monotonic()
    logging.basicConfig(
        level=args.log.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    repository = str(Path(__file__).resolve().parents[2])
    if repository not in sys.path:
        sys.path.append(repository)  # the folder that has `functions`
    stop = StopSignals()
    stop.install()

    from local_cloud.cloud import Cloud
    from local_cloud.data_folder import DataFolderInUse
    from local_cloud.database.dynoxide import DynoxideError
    from local_cloud.gateway.routes import RouteConflict
    from local_cloud.server import AddressInUse, WrongCertificate

    try:
        config = _config(args)
    except WrongOption as error:
        print(error, file=sys.stderr)
        return 2
    cloud = Cloud(config, say=_say)
    try:
        cloud.start()
    except (AddressInUse, DataFolderInUse, DynoxideError, RouteConflict, WrongCertificate) as error:
        print(error, file=sys.stderr)
        return 1
    _spare_collections()
    if not stop.came:
        seconds = time.monotonic() - started
        _say(
            f"Serving {config.name} at {config.url} after {seconds:.1f} s: "
            f"give a Matrix client the homeserver URL {config.url}. Ctrl-C stops it."
        )
    stop.wait()
    _say("Stopping")
    cloud.stop()
    sys.stdout.flush()
    # Functions that are waiting would delay the end of the process; whatever they have done is stored
    # already.
    os._exit(0)


class WrongOption(Exception):
    """An option has a value with which the server can't start. The message is a sentence about it."""


def _config(args: argparse.Namespace) -> Config:
    """Return the configuration that the options describe. Raises WrongOption."""
    from local_cloud.config import Config
    from murmuration.protocol.errors import UnsupportedRoomVersion
    from murmuration.protocol.room_versions import get_room_version
    from murmuration.settings import SettingsError

    if not args.port.isdecimal() or not 0 < int(args.port) < 65_536:
        raise WrongOption(f"--port is {args.port!r}; it must be a number from 1 to 65535.")
    if (problem := federation_problem(args) or database_problem(args.dynamodb)) is not None:
        raise WrongOption(problem)
    try:
        variables, parameters = logins(args.login_flows, args.providers, args.mail_sender)
        if args.default_room_version:
            get_room_version(args.default_room_version)
            variables["DEFAULT_ROOM_VERSION"] = args.default_room_version
    except (OSError, SettingsError, UnsupportedRoomVersion) as error:
        raise WrongOption(str(error)) from error
    return Config(
        host=args.host,
        port=int(args.port),
        server_name=args.server_name,
        data=Path(args.data).resolve(),
        registration=args.registration,
        rate_limits=args.rate_limits == "on",
        waiting=args.waiting,
        waits=args.waits,
        api=args.api,
        dynamodb=args.dynamodb,
        functions=args.functions,
        chaos=args.chaos,
        meter=args.meter == "on",
        federation_port=int(args.federation_port or 0),
        tls_cert=_path(args.tls_cert),
        tls_key=_path(args.tls_key),
        ca=_path(args.ca),
        allow_loopback=args.allow_loopback == "on",
        variables=variables,
        parameters=parameters,
    )


def _spare_collections() -> None:
    """Keep Python's garbage collector from searching hundreds of functions again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)


def federation_problem(args: argparse.Namespace) -> str | None:
    """Return a sentence about a mistake in the options for other servers; None if there is none."""
    port, cert, key = args.federation_port, args.tls_cert, args.tls_key
    if port and not (port.isdecimal() and 0 < int(port) < 65_536):
        return f"--federation-port is {port!r}; it must be a number from 1 to 65535."
    if bool(port) != bool(cert) or bool(port) != bool(key):
        return "--federation-port, --tls-cert and --tls-key go together: other servers speak TLS only."
    missing = [name for name in (cert, key, args.ca) if name and not Path(name).is_file()]
    return f"There is no file {missing[0]}." if missing else None


def database_problem(name: str) -> str | None:
    """Return a sentence about a mistake in the option for the database; None if there is none."""
    if name in ("dynoxide", "moto") or name.startswith(("http://", "https://")):
        return None
    return f"--dynamodb is {name!r}; it must be dynoxide, moto, or a URL that begins with http."


def _path(name: str) -> Path | None:
    return Path(name).resolve() if name else None


def logins(flows: str, providers: str, sender: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the functions' settings and secrets for logging in. Raises OSError, SettingsError.

    Local identity providers are allowed here: private addresses, and plain HTTP on the loopback.
    """
    import json

    from murmuration.accounts.sso.identity_providers import VARIABLE, read_providers
    from murmuration.settings import SettingsError

    given = {"LOGIN_FLOWS": flows, "MAIL_SENDER": sender}
    variables = {name: value for name, value in given.items() if value}
    if not providers:
        return variables, {}
    try:
        listed = json.loads(Path(providers).read_text(encoding="utf-8"))
        secrets = {f"identity-provider-{each['id']}": str(each.pop("client_secret")) for each in listed}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"{providers} must be a list of providers, each with id and client_secret"
        ) from error
    text = json.dumps(listed)
    read_providers(text)
    return {**variables, VARIABLE.removeprefix("MURMURATION_"): text, "SSO_PRIVATE_PROVIDERS": "on"}, secrets


def _say(line: str) -> None:
    print(line, flush=True)
