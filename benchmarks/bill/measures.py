"""Counts each operation of `operators.costs.counts` on a stage, for an example of use.

Each operation is done several times, and its consequences are waited for. The use of a wake is that of a
message with waiting devices minus that of a message without.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import multiprocessing
import secrets
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import aiohttp

from benchmarks.bill.stage import V3, Counted, Person, Stage, running
from murmuration.delivery import wakes
from murmuration.sync import narrow_look
from operators.costs.counts import Counts, Op

TIMES = 4
WAKES = 2
"""How often each device is rung while its slots are still taken: then its item is as long as in a
conversation."""
WAITING = 3
"""How many users wait, with all of their devices."""
LATE_S = 1
"""How late late rings come here, in seconds; their cost doesn't depend on it."""


def measure(folder: Path, rooms: int, people: int, devices: int) -> Counts:
    """Return what operations use if everybody is in `rooms` rooms, and talks in one with `people` people.

    Each waiting user has `devices` devices.
    """
    spawning = multiprocessing.get_context("spawn")  # a local cloud needs its own process
    with ProcessPoolExecutor(1, mp_context=spawning, max_tasks_per_child=1) as pool:
        kinds: tuple[Literal["parked", "held"], ...] = ("parked", "held")
        found = [pool.submit(_measure_waiting, folder, kind, rooms, people, devices) for kind in kinds]
        return Counts(**found[0].result(), **found[1].result())


def _measure_waiting(
    folder: Path, waiting: Literal["parked", "held"], rooms: int, people: int, devices: int
) -> dict[str, Any]:
    wakes.LATE_S = LATE_S
    # clients that wait at the end are disconnected
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with running(folder / waiting, waiting) as stage:
        return _parked(stage, rooms, people, devices) if waiting == "parked" else _held(stage, rooms, people)


def _settle_in(stage: Stage, rooms: int, people: int) -> tuple[list[Person], str, str]:
    """Return people in their rooms who were seen a moment ago, the room with all of them, and a small one."""
    everybody = stage.people(people)
    few = everybody[: WAITING + 2]
    room_id = stage.room(everybody)
    small = room_id if people <= wakes.EPHEMERAL_ROOM else stage.room(few)
    for _ in range(rooms - 1 - (small != room_id)):
        stage.room(few)
    for person in everybody[: WAITING + 2]:
        person.sync()
    return everybody, room_id, small


def _each(times: int, work: Callable[[int], object]) -> Callable[[], None]:
    def run() -> None:
        for number in range(times):
            work(number)

    return run


def _parked(stage: Stage, rooms: int, people: int, devices: int) -> dict[str, Any]:
    everybody, room_id, small = _settle_in(stage, rooms, people)
    writer, *others = everybody
    readers = others[:WAITING]
    waiting = [*readers, *(stage.device_of(reader) for reader in readers for _ in range(devices - 1))]
    send = stage.count(_each(TIMES, lambda _: writer.send(room_id))).op * (1 / TIMES)

    def type_both(_: int) -> None:
        writer.type(small, typing=True)
        writer.type(small, typing=False)

    typing = stage.count(_each(TIMES, type_both)).op * (1 / (2 * TIMES))
    events = [writer.send(small) for _ in range(2 * TIMES)]
    in_small = stage.count(lambda: writer.send(small)).op
    receipt = stage.count(_each(TIMES, lambda number: readers[0].read(small, events[number]))).op
    receipt *= 1 / TIMES
    alone = _alone(stage, everybody, room_id)
    for device in waiting:
        device.sync()
    writer.send(room_id)  # rings every client that was registered meanwhile
    writer.send(small)
    with stage.waiting(waiting):
        stage.rest(LATE_S + 0.5)  # others are told late that they came online
        wake = _of_each(stage, WAKES, lambda _: writer.send(room_id), send, len(waiting))
        lasts, narrow_look.EVERYTHING_S = narrow_look.EVERYTHING_S, 0
        wake_all = _of_each(stage, 1, lambda _: writer.send(room_id), send, len(waiting))
        narrow_look.EVERYTHING_S = lasts
        ringing = [stage.count(lambda: writer.type(small, typing=True))]

        def send_and_stop() -> None:
            writer.type(small, typing=False)
            writer.send(small)

        ringing.append(stage.count(send_and_stop))
        fetched = sum((each.op for each in ringing), Op()) - in_small - typing * 2
        late = stage.count(lambda: writer.read(small, events[-1]), quiet_s=LATE_S + 0.5).op - receipt
    return alone | {
        "send": send,
        "typing": typing,
        "receipt": receipt,
        "wake": wake,
        "wake_all": wake_all,
        "late_wake": late * (1 / len(waiting)),
        "wakes_per_message": fetched.requests / len(waiting),
    }


def _of_each(stage: Stage, times: int, work: Callable[[int], object], without: Op, devices: int) -> Op:
    """Return what one of the devices uses that `work` rings. `work` itself uses `without`."""
    total = Op()
    for number in range(times):
        total += stage.count(lambda number=number: work(number)).op - without  # type: ignore[misc]
    return total * (1 / times / devices)


