"""What one module may do, in the words of `needs.ACTIONS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra_shared.needs import MAIL, OBJECTS, QUEUES, SECRETS, SOCKETS, TABLES, Need

Words = Mapping[str, str]
"""Words of ACTIONS with spaces between them, by the resource's name."""
ANSWERS: Words = {"answers/*": "put show"}
"""For functions whose answers may be too large: they store them, and sign paths that show them to clients."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one module may do."""

    tables: Words = field(default_factory=dict)
    queues: Words = field(default_factory=dict)
    objects: Words = field(default_factory=dict)
    secrets: Words = field(default_factory=dict)
    mail: Words = field(default_factory=dict)
    sockets: Words = field(default_factory=dict)

    def by_kind(self) -> Mapping[str, Words]:
        return {
            TABLES: self.tables,
            QUEUES: self.queues,
            OBJECTS: self.objects,
            SECRETS: self.secrets,
            MAIL: self.mail,
            SOCKETS: self.sockets,
        }

    def needs(self) -> set[Need]:
        """Each single permission."""
        return {
            Need(kind, resource, action)
            for kind, words in self.by_kind().items()
            for resource, actions in words.items()
            for action in actions.split()
        }
