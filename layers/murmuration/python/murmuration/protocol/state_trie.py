"""Room state as an immutable hash trie: the map of (type, state key) to event ID at one point of a room.

The rules of the form, from which everything else follows:

- A key's *path* is a hash of it, written as a string of bits; a *region* is the set of keys whose paths
  share a prefix.
- A set of entries has a *rank*: 0 if it has at most 32 entries, 1 up to 32 * 64, 2 up to 32 * 64 * 64 and so
  on.
- A set of rank 0 is stored as one leaf. A set of a higher rank is stored as an inner node, whose children
  are the largest regions of a lower rank. So a leaf is rarely small, an inner node has about 64 children,
  and the number of levels is the rank plus one, whatever keys an adversary chooses.
- A node's ID is a hash of the room's ID and the node's content, which depends only on the entries.

So the same map always has the same root, whichever changes led to it (forks that resolve to the same state
share all nodes); a change writes one node for each level; and two nodes with the same ID needn't be compared.

The code is pure: reading takes a `Fetch` and calls it once for each level; writing returns the nodes to
store. A node never changes, so fetched nodes may be cached for ever.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import urlsafe_b64decode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from murmuration.protocol.encoding import unpadded_base64
from murmuration.protocol.identifiers import EventId, RoomId

StateKey: TypeAlias = tuple[str, str]
NodeId: TypeAlias = bytes
Fetch: TypeAlias = Callable[[Collection[NodeId]], Mapping[NodeId, bytes]]

EMPTY: NodeId = b""
"""The root of the empty map, for which no node is stored."""

LEAF_ENTRIES = 32
FAN_OUT = 64
# 160 bits: somebody who can choose keys and event IDs needs 2**80 hashes to find two maps with one ID.
_NODE_ID_BYTES = 20
# 128 bits are enough for paths: they only have to prevent that 33 keys share one.
_PATH_BYTES = 16


class MissingNodes(LookupError):
    """`fetch` didn't return all requested nodes: the trie is incomplete, or the read was stale."""

    def __init__(self, node_ids: Collection[NodeId]) -> None:
        super().__init__("no state trie nodes " + ", ".join(sorted(node_id.hex() for node_id in node_ids)))
        self.node_ids = node_ids


class _Entry(NamedTuple):
    prefix: str  # the whole path
    key: StateKey
    event_id: EventId
    size: int = 1


class _Subtree(NamedTuple):
    prefix: str  # of its region
    node_id: NodeId
    size: int


# A map in pieces: disjoint regions in path order, each a stored subtree or a single entry.
_Fragment: TypeAlias = _Entry | _Subtree
_Leaf: TypeAlias = dict[StateKey, EventId]
_Inner: TypeAlias = list[_Subtree]


# --- Writing


def build(room_id: RoomId, state: Mapping[StateKey, EventId]) -> tuple[NodeId, dict[NodeId, bytes]]:
    """Return the root of `state`, and its nodes."""
    return _store(room_id, _fragments_of(state), {}, _nothing)


def update(
    room_id: RoomId, root: NodeId, changes: Mapping[StateKey, EventId | None], fetch: Fetch
) -> tuple[NodeId, dict[NodeId, bytes]]:
    """Return the root of `root`'s map with `changes` (None deletes), and the nodes that it adds.

    Reads one level after another; more nodes only if deletions make nodes merge.
    """
    if not changes:
        return root, {}
    fragments, read = _open_paths(root, sorted(map(_path, changes)), fetch)
    kept = [piece for piece in fragments if not (isinstance(piece, _Entry) and piece.key in changes)]
    changed = {key: event_id for key, event_id in changes.items() if event_id is not None}
    return _store(room_id, kept + _fragments_of(changed), read, fetch)


def _store(
    room_id: RoomId, fragments: list[_Fragment], read: dict[NodeId, bytes], fetch: Fetch
) -> tuple[NodeId, dict[NodeId, bytes]]:
    """Return the root of the map made of `fragments`, and its nodes that aren't among `read`.

    A subtree that doesn't become one node is fetched and divided.
    """
    if not fragments:
        return EMPTY, {}
    while True:
        fragments.sort(key=_prefix)
        packing = _Packing(room_id)
        root, _ = packing.pack("", fragments)
        if not packing.to_open:
            return root, {node_id: node for node_id, node in packing.nodes.items() if node_id not in read}
        opened = _fetch_all(packing.to_open, fetch)
        read = {**read, **opened}
        fragments = [
            part
            for piece in fragments
            for part in (
                _parts(opened[piece.node_id])
                if isinstance(piece, _Subtree) and piece.node_id in opened
                else [piece]
            )
        ]


