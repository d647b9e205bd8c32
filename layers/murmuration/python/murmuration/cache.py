"""A bounded cache for a warm process, for values that never change or whose key contains their version."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """A cache whose entries' sizes add up to at most `size`. Thread-safe.

    The least recently used entry is dropped first. An entry has size 1 unless `put` is told otherwise. An
    entry larger than half of the cache isn't kept.
    """

    def __init__(self, size: int) -> None:
        self._left = self._size = size
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: K, value: V, size: int = 1) -> None:
        if size > max(1, self._size // 2):
            return
        with self._lock:
            if key in self._entries:
                self._left += self._entries.pop(key)[1]
            self._entries[key] = (value, size)
            self._left -= size
            while self._left < 0:
                self._left += self._entries.popitem(last=False)[1][1]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._left = self._size
