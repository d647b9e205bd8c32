"""An identity provider: canaille, with its users in memory, in a process of its own.

`python -m tests.identity_provider PORT REDIRECT_URI…` serves it at http://localhost:PORT until it's ended.
Its users are alice, bob and carol; their passwords are in `PASSWORDS`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local_cloud.database.dynoxide import free_port

CLIENT_ID, CLIENT_SECRET = "murmuration", "the-secret-of-the-client"
PASSWORDS = {"alice": "in wonderland", "bob": "the builder", "carol": "a christmas"}


@dataclass(frozen=True)
class Provider:
    """Where it is."""

    issuer: str

    def setting(self, provider_id: str = "canaille", **more: object) -> dict[str, object]:
        """Return the provider's entry in a deployment's settings, without the secret."""
        named = {"id": provider_id, "name": provider_id.capitalize(), "issuer": self.issuer}
        return {**named, "client_id": CLIENT_ID, **more}

    def settings(self, *providers: dict[str, object]) -> str:
        return json.dumps(providers or [self.setting()])


@contextmanager
def identity_provider(*redirect_uris: str) -> Iterator[Provider]:
    """Start the provider, and end it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.identity_provider", str(port), *redirect_uris],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # it says so when it serves
        assert line.startswith("Serving"), "the identity provider did not start"
        yield Provider(f"http://localhost:{port}")
    finally:
        process.kill()
        process.wait()


def main() -> None:
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend
    from canaille.backends.memory.backend import MemoryBackend
    from joserfc.jwk import RSAKey
    from werkzeug.serving import make_server

    port, redirect_uris = int(sys.argv[1]), sys.argv[2:]
    find_any = MemoryBackend.do_query

    def find_all(self: MemoryBackend, model: Any, *args: Any, **wanted: Any) -> list[Any]:
        """Return entries that have all of the values wanted. Canaille's own function finds those that have
        any of them.
        """
        found = find_any(self, model, *args, **wanted)
        each = [{one.id for one in find_any(self, model, **{name: value})} for name, value in wanted.items()]
        return [one for one in found if all(one.id in ids for ids in each)]

    MemoryBackend.do_query = find_all
    app = create_app(
        {
            "SECRET_KEY": "only for tests",
            "SERVER_NAME": f"localhost:{port}",
            "PREFERRED_URL_SCHEME": "http",
            "SESSION_COOKIE_NAME": "canaille-session",
            "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False, "HTMX": False},
            "CANAILLE_OIDC": {
                "ACTIVE_JWKS": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)]
            },
        }
    )
    with app.app_context():
        for name, password in PASSWORDS.items():
            Backend.instance.save(
                models.User(
                    user_name=name,
                    display_name=name,
                    formatted_name=f"{name.capitalize()} of Canaille",
                    family_name="Canaille",
                    emails=[f"{name}@example.org"],
                    password=password,
                )
            )
        client = models.Client(
            client_id=CLIENT_ID,
            client_name="Murmuration",
            client_secret=CLIENT_SECRET,
            client_uri="https://example.org",
            contacts=["admin@example.org"],
            redirect_uris=redirect_uris,
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email"],
            token_endpoint_auth_method="client_secret_basic",
        )
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
    server = make_server("localhost", port, app, threaded=True)
    print("Serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
