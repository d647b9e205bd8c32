"""The text forms of /sync's tokens: a row's name, and what follows it in marks and calls.

s_<row> is a plain token; p_<row>.<slot>.<queue>.<fingerprint>.<until>.<keys>.<seen> is a mark;
c_<row>.<slot>.<queue> is a call. `sync.marks` says what the parts mean. CloudFront's viewer function has the
form of marks in its own language: a test compares it with MARK.
"""

from __future__ import annotations

import re

PLAIN, MARKED, CALLED = "s_", "p_", "c_"
ROW = r"[\w-]{8,32}"
SLOT = r"p\d[\w-]{0,400}"
"""A slot, and what else is told of its registration (PLACE)."""
QUEUE = r"[0-9a-f]{32}"
FINGERPRINT = r"[0-9a-f]{12}"
UNTIL = r"\d{10}"
KEYS = r"[\w-]*"
SEEN = r"\d{13}"

MARK = rf"({MARKED}({ROW}\.{SLOT}\.({QUEUE}))\.({FINGERPRINT})\.({UNTIL})\.({KEYS}))\.({SEEN})"
"""A whole mark.

Its groups: all but `seen`; the part that a call keeps; queue; fingerprint; until; keys; seen."""
ANY = re.compile(rf"(?:s_(?P<plain>{ROW})|[cp]_(?P<marked>{ROW})(?:\.{KEYS}){{0,8}})", re.ASCII)
"""A token of any form; what stands behind the row isn't looked at."""
NONCE = r"[\w-]{12}"
LOOKED = r"[0-9a-f]{8}"
PLACE = re.compile(
    rf"[cp]_{ROW}\.(?P<slot>p\d)(?:(?P<nonce>{NONCE})(?P<looked>{LOOKED})(?P<next>p\d)?(?:-(?P<moves>[\w-]+))?)?\.(?P<queue>{QUEUE})(?:\.{KEYS})*",
    re.ASCII,
)
"""A mark or a call, with the slot and the queue. Unless the next look has to be one at everything, with the
registration's nonce, the time in seconds (hexadecimal) of the last such look, the next slot to take, and what
the client was shown since the row was written (`moves`)."""
