"""The text forms of /sync's tokens: a row's name, and what follows it in marks and calls.

s_<row> is a plain token; p_<row>.<slot>.<queue>.<fingerprint>.<until>.<keys>.<seen> is a mark;
c_<row>.<slot>.<queue> is a call. `sync.marks` says what the parts mean. CloudFront's viewer function has the
form of marks in its own language: a test compares it with MARK.
"""

from __future__ import annotations

import re

PLAIN, MARKED, CALLED = "s_", "p_", "c_"
ROW = r"[\w-]{8,32}"
SLOT = r"p\d"
QUEUE = r"[0-9a-f]{32}"
FINGERPRINT = r"[0-9a-f]{12}"
UNTIL = r"\d{10}"
KEYS = r"[\w-]*"
SEEN = r"\d{13}"

MARK = rf"({MARKED}({ROW}\.{SLOT}\.({QUEUE}))\.({FINGERPRINT})\.({UNTIL})\.({KEYS}))\.({SEEN})"
"""A whole mark.

Its groups: all but `seen`; the part that a call keeps; queue; fingerprint; until; keys; seen."""
ANY = re.compile(rf"(?:s_(?P<plain>{ROW})|[cp]_(?P<marked>{ROW})(?:\.{KEYS}){{0,8}})", re.ASCII)
"""A token of any form. What follows the row isn't checked."""
PLACE = re.compile(rf"[cp]_{ROW}\.({SLOT})\.({QUEUE})(?:\.{KEYS})*", re.ASCII)
"""A mark or a call, with the slot and the queue."""