class _Packing:
    """One pass that turns fragments into nodes. If `to_open` isn't empty, it has to be repeated with these
    nodes opened.
    """

    def __init__(self, room_id: RoomId) -> None:
        self.room_id = room_id
        self.nodes: dict[NodeId, bytes] = {}
        self.to_open: set[NodeId] = set()

    def pack(self, prefix: str, fragments: Sequence[_Fragment]) -> tuple[NodeId, int]:
        """Return the ID and the number of entries of the node for the region `prefix`, made of
        `fragments`.
        """
        first = fragments[0]
        if len(fragments) == 1 and isinstance(first, _Subtree):
            return first.node_id, first.size
        count = _count(fragments)
        rank = _rank(count)
        subtrees = [piece for piece in fragments if isinstance(piece, _Subtree)]
        # A child of the same rank isn't kept: its children become this node's.
        if dissolved := {piece.node_id for piece in subtrees if _rank(piece.size) == rank}:
            self.to_open |= dissolved
            return EMPTY, count
        if rank == 0:
            leaf = {piece.key: piece.event_id for piece in fragments if isinstance(piece, _Entry)}
            return self._add(_leaf_content(leaf)), count
        children = [
            _Subtree(region, *self.pack(region, parts)) for region, parts in _regions(prefix, fragments, rank)
        ]
        return self._add(_inner_content(children)), count

    def _add(self, content: _Content) -> NodeId:
        node_id = _node_id(self.room_id, content)
        self.nodes[node_id] = _encode(content)
        return node_id


def _regions(
    prefix: str, fragments: Sequence[_Fragment], rank: int
) -> Iterator[tuple[str, Sequence[_Fragment]]]:
    """Yield the largest regions within `prefix` whose rank is lower than `rank`, with their fragments."""
    if _rank(_count(fragments)) < rank:
        yield prefix, fragments
        return
    middle = bisect_left(fragments, prefix + "1", key=_prefix)
    for bit, half in (("0", fragments[:middle]), ("1", fragments[middle:])):
        if half:
            yield from _regions(prefix + bit, half, rank)


def _open_paths(
    root: NodeId, paths: Sequence[str], fetch: Fetch
) -> tuple[list[_Fragment], dict[NodeId, bytes]]:
    """Open the nodes on the `paths` (sorted), and return the resulting fragments and the nodes read."""
    fragments: list[_Fragment] = []
    read: dict[NodeId, bytes] = {}
    level = {root: paths} if root != EMPTY else {}
    while level:
        nodes = _fetch_all(level, fetch)
        read |= nodes
        below: dict[NodeId, Sequence[str]] = {}
        for node_id, wanted in level.items():
            for part in _parts(nodes[node_id]):
                inside = wanted[bisect_left(wanted, part.prefix) : bisect_left(wanted, part.prefix + "2")]
                if isinstance(part, _Subtree) and inside:
                    below[part.node_id] = inside
                else:
                    fragments.append(part)
        level = below
    return fragments, read


# --- Reading


def get(root: NodeId, keys: Iterable[StateKey], fetch: Fetch) -> dict[StateKey, EventId]:
    """Return the event IDs of those of `keys` that the map has."""
    return get_many([(root, keys)], fetch)[0]


def get_many(
    queries: Sequence[tuple[NodeId, Iterable[StateKey]]], fetch: Fetch
) -> list[dict[StateKey, EventId]]:
    """Do `get` for several maps at once (of one room or several), with one fetch for each level of all of
    them.
    """
    found: list[dict[StateKey, EventId]] = [{} for _ in queries]
    # For each node: which query looks for which keys in it.
    level: dict[NodeId, list[tuple[int, StateKey, str]]] = {}
    for number, (root, keys) in enumerate(queries):
        if root != EMPTY:
            wanted = [(number, key, _path(key)) for key in keys]
            if wanted:
                level.setdefault(root, []).extend(wanted)
    while level:
        nodes = _fetch_all(level, fetch)
        below: dict[NodeId, list[tuple[int, StateKey, str]]] = {}
        for node_id, wanted in level.items():
            node = _decode(nodes[node_id])
            for query in wanted:
                number, key, path = query
                if isinstance(node, dict):
                    if key in node:
                        found[number][key] = node[key]
                elif child := _child_at(node, path):
                    below.setdefault(child.node_id, []).append(query)
        level = below
    return found


def _child_at(children: _Inner, path: str) -> _Subtree | None:
    position = bisect_right(children, path, key=_prefix) - 1
    if position >= 0 and path.startswith(children[position].prefix):
        return children[position]
    return None


