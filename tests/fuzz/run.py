"""The loop: set up a world, send requests, check the answers."""

from __future__ import annotations

import base64
import random
import re
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, unquote

from tests.fuzz.pools import Pools
from tests.fuzz.requests import Actor, Maker, ends_sessions
from tests.fuzz.target import SERVER_NAME, Answer, Sent

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery"
SLOW_S = 5.0
MEDIA = ((504, "M_NOT_YET_UPLOADED"), (502, "M_TOO_LARGE"))
"""https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid"""
SOCKETS = 0.01
"""How many of the requests are conversations by WebSocket."""
_OURS = re.compile(r'File ".*?/(murmuration/[^"]+)", line (\d+), in (\w+)')


class Asked(Protocol):
    """What is fuzzed; see `Target`."""

    @property
    def functions(self) -> Any: ...
    def send(self, sent: Sent) -> Answer: ...
    def socket(self, token: str, messages: Any, query: str = "") -> Answer: ...


@dataclass
class Finding:
    """An answer of 5xx, or an error that a worker logged, and how to get it again."""

    number: int
    what: str
    request: str
    trace: str

    @property
    def place(self) -> str:
        """Where in our code it happened, to tell findings of one kind."""
        frames = _OURS.findall(self.trace)
        last = self.trace.strip().rpartition("\n")[2][:120]
        return f"{':'.join(frames[-1])} {last}" if frames else f"{self.what} {last}"


@dataclass
class Report:
    """What a run came to."""

    seed: int
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)
    reached: set[tuple[str, str]] = field(default_factory=set)
    """Routes that answered 200 at least once, by method and path."""

    def __str__(self) -> str:
        by_class = Counter[str]()
        for status, count in self.statuses.items():
            by_class[f"{status // 100}xx"] += count
        shown = ", ".join(f"{name} {count}" for name, count in sorted(by_class.items()))
        lines = [f"seed {self.seed}: {self.requests} requests; {shown}; {len(self.findings)} server errors"]
        for seconds, request in sorted(self.slow, reverse=True)[:5]:
            lines.append(f"  slow, {seconds:.1f} s: {request[:300]}")
        kinds = Counter(finding.place for finding in self.findings)
        lines += [f"  {count} times {place}" for place, count in kinds.most_common()]
        return "\n".join(lines)


def command(sent: Sent) -> str:
    """Return the curl command that sends a request to `murmuration serve`."""
    parts = ["curl", "--globoff", "--path-as-is", "-X", sent.method]
    for name, value in sent.headers:
        parts += ["-H", f"{name}: {value}"]
    if sent.body:
        parts += ["--data-binary", "@-"]
    line = shlex.join([*parts, f"http://localhost:8008{sent.target}"])
    if not sent.body:
        return line
    return f"echo {base64.b64encode(sent.body).decode()} | base64 -d | {line}"


