"""Prepares an operator's command to work on a deployed server, or on the data folder of a local one.

This process gets the same settings as the server's functions get from their environment, so that commands
call the same code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from murmuration.protocol.identifiers import ServerName, UserId

T = TypeVar("T")

PROBE = "client_server-sync"
"""A function that every deployment has. Its environment has the deployment's settings."""


NOT_ACCEPTED = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
)
"""The codes with which AWS's services refuse credentials that are wrong or too old."""


class NotOperable(Exception):
    """There is no server to work on. The message says why."""


@dataclass(frozen=True)
class Server:
    """The server that a command works on. `folder` is None for a deployed one."""

    prefix: str
    server_name: ServerName
    public_url: str
    folder: Path | None = None
    is_running: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the server for a command."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--data", type=Path, metavar="FOLDER", help="work on this data folder (./.murmuration)"
    )
    which.add_argument(
        "--prefix",
        help="work on the deployment with this prefix, murmuration-prod, with your AWS credentials",
    )


def add_action(
    actions: Any, name: str, help_text: str, do: Callable[[argparse.Namespace, Server], int]
) -> argparse.ArgumentParser:
    """Add an action to a command (`actions` is from `add_subparsers`); `do` runs it on the selected
    server.
    """
    action: argparse.ArgumentParser = actions.add_parser(name, help=help_text, description=help_text)
    add_arguments(action)
    action.set_defaults(do=do)
    return action


def run_action(args: argparse.Namespace) -> int:
    """Run the chosen action, as `operate` does."""
    return operate(args, lambda server: args.do(args, server))


def operate(args: argparse.Namespace, command: Callable[[Server], int]) -> int:
    """Run `command` on the server that `args` selects, and return the exit status.

    After an error, print a sentence and return 1 or 2.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from local_cloud.database.dynoxide import DynoxideError
    from murmuration.aws.calls import ServiceError
    from murmuration.protocol.errors import MatrixError
    from murmuration.settings import SettingsError

    try:
        with connected(args.data, args.prefix) as server:
            return command(server)
    except (NotOperable, DynoxideError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    except MatrixError as error:
        print(error, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, ServiceError) as error:
        print(aws_sentence(error), file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise  # whoever reads the output has seen enough
    except OSError as error:
        print(f"{error.filename or 'This machine'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except EOFError:
        print("There was no answer, so nothing was done.", file=sys.stderr)
        return 1


def aws_sentence(error: Exception) -> str:
    """Return a sentence on an error of AWS or its library, for the operator: what to do, where that is
    clear.
    """
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

    if isinstance(error, NoRegionError):
        return "Say which region the server is in: set AWS_REGION."
    if isinstance(error, NoCredentialsError):
        return "There are no AWS credentials: set AWS_PROFILE, or log in."
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else getattr(error, "code", "")
    if code in NOT_ACCEPTED:
        return f"AWS doesn't accept your credentials ({code}): log in again, or set AWS_PROFILE."
    return f"AWS: {error}"


@contextlib.contextmanager
def connected(data: Path | None, prefix: str | None) -> Iterator[Server]:
    """Prepare this process to work on a server until the block ends. Raises NotOperable."""
    from murmuration.endpoint.ports import connect_ports

    connect_ports()
    with _deployed(prefix) if prefix else _local((data or Path(".murmuration")).resolve()) as server:
        yield server


@contextlib.contextmanager
def _deployed(prefix: str) -> Iterator[Server]:
    before = {"AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION")}
    try:
        if region := os.environ.get("AWS_REGION"):
            # other AWS tools know both names, botocore only this one
            os.environ["AWS_DEFAULT_REGION"] = region
        variables = _settings_of(prefix)
        before |= {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        forget_clients()
        yield _server()
    finally:
        _restore(before)


def _settings_of(prefix: str) -> dict[str, str]:
    """Return the MURMURATION_ variables of the deployment's functions. Raises NotOperable."""
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError
    from botocore.session import Session

    try:
        client = Session().create_client("lambda")
        found = client.get_function_configuration(FunctionName=f"{prefix}-{PROBE}")
    except (NoRegionError, NoCredentialsError) as error:
        raise NotOperable(aws_sentence(error)) from None
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise NotOperable(
            f"There is no deployment with the prefix {prefix} in {client.meta.region_name}."
        ) from None
    variables = found.get("Environment", {}).get("Variables", {})
    return {name: value for name, value in variables.items() if name.startswith("MURMURATION_")}