def items(root: NodeId, fetch: Fetch) -> dict[StateKey, EventId]:
    """Return the whole map."""
    state: dict[StateKey, EventId] = {}
    level: Collection[NodeId] = {root} - {EMPTY}
    while level:
        below: list[NodeId] = []
        for data in _fetch_all(level, fetch).values():
            node = _decode(data)
            if isinstance(node, dict):
                state |= node
            else:
                below.extend(child.node_id for child in node)
        level = below
    return state


def count(root: NodeId, fetch: Fetch) -> int:
    """Return the number of the map's entries. Reads only the root."""
    return _count(_parts(_fetch_all([root], fetch)[root])) if root != EMPTY else 0


def diff(
    before: NodeId, after: NodeId, fetch: Fetch
) -> dict[StateKey, tuple[EventId | None, EventId | None]]:
    """Return the keys whose event differs, each with its event before and after. Skips subtrees that both
    share.
    """
    return {key: (old, new) for key, (old, new) in conflicts([before, after], fetch).items()}


def conflicts(roots: Sequence[NodeId], fetch: Fetch) -> dict[StateKey, tuple[EventId | None, ...]]:
    """Return the keys on which the maps differ, each with its event in each map, in the order of `roots`.

    Reads no subtree that all of them share.
    """
    entries: list[dict[StateKey, EventId]] = [{} for _ in roots]
    # For each map: the nodes that aren't opened yet, with their rank. A root's rank is known once it is open.
    unopened: list[dict[NodeId, int]] = [{root: 0} if root != EMPTY else {} for root in roots]
    while True:
        if unopened:
            for node_id in set(unopened[0]).intersection(*unopened[1:]):
                for nodes in unopened:
                    del nodes[node_id]
        # The highest rank first: a whole child in one map may be deeper in another.
        highest = max((rank for nodes in unopened for rank in nodes.values()), default=None)
        if highest is None:
            break
        level = {node_id for nodes in unopened for node_id, rank in nodes.items() if rank == highest}
        opened = {node_id: _decode(data) for node_id, data in _fetch_all(level, fetch).items()}
        for number, nodes in enumerate(unopened):
            for node_id in level & nodes.keys():
                del nodes[node_id]
                node = opened[node_id]
                if isinstance(node, dict):
                    entries[number].update(node)
                else:
                    nodes |= {child.node_id: _rank(child.size) for child in node}
    differing = {key for found in entries[1:] for key, _ in found.items() ^ entries[0].items()}
    return {key: tuple(found.get(key) for found in entries) for key in differing}


def needed(roots: Iterable[NodeId], nodes: Mapping[NodeId, bytes]) -> dict[NodeId, bytes]:
    """Return those of `nodes` that can be reached from `roots`. The other nodes that they refer to are stored
    already.
    """
    found: dict[NodeId, bytes] = {}
    pending = list(roots)
    while pending:
        node_id = pending.pop()
        if node_id in nodes and node_id not in found:
            found[node_id] = nodes[node_id]
            node = _decode(nodes[node_id])
            if not isinstance(node, dict):
                pending += (child.node_id for child in node)
    return found


def reachable(roots: Iterable[NodeId], fetch: Fetch) -> set[NodeId]:
    """Return the IDs of all nodes that `roots` need, for garbage collection. Reads only the roots and inner
    nodes.
    """
    level = set(roots) - {EMPTY}
    marked = set(level)
    while level:
        below: set[NodeId] = set()
        for data in _fetch_all(level, fetch).values():
            node = _decode(data)
            if not isinstance(node, dict):
                below |= {child.node_id for child in node if _rank(child.size) > 0} - marked
                marked |= {child.node_id for child in node}
        level = below
    return marked


# --- The form


def _path(key: StateKey) -> str:
    event_type, state_key = key
    text = f"{len(event_type)}:{event_type}{state_key}".encode("utf-8", "surrogatepass")
    digest = blake2b(text, digest_size=_PATH_BYTES, person=b"murmuration.path").digest()
    return f"{int.from_bytes(digest):0{8 * _PATH_BYTES}b}"


def _rank(count: int) -> int:
    rank = 0
    while count > LEAF_ENTRIES * FAN_OUT**rank:
        rank += 1
    return rank


def _count(fragments: Iterable[_Fragment]) -> int:
    return sum(piece.size for piece in fragments)


def _prefix(piece: _Fragment) -> str:
    return piece.prefix


def _fragments_of(state: Mapping[StateKey, EventId]) -> list[_Fragment]:
    return [_Entry(_path(key), key, event_id) for key, event_id in state.items()]


def _parts(data: bytes) -> list[_Fragment]:
    node = _decode(data)
    return _fragments_of(node) if isinstance(node, dict) else list(node)


def _nothing(_node_ids: Collection[NodeId]) -> Mapping[NodeId, bytes]:
    return {}


