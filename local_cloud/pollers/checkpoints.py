"""The position up to which each stream function has read, stored across restarts."""

from __future__ import annotations

from local_cloud.store import Store


class Checkpoints:
    """The position of each mapping, up to which everything is done. New mappings start at the trim horizon,
    0.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, mapping: str) -> int:
        row = self._store.row("SELECT position FROM checkpoints WHERE mapping = ?", (mapping,))
        return int(row[0]) if row else 0

    def save(self, mapping: str, position: int) -> None:
        self._store.write("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (mapping, position))