@contextlib.contextmanager
def _local(path: Path) -> Iterator[Server]:
    from local_cloud import environment
    from local_cloud.aws import patch
    from local_cloud.aws.s3 import S3
    from local_cloud.aws.sqs import Sqs
    from local_cloud.aws.ssm import Ssm
    from local_cloud.data_folder import DataFolder
    from local_cloud.store import Store

    folder = DataFolder(path)
    if not folder.environment.exists():
        named = "name a deployment with --prefix, or a local server's folder with --data"
        raise NotOperable(f"No server has run in {path} yet: {named}.")
    variables: dict[str, str] = json.loads(folder.environment.read_text())
    with contextlib.ExitStack() as cleanup:
        url, is_running = _database(folder, cleanup)
        variables |= {name: url for name in variables if name.startswith("AWS_ENDPOINT_URL_DYNAMODB")}
        before = environment.enter(variables)
        cleanup.callback(_restore, before)
        store = Store(folder.store)
        cleanup.callback(store.close)
        services = patch.Services(
            {
                "ssm": Ssm(store).operations(),
                "s3": S3(store, folder.objects).operations(),
                "sqs": Sqs().operations(),
            }
        )
        patch.install(services)
        cleanup.callback(patch.uninstall, services)
        forget_clients()
        server = _server()
        yield Server(server.prefix, server.server_name, server.public_url, path, is_running)


def _database(folder: Any, cleanup: contextlib.ExitStack) -> tuple[str, bool]:
    """Return the URL of the folder's database, and whether a server is running on it."""
    from local_cloud.data_folder import DataFolderInUse
    from local_cloud.database.dynoxide import Dynoxide

    try:
        folder.open(patience=0.2)
    except DataFolderInUse as error:
        if not folder.database_url.exists():
            raise NotOperable(str(error)) from error
        return folder.database_url.read_text(), True
    cleanup.callback(folder.close)
    if not folder.database.exists() and folder.database_url.exists():
        return folder.database_url.read_text(), False
    dynoxide = Dynoxide(folder)
    cleanup.callback(dynoxide.stop)
    dynoxide.start()
    return dynoxide.url, False


def _server() -> Server:
    from murmuration.settings import settings

    found = settings()
    return Server(found.prefix, found.server_name, found.public_url)


def _restore(before: Mapping[str, str | None]) -> None:
    from local_cloud import environment

    environment.leave(before)
    forget_clients()


def forget_clients() -> None:
    """Forget settings, clients and secrets: they belong to one server, and another one may follow."""
    from murmuration import server_keys, settings
    from murmuration.aws import calls, dynamodb, parameters, queues
    from murmuration.aws import clients as aws

    for accessor in (
        settings.settings,
        aws.session,
        dynamodb.client,
        parameters.client,
        parameters.read_secret,
        queues.client,
        server_keys.signing_key,
        server_keys.derived_key,
    ):
        accessor.cache_clear()
    calls.forget()


def user_id_of(text: str, server: Server) -> UserId:
    """Return the user ID for `alice`, `@alice` or `@alice:example.org`. Raises NotOperable."""
    user_id = text if text.startswith("@") else f"@{text}"
    if ":" not in user_id:
        user_id = f"{user_id}:{server.server_name}"
    if user_id.partition(":")[2] != server.server_name:
        raise NotOperable(f"{user_id} is not a user of {server.server_name}.")
    return UserId(user_id)


def with_progress(things: Iterable[T], what: str) -> Iterator[T]:
    """Yield `things`, and show a growing count on the terminal, if there is one."""
    number = 0
    for number, thing in enumerate(things, 1):
        if sys.stderr.isatty() and number % 25 == 0:
            print(f"\r{number} {what} ...", end="", file=sys.stderr, flush=True)
        yield thing
    if sys.stderr.isatty() and number >= 25:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