def _fetch_all(node_ids: Collection[NodeId], fetch: Fetch) -> dict[NodeId, bytes]:
    fetched = fetch(node_ids)
    if missing := [node_id for node_id in node_ids if node_id not in fetched]:
        raise MissingNodes(missing)
    return {node_id: fetched[node_id] for node_id in node_ids}


# --- The encoding: a byte for the kind, the deflated text (JSON), then the hashes, which don't compress.

_INNER = b"I"  # text: {prefix: number of entries}; hashes: the children's IDs
_LEAF = b"L"  # text: {type: [state key]}; hashes: the event IDs, decoded
_PLAIN_LEAF = b"P"  # text: {type: {state key: event ID}}, for rooms whose event IDs aren't URL-safe hashes
_EVENT_HASH_BYTES = 32
# The last character has four significant bits; if the others are set, decoding would lose them.
_HASHED_EVENT_ID = re.compile(r"\$[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

# Frequent parts of a leaf's text, the most frequent last. They belong to the stored form and can't change.
_DICTIONARY = (
    b'{"m.space.child":["m.space.parent":["m.room.third_party_invite":["m.room.server_acl":["m.room.pinned_events":["'
    b'm.room.canonical_alias":["m.room.avatar":["m.room.topic":["m.room.encryption":["m.room.name":["'
    b'm.room.guest_access":[""],"m.room.history_visibility":[""],"m.room.join_rules":[""],"m.room.create":[""],"'
    b'm.room.power_levels":[""],"m.room.member":["@:matrix.org","@'
)


class _Content(NamedTuple):
    kind: bytes
    text: bytes
    hashes: bytes


def _leaf_content(entries: _Leaf) -> _Content:
    in_order = sorted(entries.items())
    hashes = [_event_hash(event_id) for _, event_id in in_order]
    known = [digest for digest in hashes if digest is not None]
    if len(known) < len(hashes):
        with_ids: dict[str, dict[str, str]] = {}
        for (event_type, state_key), event_id in in_order:
            with_ids.setdefault(event_type, {})[state_key] = event_id
        return _Content(_PLAIN_LEAF, _json(with_ids), b"")
    keys: dict[str, list[str]] = {}
    for (event_type, state_key), _ in in_order:
        keys.setdefault(event_type, []).append(state_key)
    return _Content(_LEAF, _json(keys), b"".join(known))


def _inner_content(children: _Inner) -> _Content:
    counts = {child.prefix: child.size for child in children}
    return _Content(_INNER, _json(counts), b"".join(child.node_id for child in children))


def _node_id(room_id: RoomId, content: _Content) -> NodeId:
    """Return the hash of the text before compression, because the compressed form depends on the build of
    zlib.
    """
    room = room_id.encode("utf-8", "surrogatepass")
    message = b"%d:%b%b%d:%b%b" % (
        len(room),
        room,
        content.kind,
        len(content.text),
        content.text,
        content.hashes,
    )
    return blake2b(message, digest_size=_NODE_ID_BYTES, person=b"murmuration.node").digest()


def _encode(content: _Content) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_DICTIONARY)
    return content.kind + deflate.compress(content.text) + deflate.flush() + content.hashes


def _decode(data: bytes) -> _Leaf | _Inner:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_DICTIONARY)
    kind, text = data[:1], json.loads(inflate.decompress(data[1:]))
    hashes = inflate.unused_data
    if kind == _INNER:
        return [
            _Subtree(prefix, hashes[start : start + _NODE_ID_BYTES], count)
            for start, (prefix, count) in zip(
                range(0, len(hashes), _NODE_ID_BYTES), text.items(), strict=True
            )
        ]
    if kind == _LEAF:
        keys = [
            (event_type, state_key) for event_type, state_keys in text.items() for state_key in state_keys
        ]
        starts = range(0, len(hashes), _EVENT_HASH_BYTES)
        event_ids = [_event_id(hashes[start : start + _EVENT_HASH_BYTES]) for start in starts]
        return dict(zip(keys, event_ids, strict=True))
    if kind == _PLAIN_LEAF:
        return {
            (event_type, state_key): event_id
            for event_type, with_ids in text.items()
            for state_key, event_id in with_ids.items()
        }
    raise ValueError(f"unknown kind of state trie node: {kind!r}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _event_hash(event_id: EventId) -> bytes | None:
    """Return the hash in an event ID of room version 4 or later; None for another kind of ID."""
    return urlsafe_b64decode(event_id[1:] + "=") if _HASHED_EVENT_ID.fullmatch(event_id) else None


def _event_id(digest: bytes) -> EventId:
    return EventId("$" + unpadded_base64.encode_urlsafe(digest))
