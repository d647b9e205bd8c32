"""A Synapse in addition to our servers, configured to federate on this machine."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

_LOGGING = """\
version: 1
formatters: {plain: {format: "%(asctime)s %(levelname)s %(name)s %(message)s"}}
handlers: {file: {class: logging.FileHandler, filename: LOG, formatter: plain}}
root: {level: INFO, handlers: [file]}
disable_existing_loggers: false
"""


@dataclass(frozen=True, slots=True)
class Synapse:
    """A Synapse. `python` belongs to the environment in which it is installed; `folder` has all its data.

    `named_port` is the port in its server name. Another program listens there and forwards connections.
    """

    python: Path
    folder: Path
    port: int
    federation_port: int
    certificate: Path
    key: Path
    ca: Path
    named_port: int = 0
    presence: bool = False

    @property
    def server_name(self) -> str:
        return f"localhost:{self.named_port or self.federation_port}"

    @property
    def command(self) -> list[str]:
        """The command line that starts Synapse, once it is configured."""
        return [str(self.python), "-m", "synapse.app.homeserver", "-c", str(self.folder / "homeserver.yaml")]

    def configure(self) -> None:
        """Write its configuration (JSON is YAML) and, the first time, its signing key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        signing_key = self.folder / "signing.key"
        if not signing_key.exists():
            seed = _unpadded(secrets.token_bytes(32))
            signing_key.write_text(f"ed25519 a_{secrets.token_hex(2)} {seed}\n")
        log = self.folder / "log.yaml"
        log.write_text(_LOGGING.replace("LOG", json.dumps(str(self.folder / "homeserver.log"))))
        config = {
            "server_name": self.server_name,
            "public_baseurl": f"http://localhost:{self.port}/",
            "pid_file": str(self.folder / "homeserver.pid"),
            "listeners": [
                _listener(self.port, "client"),
                {**_listener(self.federation_port, "federation"), "tls": True},
            ],
            "tls_certificate_path": str(self.certificate),
            "tls_private_key_path": str(self.key),
            "federation_custom_ca_list": [str(self.ca)],
            "ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}},
            "log_config": str(log),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(signing_key),
            "macaroon_secret_key": "trials only",
            "registration_shared_secret": "trials only",
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "report_stats": False,
            "presence": {"enabled": self.presence},
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            **_without_limits(),
        }
        (self.folder / "homeserver.yaml").write_text(json.dumps(config, indent=1))


def _without_limits() -> dict[str, object]:
    """Return settings without rate limits, and with short waits before a failed server is tried again."""
    none = {"per_second": 10_000, "burst_count": 10_000}
    flat = ("rc_message", "rc_registration", "rc_admin_redaction", "rc_3pid_validation", "rc_joins_per_room")
    return {
        **dict.fromkeys(flat, none),
        "rc_login": {"address": none, "account": none, "failed_attempts": none},
        "rc_joins": {"local": none, "remote": none},
        "rc_presence": {"per_user": none},
        "rc_invites": {"per_room": none, "per_user": none, "per_issuer": none},
        "rc_federation": {
            "window_size": 1000,
            "sleep_limit": 10_000,
            "reject_limit": 10_000,
            "concurrent": 50,
        },
        "bcrypt_rounds": 4,
        "federation": {
            "destination_min_retry_interval": "2s",
            "destination_retry_multiplier": 1,
            "destination_max_retry_interval": "5s",
        },
    }


def _listener(port: int, resource: str) -> dict[str, object]:
    return {
        "port": port,
        "type": "http",
        "bind_addresses": ["127.0.0.1"],
        "resources": [{"names": [resource], "compress": False}],
    }


def _unpadded(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode().rstrip("=")
