"""The permissions of all functions: what each module may do to which resource.

Plain data, without the CDK. `policies` turns it into IAM policies; everything that isn't listed is refused.
The words for actions are those of `needs.ACTIONS`. Names are logical, an index is `table/index`, and a `*` at
the end of a name stands for any rest. `infra_cdk.reach` compares these permissions with what the code can
reach.

Permissions that follow from a function's route (reading its stream or queue, writing its log) are granted
with the event source and not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from infra_shared.grants import client_server, drafts, machinery, server_server
from infra_shared.grants.grant import ANSWERS, Grant
from infra_shared.needs import Need

__all__ = ["EDGE", "GRANTS", "Grant", "allows", "covers", "file_of"]

BUCKETS = "transient"
"""The table of the budgets: everything that a user can cause is charged to one of them."""
UNBILLED = (
    "workers.clock",
    "workers.closing",
    "workers.pushes",
    "workers.queues",
    "workers.schedules",
    "workers.sending",
)


EDGE = Grant(tables={BUCKETS: "update"}, secrets={"viewer-secret": "get"}, objects=ANSWERS)
"""The permissions of the code around a handler: billing, and answers that are too large for a function."""


def _billed(module: str, grant: Grant) -> Grant:
    """Return the grant with the permissions of rate limits: to write buckets, and to check that CloudFront
    sent a request.
    """
    if module in UNBILLED:
        return grant
    actions = {*grant.tables.get(BUCKETS, "").split(), "update"}
    secrets = {} if module.startswith(("websocket", "workers.")) else {"viewer-secret": "get"}
    return replace(
        grant,
        tables={**grant.tables, BUCKETS: " ".join(sorted(actions))},
        secrets={**grant.secrets, **secrets},
    )


GRANTS: Mapping[str, Grant] = {
    module: _billed(module, grant)
    for part in (client_server, server_server, drafts, machinery)
    for module, grant in part.GRANTS.items()
}
"""By the module's name."""


def file_of(module: str) -> str:
    """Return the file that has a module's permissions; for a module without any, the file to which to add
    them.
    """
    api = module.partition(".")[0]
    parts = (client_server, server_server, drafts, machinery)
    part = next(
        (each for each in parts if any(name.partition(".")[0] == api for name in each.GRANTS)), machinery
    )
    path = Path(str(part.__file__))
    return path.relative_to(path.parents[2]).as_posix()


def covers(granted: Need, wanted: Need) -> bool:
    """Return whether the permission `granted` is enough for `wanted`."""
    if (granted.kind, granted.action) != (wanted.kind, wanted.action):
        return False
    if granted.resource.endswith("*"):
        return wanted.resource.startswith(granted.resource[:-1])
    return granted.resource == wanted.resource


def allows(module: str, wanted: Need) -> bool:
    """Return whether a module, such as `client_server.rooms`, has a permission."""
    grant = GRANTS.get(module)
    return grant is not None and any(covers(granted, wanted) for granted in grant.needs())
