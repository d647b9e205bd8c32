"""The configuration of `murmuration serve`, by option or by environment variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Chaos = Literal["none", "twice", "pieces"]
Api = Literal["http", "rest"]
"""The kind of API Gateway's API in front of the functions."""
Waits = Literal["edge", "rest"]
"""How CloudFront reaches the queues of parked clients: directly, or through a REST API."""


@dataclass(frozen=True, slots=True)
class Limits:
    """API Gateway's and Lambda's quotas: bytes and seconds. Tests shrink them."""

    header_bytes: int = 10_240
    gateway_body_bytes: int = 10 * 1024 * 1024
    lambda_payload_bytes: int = 6 * 1024 * 1024
    integration_timeout: float = 29.0
    worker_timeout: float = 60.0
    socket_frame_bytes: int = 32 * 1024
    socket_message_bytes: int = 128 * 1024
    socket_idle: float = 600.0
    socket_lifetime: float = 7200.0
    concurrency: int = 1500
    connections: int = 10_000


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one local cloud. `functions` is the package that has the functions.

    With a `federation_port` it serves other servers there, over TLS with `tls_cert` and `tls_key`, and
    communicates with others; `ca` is a file of certificate authorities that it trusts besides the system's,
    and with `allow_loopback` other servers may be on this machine.

    `dynamodb` is the database: `dynoxide`, `moto` (in memory), or the URL of any DynamoDB.

    `parameters` are secrets to store in SSM at the start, by logical name; `variables` are further settings
    of the functions, by the names of their environment variables without the prefix.
    """

    host: str = "127.0.0.1"
    port: int = 8008
    server_name: str = ""
    data: Path = Path(".murmuration")
    registration: Literal["open", "closed", "token"] = "closed"
    rate_limits: bool = True
    waiting: Literal["held", "parked"] = "parked"
    waits: Waits = "edge"
    api: Api = "http"
    dynamodb: str = "dynoxide"
    functions: str = "functions"
    chaos: Chaos = "none"
    meter: bool = False
    federation_port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ca: Path | None = None
    allow_loopback: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """The URL at which clients reach the server."""
        return (
            f"http://{'localhost' if self.host in ('127.0.0.1', '0.0.0.0', '::') else self.host}:{self.port}"  # noqa: S104
        )

    @property
    def name(self) -> str:
        """The Matrix server name: the configured one, or the address that is served."""
        return self.server_name or f"localhost:{self.port}"
