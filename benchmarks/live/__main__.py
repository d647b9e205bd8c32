"""`python -m benchmarks.live`: the latency of a message and the cost of operations, compared with Synapse if
it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import aiohttp

from benchmarks.live import large_room, measures
from benchmarks.live.servers import Ours, Server, Synapse
from tests.interop.synapse_process import synapse_python

PARTS = ("waiting", "operations", "writers", "large")
"""The measurements that can be made separately."""


async def measure(server: Server, given: argparse.Namespace, *, whole: bool) -> None:
    """Measure one server, and print the results at once."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        if "waiting" in given.only:
            await _measure_waiting(http, server, given, whole=whole)
        if "large" in given.only:
            count = max(3, given.count // 4)
            large = await large_room.costs(http, server, given.members, given.waiting, count, whole=whole)
            for name, cost in large.items():
                print(f"  {name:<34} {cost}")
        if not whole:
            return
        if "operations" in given.only:
            for name, cost in (await measures.costs(http, server, given.count)).items():
                print(f"  {name:<34} {cost}")
        if "writers" in given.only:
            for rooms in (1, 16):
                print(f"  {_writers(rooms):<34} {await measures.throughput(http, server, rooms, given.each)}")


async def _measure_waiting(
    http: aiohttp.ClientSession, server: Server, given: argparse.Namespace, *, whole: bool
) -> None:
    latency = await measures.waiting_http(http, server, given.count, given.pause)
    print(f"  to a client that waits by /sync    {latency}")
    if isinstance(server, Ours) and whole:
        latency = await measures.waiting_socket(http, server, given.count, given.pause)
        print(f"  to a client with a WebSocket       {latency}")
    if server.name.endswith("parked"):
        used = await measures.idle(http, server, given.clients, 5)
        print(f"  {given.clients} clients that wait{'':<16} {used * 100:.1f} % of a core")


def _writers(rooms: int) -> str:
    return "16 writers, " + ("one room" if rooms == 1 else f"{rooms} rooms")


def count_retries(folder: Path, each: int) -> None:
    """Count how often a send loses a race and is tried again, on a separate server for each number of
    rooms.
    """

    async def write(server: Server, rooms: int) -> measures.Throughput:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            return await measures.throughput(http, server, rooms, each)

    print("Retries")
    for rooms in (1, 16):
        server = Ours(folder / f"retries-{rooms}", "held", meter="on")
        server.start()
        try:
            done = asyncio.run(write(server, rooms))
        finally:
            server.stop()
        sends = 16 * each - done.failed
        print(f"  {_writers(rooms):<34} {server.refused()} for {sends} sends and 16 joins")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="messages and operations of each kind (60)")
    parser.add_argument("--each", type=int, default=12, help="sends of each of sixteen writers (12)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two messages (0.1)")
    parser.add_argument("--clients", type=int, default=1000, help="how many wait at once (1000)")
    parser.add_argument("--members", type=int, default=500, help="members of a large room (500)")
    parser.add_argument("--waiting", type=int, default=50, help="how many of them wait for a message (50)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = ("held", "parked") if {"waiting", "large"} & set(given.only) else ("held",)
        servers: list[Server] = [Ours(Path(folder, kind), kind) for kind in kinds]
        python = synapse_python()
        if python is not None:
            servers.append(Synapse(Path(folder, "synapse"), python))
        for server in servers:
            server.start()
            print(server.name)
            try:
                whole = not server.name.endswith("parked")
                asyncio.run(measure(server, given, whole=whole))
            finally:
                server.stop()
        if "writers" in given.only:
            count_retries(Path(folder), given.each)
        if python is None:
            print("Synapse isn't here to compare with; `make synapse` installs it.")


if __name__ == "__main__":
    main()
