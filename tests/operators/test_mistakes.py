"""What operators type wrong: each command says in a sentence what to do, and shows no traceback."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from murmuration.protocol.identifiers import ServerName
from operators import operating
from operators.cli import main
from operators.operating import Server

REPOSITORY = Path(__file__).parents[2]
SERVER = Server("murmuration-test", ServerName("example.org"), "https://matrix.example.org")
EXPIRED = "AWS doesn't accept your credentials (ExpiredTokenException): log in again, or set AWS_PROFILE.\n"
RESTORE = ("restore", "--at", "2026-11-20T12:00:00Z", "--stage", "back")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("registration-tokens create --uses 0", "0 is no whole number from 1 on"),
        ("registration-tokens create --uses -1", "-1 is no whole number from 1 on"),
        ("registration-tokens create --uses many", "many is no whole number from 1 on"),
        ("registration-tokens create --uses 1e3", "1e3 is no whole number from 1 on"),
        ("registration-tokens create --days 0", "0 is no number of days: more than 0, up to 36,500"),
        ("registration-tokens create --days nan", "nan is no number of days: more than 0, up to 36,500"),
        ("registration-tokens create --days 1e9", "1e9 is no number of days: more than 0, up to 36,500"),
        ("registration-tokens create --days soon", "soon is no number, such as 2 or 0.5"),
        ("media list --user alice --limit 0", "0 is no whole number from 1 on"),
        ("cost --users few", "few is no number, such as 2 or 0.5"),
        ("cost --users -1", "it can't be negative or infinite"),
        ("cost --users inf", "it can't be negative or infinite"),
        ("doctor --url nonsense", "nonsense is no URL such as https://matrix.example.org"),
        ("doctor --url ftp://x", "ftp://x is no URL such as https://matrix.example.org"),
        ("doctor --url http://[x", "http://[x is no URL such as https://matrix.example.org"),
        ("doctor --url http://x:y", "http://x:y is no URL such as https://matrix.example.org"),
        ("restore --at yesterday --stage back", "yesterday is no time such as 2026-11-20T12:00:00Z"),
        ("restore --at 2026-11-20T12:00:00Z --stage A", "A is no stage: use up to 16 of a-z, 0-9 and -"),
    ],
)
def test_a_wrong_argument(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "GetFunction")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let everything that commands do on a server fail with an error."""

    def fail(error: Exception) -> None:
        @contextlib.contextmanager
        def connected(*_: Any) -> Any:
            raise error
            yield

        monkeypatch.setattr(operating, "connected", connected)

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoRegionError(), "Say which region the server is in: set AWS_REGION.\n"),
        (NoCredentialsError(), "There are no AWS credentials: set AWS_PROFILE, or log in.\n"),
        (ProfileNotFound(profile="x"), "AWS: The config profile (x) could not be found\n"),
        (refused("ExpiredTokenException"), EXPIRED),
        (
            refused("AccessDeniedException"),
            "AWS: An error occurred (AccessDeniedException) when calling the GetFunction operation: No.\n",
        ),
        (PermissionError(13, "Permission denied", "/root/out"), "/root/out: Permission denied\n"),
        (OSError(28, "No space left on device"), "This machine: No space left on device\n"),
        (EOFError(), "There was no answer, so nothing was done.\n"),
    ],
)
@pytest.mark.parametrize("words", ["users list", "media list --user alice", "doctor", "export somewhere"])
def test_what_stops_a_command_is_a_sentence(
    failing: Callable[[Exception], None],
    capsys: pytest.CaptureFixture[str],
    words: str,
    error: Exception,
    said: str,
) -> None:
    failing(error)
    assert main([*words.split(), "--prefix", "murmuration-prod"]) == 1
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NoRegionError(), 2, "Say which region the server is in: set AWS_REGION.\n"),
        (refused("ExpiredTokenException"), 1, f"{EXPIRED}Run the same command again to continue.\n"),
    ],
)
def test_a_restoration_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    said: str,
) -> None:
    from operators import account

    def make_client(_: str) -> Any:
        raise error

    monkeypatch.setattr(account, "make_client", make_client)
    assert main(RESTORE) == status
    assert capsys.readouterr().err == said


def test_nobody_answers_a_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As from cron, where the standard input is empty."""
    monkeypatch.setattr(operating, "connected", lambda *_: contextlib.nullcontext(SERVER))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for words in ("media remove mxc://example.org/a", "users deactivate alice", "room forget !a:example.org"):
        assert main(words.split()) == 1
        assert capsys.readouterr().err == "There was no answer, so nothing was done.\n"


def test_a_reader_that_has_seen_enough_stops_a_command() -> None:
    """`murmuration … | head -1` ends without a complaint."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "operators.cli", "cost", "--prices"],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    os.close(reader)
    os.close(writer)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, b"")
