"""What the modules of the server-server API may do."""

from __future__ import annotations

from collections.abc import Mapping

from infra_cdk.grants.grant import Grant

GRANTS: Mapping[str, Grant] = {
    "server_server.keys": Grant(
        secrets={"signing-key": "get", "viewer-secret": "get"},
        tables={
            "destinations": "delete get update",
            "remote-keys": "put query",
            "transient": "get put update",
        },
    ),
    "server_server.version": Grant(),
    "server_server.well_known": Grant(),
}