def _alone(stage: Stage, everybody: list[Person], room_id: str) -> dict[str, Op]:
    """Return what the operations use for which no client waits meanwhile."""
    writer, reader = everybody[0], everybody[WAITING + 1]
    reader.sync()
    reader.sync(20_000)
    mark = (reader.since or "").split(".")
    ended = ".".join((*mark[:4], "1000000000", *mark[5:]))
    renewal = stage.count(lambda: reader.ask("GET", "/sync", since=ended, timeout=20_000)).op
    reader.be("offline")
    came = stage.count(lambda: reader.be("online")).op - Op(1, 1)  # a sync tells others of it, not a request
    coming = Op(0, 1, came.reads, 1)
    name = reader.user_id[1:].partition(":")[0]
    login = stage.count(lambda: _log_in(stage, name)).op
    start = stage.count(lambda: _start(reader)).op
    others = everybody[1 : WAITING + 1]
    to_device = stage.count(lambda: _share_key(writer, others)).op * (1 / len(others))
    version = writer.ask("POST", "/room_keys/version", _BACKUP)["version"]
    backup = stage.count(_each(TIMES, lambda number: _back_up(writer, version, room_id, number))).op
    uploaded: list[str] = []
    upload = stage.count(lambda: uploaded.append(_upload(writer))).op
    download = stage.count(lambda: reader.ask("GET", f"/download/{uploaded[0]}", base=_MEDIA)).op
    return {
        "renewal": renewal,
        "coming": coming,
        "told": Op(0, came.invocations - 1, 0, came.writes - 1) * (1 / (WAITING + 1)),
        "login": login,
        "start": start,
        "to_device": to_device,
        "backup": backup * (1 / TIMES),
        "upload": upload,
        "download": download,
    }


_MEDIA = "/_matrix/client/v1/media"
_BACKUP = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": "abcdefg", "signatures": {}},
}


def _start(person: Person) -> None:
    """Make the requests of a client that is opened again."""
    person.ask("GET", "/versions", base="/_matrix/client")
    for path in ("/capabilities", "/pushrules/", "/voip/turnServer", "/devices"):
        person.ask("GET", path)
    person.ask("POST", f"/user/{person.user_id}/filter", {"room": {"state": {"lazy_load_members": True}}})
    person.ask("POST", "/keys/query", {"device_keys": {person.user_id: []}})
    person.sync()
    person.sync(20_000)


def _log_in(stage: Stage, name: str) -> None:
    person = stage.person(name)
    keys = {f"signed_curve25519:{number}": {"key": "x" * 43, "signatures": {}} for number in range(50)}
    person.ask("POST", "/keys/upload", {"one_time_keys": keys})
    person.sync()


def _share_key(sender: Person, receivers: list[Person]) -> None:
    text = {"type": 0, "body": "x" * 800}
    content = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "ciphertext": {"key": text}}
    messages = {each.user_id: {each.device_id: content} for each in receivers}
    sender.ask("PUT", f"/sendToDevice/m.room.encrypted/{secrets.token_hex(4)}", {"messages": messages})


def _back_up(person: Person, version: str, room_id: str, number: int) -> None:
    key = {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": True,
        "session_data": {"ephemeral": "x" * 43, "ciphertext": "x" * 500, "mac": "x" * 11},
    }
    person.ask("PUT", f"/room_keys/keys/{room_id}/s{number}", key, version=version)


def _upload(person: Person) -> str:
    answer = person.ask("POST", "/upload", secrets.token_bytes(100_000), base="/_matrix/media/v3")
    return str(answer["content_uri"]).removeprefix("mxc://")


# -- Held waits, and WebSockets -----------------------------------------------------------------------


def _held(stage: Stage, rooms: int, people: int) -> dict[str, Op]:
    everybody, room_id, _ = _settle_in(stage, rooms, people)
    writer, *others = everybody
    readers = others[:WAITING]
    send = stage.count(_each(TIMES, lambda _: writer.send(room_id))).op * (1 / TIMES)
    push, push_all = asyncio.run(_pushes(stage, writer, others[WAITING], room_id, send))
    for reader in readers:
        reader.sync()
    readers[0].sync(1_500)  # the first one finds no queue, which is created once
    wait = stage.count(lambda: readers[0].sync(1_500), quiet_s=1).op
    with stage.waiting(readers):
        wake = _of_each(stage, TIMES, lambda _: writer.send(room_id), send, len(readers))
    return {"held_wait": wait, "held_wake": wake, "push": push, "push_all": push_all}


async def _pushes(stage: Stage, writer: Person, reader: Person, room_id: str, send: Op) -> tuple[Op, Op]:
    """Return what it takes to send one connection a message, and the same if everything is looked at."""
    token = str(reader.session.headers["Authorization"]).removeprefix("Bearer ")
    url = f"{stage.url.replace('http', 'ws', 1)}{V3}/stream?access_token={token}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, protocols=("m.json",)) as socket:
        await socket.receive(timeout=30)
        sending = functools.partial(stage.count, _each(TIMES, lambda _: (writer.send(room_id), stage.rest())))
        narrow: Counted = await asyncio.to_thread(sending)
        lasts, narrow_look.EVERYTHING_S = narrow_look.EVERYTHING_S, 0
        everything: Counted = await asyncio.to_thread(sending)
        narrow_look.EVERYTHING_S = lasts
    return narrow.op * (1 / TIMES) - send, everything.op * (1 / TIMES) - send
