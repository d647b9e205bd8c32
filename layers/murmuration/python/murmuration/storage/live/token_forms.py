"""The text forms of /sync's tokens and of sliding sync's `pos`: a row's name, and the parts after it.

    s_<row>                                                                  a plain token
    p_<row>.<slot>.<queue>.<fingerprint>.<until>.<quiet>.<seen>              a mark
    c_<row>.<slot>.<queue>                                                   a call
    h_<row>.<slot>.<queue>                                                   a held client's place

    l<number>.<row>.<nonce>                                                  a plain pos
    lp_<row>.<slot>.<queue>.<fingerprint>.<until>.<quiet>.<digest>.<seen>    a mark
    lc_<row>.<slot>.<queue>                                                  a call
    lr_<row>.<slot>.<queue>                                                  a refusal

In the marks of sliding sync the row is the connection's number, the row's number and the nonce, without dots.
`sync.marks` and `sliding_sync.marks` explain the other parts. CloudFront's viewer function has the pattern of
marks in its own language: a test compares it with MARK.
"""

from __future__ import annotations

import re

PLAIN, MARKED, CALLED, HELD = "s_", "p_", "c_", "h_"
PLAIN_POS, MARKED_POS, CALLED_POS, REFUSED_POS = "l", "lp_", "lc_", "lr_"
ROW = r"[\w-]{8,32}"
SLOT = r"[p-t]\d[\w-]{0,400}"
"""A slot and, in marks of /sync, further facts about its registration (PLACE)."""
QUEUE = r"[0-9a-f]{32}"
FINGERPRINT = r"[0-9a-f]{12}"
UNTIL = r"\d{10}"
QUIET = r"[\w-]*"
DIGEST = r"-?\d+_-?\d+"
SEEN = r"\d{13}"

MARK = (
    rf"((l?)p_({ROW}\.{SLOT}\.({QUEUE}))\.({FINGERPRINT})\.({UNTIL})\.({QUIET})(?:\.({DIGEST}))?)\.({SEEN})"
)
"""A whole mark. Its groups: everything but `seen`; "l" for sliding sync, else ""; the part that a call keeps;
queue; fingerprint; until; the text of a quiet answer; in sliding sync the digest of the body; seen."""
ANY = re.compile(rf"(?:s_(?P<plain>{ROW})|[chp]_(?P<marked>{ROW})(?:\.{QUIET}){{0,8}})", re.ASCII)
"""A token of any form. The parts after the row may be anything."""
NONCE = r"(?:(?<=p\d)[\w-]{12}|(?<=h\d)\d{14}[\w-]{8})"
"""The nonce of a registration, after its slot: of a parked client's, or of a held one's."""
LOOKED = r"[0-9a-f]{8}"
PLACE = re.compile(
    rf"(?:[cp]_{ROW}\.(?=p)|h_{ROW}\.(?=h))(?P<slot>\w\d)"
    rf"(?:(?P<nonce>{NONCE})(?P<looked>{LOOKED})(?P<next>p\d)?(?:-(?P<moves>[\w-]+))?)?"
    rf"\.(?P<queue>{QUEUE})(?:\.{QUIET})*",
    re.ASCII,
)
"""A mark, a call or a held client's place, with the slot and the queue. If the next look may be a narrow one,
it also has the registration's nonce, the time in seconds (hexadecimal) of the last look at everything, the
next slot to take, and the moves since the row was written (`moves`)."""
POS = re.compile(
    r"l(?P<number>\d)\.(?P<row>\d)\.(?P<nonce>[\w-]{12})"
    rf"|l[pcr]_(?P<number_2>\d)(?P<row_2>\d)(?P<nonce_2>[\w-]{{12}})(?:\.{QUIET}){{0,8}}",
    re.ASCII,
)
"""A pos of any form. The parts after the row may be anything."""
POS_PLACE = re.compile(rf"l[pcr]_[\w-]{{14}}\.([q-t]\d)\.({QUEUE})(?:\.{QUIET})*", re.ASCII)
"""A mark, a call or a refusal of sliding sync, with the slot and the queue."""