class Fuzzer:
    """One run with one seed."""

    def __init__(self, target: Asked, seed: int, tell: Callable[[str], None] = print) -> None:
        self.target = target
        self.pools = Pools()
        self.actors: list[Actor] = []
        self.report = Report(seed)
        self._names = 0
        self._tell = tell
        self._maker = Maker(target.functions, self.pools, self.actors)

    def run(self, requests: int) -> Report:
        """Set the world up, then send this many requests."""
        self.set_up()
        for number in range(requests):
            dice = random.Random(f"{self.report.seed}/{number}")
            self.report.requests += 1
            if dice.random() < SOCKETS:
                self._converse(dice, number)
            else:
                route = self._maker.route(dice)
                answer = self._send(self._maker.any(route, dice), number)
                if answer.status < 300:
                    self.report.reached.add(route[:2])
            if number % 20 == 19:
                self._look_after_actors(number)
        return self.report

    def set_up(self) -> None:
        """Create three users with two devices each, rooms of several kinds, and what the recorded requests
        make in them.
        """
        dice = random.Random(f"{self.report.seed}/world")
        for _ in range(3):
            self._actor()
        for version in ("1", "5", "9", "10", "11", "12", "12", "12"):
            owner = self.actors[len(version) % 3]
            body: dict[str, Any] = {
                "room_version": version,
                "preset": dice.choice(("public_chat", "private_chat")),
            }
            self._ask(owner, "POST", f"{V3}/createRoom", body)
        for room_id in list(self.pools._found["room"]):
            for actor in self.actors:
                self._ask(actor, "POST", f"{V3}/join/{quote(room_id, safe='')}", {})
                content = {"msgtype": "m.text", "body": "hello"}
                self._ask(
                    actor, "PUT", f"{V3}/rooms/{quote(room_id, safe='')}/send/m.room.message/1", content
                )
        for actor in self.actors:
            self._ask(actor, "GET", f"{V3}/sync", None)
        for method, path, function in self._maker.routes:
            for template in self._maker.recorded.get(function.module, ())[:3]:
                if template.good and not ends_sessions(function):
                    self._send(self._maker.usual(method, path, function, template, dice), -1)

    def _actor(self) -> None:
        self._names += 1
        name = f"f{self.report.seed}x{self._names}"
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        made = self._ask(None, "POST", f"{V3}/register", {**body, "refresh_token": self._names % 2 == 0})
        actor = Actor(f"@{name}:{SERVER_NAME}", made["access_token"], made["device_id"], PASSWORD)
        self.actors.append(actor)
        self.pools.harvest([actor.user_id])

    def _look_after_actors(self, number: int) -> None:
        """Replace the users whose token the requests have ended."""
        at = number // 20 % len(self.actors)
        actor = self.actors[at]
        answer = self.target.send(self._request(actor, "GET", f"{V3}/account/whoami", None))
        if answer.status == 200:
            return
        self._actor()
        self.actors[at] = self.actors.pop()
        for preset in ("public_chat", "private_chat"):
            self._ask(self.actors[at], "POST", f"{V3}/createRoom", {"preset": preset})
        for _ in range(4):
            room_id = self.pools.any("room", random.Random(f"{self.report.seed}/{number}/join"), "!x")
            self._ask(self.actors[at], "POST", f"{V3}/join/{quote(room_id, safe='')}", {})

    def _request(self, actor: Actor | None, method: str, path: str, body: Any) -> Sent:
        from tests.fuzz.values import raw_json

        headers = (("Authorization", f"Bearer {actor.token}"),) if actor is not None else ()
        return Sent(method, path, headers, b"" if body is None else raw_json(body))

    def _ask(self, actor: Actor | None, method: str, path: str, body: Any) -> Any:
        return self._send(self._request(actor, method, path, body), -1).json

    def _send(self, sent: Sent, number: int) -> Answer:
        answer = self.target.send(sent)
        self._judge(answer, number, command(sent), sent)
        if answer.status < 500 and b"{" in answer.body[:200]:
            self._keep(sent, answer)
        return answer

    def _keep(self, sent: Sent, answer: Answer) -> None:
        """Keep the values of the answer, by room and by user if these are known."""
        value = answer.json
        self.pools.harvest(value)
        if room := re.search(r"/rooms/([^/?]+)", sent.target):
            self.pools.belongs(unquote(room[1]), value)
        if "/createRoom" in sent.target and isinstance(value, dict) and "room_id" in value:
            bearer = dict(sent.headers).get("Authorization", "")
            for actor in self.actors:
                if bearer == f"Bearer {actor.token}":
                    self.pools.homes[value["room_id"]] = actor.user_id

    def _converse(self, dice: random.Random, number: int) -> None:
        actor = dice.choice(self.actors)
        frames = self._maker.frames(dice)
        query = dice.choice(
            ("", f"since={quote(self.pools.any('token', dice, 'x'))}", "since=%00", "filter={}")
        )
        answer = self.target.socket(actor.token, frames, query)
        request = f"WebSocket of {actor.token} ?{query}: {frames!r}"
        self._judge(answer, number, request, Sent("GET", "", body=repr(frames).encode()))

    def _judge(self, answer: Answer, number: int, request: str, sent: Sent) -> None:
        self.report.statuses[answer.status] += 1
        if answer.seconds > SLOW_S:
            self.report.slow.append((answer.seconds, request))
        if (answer.status >= 500 and not is_meant(answer, sent)) or answer.traces:
            trace = "\n".join(answer.traces)
            what = str(answer.status) if answer.status >= 500 else "a worker failed"
            finding = Finding(number, what, request, trace)
            if all(finding.place != known.place for known in self.report.findings):
                self._tell(
                    f"-- seed {self.report.seed}, request {number}: {what}\n{request[:6000]}\n{trace[-3000:]}"
                )
            self.report.findings.append(finding)


def is_meant(answer: Answer, sent: Sent) -> bool:
    """Return whether an answer of 5xx is intended. The gateway's answer for a failed function has no errcode.

    Media that aren't uploaded yet, or are too large to be sent, have such answers by the specification. Any
    other is meant only if another server failed that was really asked: a connection to it was tried for this
    request; or it was tried before, and the request or the error names that host. Then its failure is
    remembered, or a worker asked it.
    """
    errcode = answer.json.get("errcode") if isinstance(answer.json, dict) else None
    if answer.status not in (502, 504) or not isinstance(errcode, str):
        return False
    if "/media/" in sent.target and (answer.status, errcode) in MEDIA:
        return True
    if answer.asked:
        return True
    texts = (unquote(sent.target), sent.body.decode(errors="replace"), answer.body.decode(errors="replace"))
    said = "\n".join(texts).lower()
    return any(host in said for host in answer.asked_ever)
