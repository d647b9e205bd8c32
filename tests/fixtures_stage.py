"""The environment in which fixtures are recorded and replayed, with fixed randomness and time."""

from __future__ import annotations

import base64
import random
import secrets
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from local_cloud.data_folder import DataFolder
from local_cloud.database.dynoxide import Dynoxide
from replay.fixtures import FOLDER, WORLDS
from replay.stage import Stage

ROOT = Path(__file__).resolve().parents[1] / FOLDER
WORLDS_FOLDER = ROOT / WORLDS
SERVER_NAME = "example.org"


@contextmanager
def own_stage() -> Iterator[tuple[Stage, Path]]:
    """Yield a stage over a database of its own, and the database's file."""
    from replay.deployment import fixture_stage

    with tempfile.TemporaryDirectory() as folder, ExitStack() as cleanup:
        data = DataFolder(Path(folder))
        data.open()
        cleanup.callback(data.close)
        dynoxide = Dynoxide(data)
        dynoxide.start()
        cleanup.callback(dynoxide.stop)
        yield cleanup.enter_context(fixture_stage(dynoxide.url, data.objects)), data.database


@contextmanager
def fixed_randomness(seed: str) -> Iterator[None]:
    """Let `secrets` and `uuid.uuid4` return the same values each time, by `seed`.

    Both use their own sequences, since the number of request IDs that services draw depends on caches.
    """
    source, request_ids = random.Random(seed), random.Random(seed)

    def token_bytes(size: int | None = None) -> bytes:
        return source.randbytes(32 if size is None else size)

    def token_urlsafe(size: int | None = None) -> str:
        return base64.urlsafe_b64encode(token_bytes(size)).rstrip(b"=").decode()

    def uuid4() -> uuid.UUID:
        return uuid.UUID(bytes=request_ids.randbytes(16), version=4)

    with (
        mock.patch.object(secrets, "token_bytes", token_bytes),
        mock.patch.object(secrets, "token_hex", lambda size=None: token_bytes(size).hex()),
        mock.patch.object(secrets, "token_urlsafe", token_urlsafe),
        mock.patch.object(secrets, "choice", source.choice),
        mock.patch.object(secrets, "randbelow", source.randrange),
        mock.patch.object(uuid, "uuid4", uuid4),
    ):
        yield
