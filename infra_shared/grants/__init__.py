"""Which module of functions may do what to which resource: the whole of the functions' permissions.

Plain data, without the CDK. `policies` makes IAM policies of it, and what isn't here is refused. The words
are those of `needs.ACTIONS`; names are logical, an index is `table/index`, and a `*` at a name's end stands
for the rest of it. `infra_cdk.recording` measures what the tests use of it.

What follows from a function's route (reading its stream or queue, writing its log) is granted with the
event source and not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra_shared.grants import client_server, drafts, machinery, server_server
from infra_shared.grants.grant import Grant
from infra_shared.needs import Need

__all__ = ["GRANTS", "Grant", "allows", "covers", "file_of"]

GRANTS: Mapping[str, Grant] = {
    **client_server.GRANTS,
    **server_server.GRANTS,
    **drafts.GRANTS,
    **machinery.GRANTS,
}
"""By the module's name."""


def file_of(module: str) -> str:
    """The file of the repository in which a module's permissions are, or belong where it has none yet."""
    api = module.partition(".")[0]
    parts = (client_server, drafts, machinery)
    part = next(
        (each for each in parts if any(name.partition(".")[0] == api for name in each.GRANTS)), machinery
    )
    path = Path(str(part.__file__))
    return path.relative_to(path.parents[2]).as_posix()


def covers(granted: Need, wanted: Need) -> bool:
    """Whether the permission `granted` is enough for `wanted`."""
    if (granted.kind, granted.action) != (wanted.kind, wanted.action):
        return False
    if granted.resource.endswith("*"):
        return wanted.resource.startswith(granted.resource[:-1])
    return granted.resource == wanted.resource


def allows(module: str, wanted: Need) -> bool:
    """Whether a module, such as `client_server.rooms`, may do something."""
    grant = GRANTS.get(module)
    return grant is not None and any(covers(granted, wanted) for granted in grant.needs())
