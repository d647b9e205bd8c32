"""Attacks on others' requests (A), on passwords (B) and on the server's functions (C)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from local_cloud.testing import LocalCloud
from murmuration.identity.rate_limits import LIMITS
from tests.attack.figures import FUNCTIONS, GUESSES, SIZES, Figure
from tests.e2e.raw import PASSWORD, V3, Answer, Raw, register, segment

LARGEST_ANSWER = 6_000_000
"""What a function may answer."""
FAILED = LIMITS["failed_login_from"]
"""Guesses at a password whose answer says whether they were right: a burst, and what comes back meanwhile."""
HELD_ALLOWED = 10
"""A device's slots."""
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
WAIT_MS = 15_000
HELD_S = 14.5
"""Whoever isn't answered by then holds a function. Others are answered by then on a busy machine, too."""


def attack_answers(cloud: LocalCloud, *, events: int) -> list[Figure]:
    """Measure the answers about a room with large state to users who sync or read it.

    The room is made while nothing is limited, since a patient attacker can get around limits. Then limits are
    on.
    """
    alice, bob = register(cloud, "largealice"), register(cloud, "largebob")
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    room = segment(room_id)
    for number in range(events):
        body = json.dumps({"x": "x" * 58_000}).encode()
        answer = alice.request("PUT", f"{V3}/rooms/{room}/state/x.bomb/{number}", body)
        if answer.status != 200:
            break
    cloud.options["rate-limits"] = "on"
    cloud.restart()
    answers = [
        bob.again().request("GET", uri)
        for uri in (
            f"{V3}/sync",
            f"{V3}/rooms/{room}/state",
            f"{V3}/rooms/{room}/initialSync",
            f"{V3}/initialSync?limit=5",
            f"{V3}/rooms/{room}/messages?dir=b&limit=1000",
        )
    ]
    largest = max(len(answer.body) for answer in answers)
    failed = sum(answer.status >= 500 for answer in answers)
    return [
        Figure(SIZES, "the largest answer", largest, LARGEST_ANSWER, "bytes"),
        Figure(SIZES, "answers that failed on the server's side", failed, 0, "answers"),
    ]


def attack_passwords(cloud: LocalCloud, *, guesses: int) -> list[Figure]:
    """Try many passwords of one user at once, from one address. The last one is right."""
    register(cloud, "guessed")

    def guess(number: int) -> bool:
        identifier = {"type": "m.id.user", "user": "guessed"}
        password = PASSWORD if number == guesses - 1 else f"wrong {number}"
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return Raw(cloud).request("POST", f"{V3}/login", json.dumps(body).encode()).status in (200, 403)

    started = time.monotonic()
    with ThreadPoolExecutor(guesses) as pool:
        through = sum(pool.map(guess, range(guesses)))
    allowed = FAILED.burst + int((time.monotonic() - started) * FAILED.per_second)
    return [Figure(GUESSES, "guesses at once that were answered", through, allowed, "guesses")]


def attack_functions(cloud: LocalCloud, *, requests: int) -> list[Figure]:
    """Send requests that wait: with one token, and without a token."""
    alice = register(cloud, "waiting")
    since = alice.json("GET", f"{V3}/sync")["next_batch"]
    content = alice.json("POST", "/_matrix/media/v1/create")["content_uri"]
    media = content.removeprefix("mxc://")
    sync = f"{V3}/sync?since={since}&timeout={WAIT_MS}"
    place = alice.json("POST", SLIDING, {})["pos"]
    sliding = f"{SLIDING}?pos={segment(place)}&timeout={WAIT_MS}"
    download = f"/_matrix/media/v3/download/{media}?timeout_ms={WAIT_MS}"
    return [
        Figure(
            FUNCTIONS,
            "functions that one token's syncs held",
            held(requests, lambda: alice.again().request("GET", sync)),
            HELD_ALLOWED,
            "functions",
        ),
        Figure(
            FUNCTIONS,
            "functions that one token's sliding syncs held",
            held(requests, lambda: alice.again().request("POST", sliding, b"{}")),
            HELD_ALLOWED,
            "functions",
        ),
        Figure(
            FUNCTIONS,
            "functions that downloads without a token held",
            held(requests, lambda: Raw(cloud).request("GET", download)),
            0,
            "functions",
        ),
    ]


def held(requests: int, send: Callable[[], Answer]) -> int:
    """Return how many of so many requests at once are answered late."""

    def is_late(_: int) -> bool:
        started = time.monotonic()
        send()
        return time.monotonic() - started > HELD_S

    with ThreadPoolExecutor(requests) as pool:
        return sum(pool.map(is_late, range(requests)))
