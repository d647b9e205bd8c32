"""Marked places in a connection: everything that a client of sliding sync needs to wait without a function.

They are like the marks of /sync (`sync.marks`), with two differences. First, a quiet answer has more content:
the lists' counts, and the part about encryption that each answer has. Second, a mark is valid for one body
only, because an answer is. CloudFront's viewer function doesn't see the body, but its length, which is part
of the fingerprint. So a changed body of another length goes to the function at once. The mapping template
sees the body, and compares its digest with the mark's. If they differ, the template makes SQS refuse the
request, and the client is sent to the function.

Templates have no cryptographic hash. Their strings are Java's, whose `hashCode()` has 32 bits; the digest
consists of two of them, one of the body and one of a part of its characters. A client that makes a body with
another one's digest can only keep itself waiting.

If a request comes to the function although the viewer function should have parked it, or the template refused
it, the function holds it. So no client repeats its request in a fast loop, whatever goes wrong.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from murmuration.clock import now_ms
from murmuration.storage.live import token_forms, wake_queues
from murmuration.storage.live.listeners import KEYS_LETTER, Wait
from murmuration.storage.live.token_forms import CALLED_POS, MARKED_POS, PLAIN_POS, REFUSED_POS
from murmuration.sync import marks
from murmuration.sync.marks import LONGEST_ABSENCE_MS, SHORTEST_TIMEOUT_MS, Place, fingerprint

LETTERS = "qrs"
"""The prefixes of a connection's slots. Apps have three connections; further ones share slots. All slots of a
user's devices are in one item, which every ring reads."""
MOST_BYTES = 32_768
"""The maximum length of a body whose client is parked."""
MOST_QUIET = 1_200
"""The maximum length of a quiet answer, because it is part of each URI."""
WITHOUT = re.compile(r'"txn_id": *"[^"]*"')
"""The part that the digest leaves out: it differs in each request, and has no meaning."""
HALF = re.compile("[a-m0-4A-M]")
"""The characters that are left out of the second half of the digest."""
_SEPARATOR = "~"
_MARK = re.compile(token_forms.MARK, re.ASCII)


def _hash_code(text: str) -> int:
    """Return what Java's `String.hashCode()` returns for ASCII text."""
    code = 0
    for character in text.encode():
        code = (31 * code + character) & 0xFFFFFFFF
    return code - 2**32 if code >= 2**31 else code


def digest_of(text: str) -> str:
    """Return the digest of a body. The mapping template computes the same."""
    rest = WITHOUT.sub("", text)
    return f"{_hash_code(rest)}_{_hash_code(HALF.sub('', rest))}"


@dataclass(frozen=True)
class Asking:
    """The parts of a request on which its answer depends besides its `pos`: the body, and a fingerprint of
    the rest.
    """

    fingerprint: str
    body: bytes

    @classmethod
    def of(cls, values: Sequence[str], body: bytes, *, at_edge: bool) -> Asking:
        """Return these parts of a request. The length of its body is part of the fingerprint."""
        return cls(fingerprint([*values, str(len(body))], at_edge=at_edge), body)

    @functools.cached_property
    def digest(self) -> str:
        """The body's digest; empty if a client with this body can't be parked."""
        if len(self.body) > MOST_BYTES or not self.body.isascii():
            return ""
        return digest_of(self.body.decode())

    def should_wait(self, pos: str, timeout_ms: int) -> bool:
        """Return whether a request with this `pos` should have been parked before it came to this
        function.
        """
        found = _MARK.fullmatch(pos)
        if found is None or timeout_ms < SHORTEST_TIMEOUT_MS:
            return False
        now = now_ms()
        return (
            (found[5], found[8]) == (self.fingerprint, self.digest)
            and int(found[6]) > now // 1000
            and now - int(found[9]) <= LONGEST_ABSENCE_MS
        )


def place(pos: str | None) -> Place | None:
    """Return the place where a client was parked, as a mark, a call or a refusal names it; else None."""
    found = token_forms.POS_PLACE.fullmatch(pos or "")
    return Place(found[1], found[2]) if found is not None else None


def slot_letter(connection_number: int, *, of_keys: bool) -> str:
    """Return the prefix of a connection's slots. Fewer changes ring a wait that is only for keys."""
    return KEYS_LETTER if of_keys else LETTERS[connection_number % len(LETTERS)]


def is_call(pos: str | None) -> bool:
    return pos is not None and pos.startswith(CALLED_POS)


def is_refusal(pos: str | None) -> bool:
    return pos is not None and pos.startswith(REFUSED_POS)


def quiet(answer: Mapping[str, Any]) -> str:
    """Return the text of a quiet answer, without braces and `pos`; empty if it doesn't fit into a mark.

    The counts of keys are between two `~`: a called client doesn't get them, because they may have changed. A
    client that is told a smaller number of keys than it has would upload more.
    """
    extensions = dict(answer["extensions"])
    keys = extensions.pop("e2ee", None)
    texts = [_json(each)[1:-1] for each in ({name: answer[name] for name in ("lists", "rooms")}, extensions)]
    if _SEPARATOR in "".join(texts):
        return ""
    told = _json({"e2ee": keys})[1:-1] if keys is not None else ""
    comma = "," if told and texts[1] else ""
    text = f'{texts[0]},"extensions":{{{texts[1]}{_SEPARATOR}{comma}{told}{_SEPARATOR}}}'
    return text if len(text) <= MOST_QUIET and _SEPARATOR not in told else ""


def mark(pos: str, wait: Wait, asking: Asking, until_s: int, quiet_text: str) -> str:
    """Return the marked form of a plain `pos`."""
    fields = (
        MARKED_POS + pos.removeprefix(PLAIN_POS).replace(".", "", 2),
        wait.slot,
        wake_queues.id_of(wait.queue),
        asking.fingerprint,
        str(until_s),
        wake_queues.encode_text(quiet_text),
        asking.digest,
        str(now_ms()),
    )
    return ".".join(fields)


def called(marked: str, prefix: str = CALLED_POS) -> str:
    """Return the call that a mark becomes when its queue rings, or the refusal. API Gateway's mapping
    template makes the same text.
    """
    return marks.called(marked, prefix)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
