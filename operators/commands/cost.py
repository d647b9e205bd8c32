"""Show what a server costs a month: an estimate, or the price of a measured local run.

The estimate multiplies how often people do something by what each operation uses of AWS (counted by `make
bill`) and by AWS's list prices (us-east-1, without taxes), for the three ways in which clients wait for
updates.

`murmuration serve --meter on` counts what it uses until it stops; `--measured` assumes that a whole month
runs at this pace.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from operators import arguments

if TYPE_CHECKING:
    from murmuration.endpoint import Function
    from operators.costs.usage import Life, Setup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def number(name: str, default: float, help_text: str) -> None:
        parser.add_argument(
            f"--{name}",
            type=arguments.number,
            default=default,
            metavar="N",
            help=f"{help_text} ({default:g})",
        )

    number("users", 5, "how many people use the server")
    number("messages-per-day", 50, "messages that each sends a day")
    number("devices", 2, "devices of each")
    number("hours-online", 8, "hours a day that each device waits for news")
    number("rooms", 20, "rooms that each is in")
    number("people-per-room", 0, "people in the room where a message is sent; 0: all, up to 12")
    number("media-mb-per-day", 2, "megabytes that each uploads a day")
    number("stored-months", 12, "months of messages and media that are kept by now")
    number("phones", 0, "phones of each that are told of messages by a push gateway")
    number("app-hours", 0, "hours a day that each has an app with sliding sync open, besides the devices")
    number("servers", 0, "other servers in the room where a message is sent")
    number("remote-events", 0, "events a day that other servers send to this one")
    parser.add_argument("--api", choices=("rest", "http"), default="http",
                        help="the kind of API for the functions' routes (http)")  # fmt: skip
    parser.add_argument("--waits", choices=("rest", "edge"), default="edge",
                        help="what calls parked clients' queues: CloudFront or REST API (edge)")  # fmt: skip
    parser.add_argument("--by-cause", choices=("parked", "held", "websocket"),
                        help="print the costs by cause, for one way of waiting")  # fmt: skip
    parser.add_argument("--measured", action="store_true", help="use the counts of a local run")
    parser.add_argument("--data", type=Path, default=Path(".murmuration"), metavar="FOLDER",
                        help="the data folder of that run (./.murmuration)")  # fmt: skip
    parser.add_argument("--assumptions", action="store_true", help="print what the estimate assumes")
    parser.add_argument("--prices", action="store_true", help="print the prices, and where they are from")


def run(args: argparse.Namespace) -> int:
    from operators.costs import prices

    if args.prices:
        for name, price in prices.PRICES.items():
            free = f", {price.free:,g} free" if price.free else ""
            print(f"{name:22} ${price.dollars:g} for {price.per:,g}{free}  {price.source}")
        return 0
    if args.assumptions:
        return _print_assumptions()
    if args.by_cause:
        return _print_causes(args)
    columns = _measured(args.data.resolve()) if args.measured else _estimates(args)
    if columns is None:
        return 2
    _print_table(columns)
    print(f"\nDollars a month at AWS's list prices of {prices.DATE} in {prices.REGION}, without taxes.")
    return 0


def _estimates(args: argparse.Namespace) -> dict[str, Mapping[str, float]]:
    from operators.costs.usage import ASSUMPTIONS, WAITING, estimate

    life, setup = _life(args), _setup(args)
    return {waiting: estimate(life, waiting, ASSUMPTIONS, setup) for waiting in WAITING}


def _life(args: argparse.Namespace) -> Life:
    from operators.costs.usage import Life

    return Life(
        users=int(args.users),
        messages_per_day=args.messages_per_day,
        devices=args.devices,
        hours_online=args.hours_online,
        rooms=args.rooms,
        people_per_room=args.people_per_room,
        media_mb_per_day=args.media_mb_per_day,
        stored_months=args.stored_months,
        phones=args.phones,
        app_hours=args.app_hours,
        servers=args.servers,
        remote_events=args.remote_events,
    )


def _setup(args: argparse.Namespace) -> Setup:
    from operators.costs.usage import Setup

    return Setup(api=args.api, waits=args.waits, swept_queues=_swept_queues(), schedules=_schedules())


def _print_causes(args: argparse.Namespace) -> int:
    from operators.costs.bill import bill, bill_causes
    from operators.costs.usage import ASSUMPTIONS, estimate_causes

    causes = estimate_causes(_life(args), args.by_cause, ASSUMPTIONS, _setup(args))
    shown = bill_causes(causes)
    services = list(bill({}, free_tier=False))
    print(f"{'':24}{'all':>10}" + "".join(f"{service:>13}" for service in services))
    for cause, dollars in sorted(shown.items(), key=lambda pair: -sum(pair[1].values())):
        print(
            f"{cause:24}{sum(dollars.values()):10.2f}"
            + "".join(f"{dollars[each]:13.2f}" for each in services)
        )
    print("\nDollars a month at list prices, without taxes and without what is free.")
    return 0


def _swept_queues() -> int:
    """Return how many queues have a worker in a server that federates."""
    from murmuration.endpoint import Queue

    return len({function.route.name for function in _functions() if isinstance(function.route, Queue)})


def _schedules() -> float:
    """Return how often schedules call functions, each minute."""
    from murmuration.endpoint import Schedule

    routes = [function.route for function in _functions()]
    found = [
        re.fullmatch(r"rate\((\d+) minutes?\)", each.expression)
        for each in routes
        if isinstance(each, Schedule)
    ]
    return sum(1 / int(match[1]) for match in found if match is not None)


def _functions() -> list[Function]:
    import sys

    from murmuration.endpoint import discover

    repository = str(Path(__file__).resolve().parents[2])
    if repository not in sys.path:
        sys.path.append(repository)  # the folder that has `functions`
    return discover()


def _measured(folder: Path) -> dict[str, Mapping[str, float]] | None:
    import sys

    from local_cloud.data_folder import DataFolder
    from local_cloud.meter import load
    from operators.costs.usage import scaled

    path = DataFolder(folder).usage
    if not path.exists():
        print(f"{folder} has no counts: serve with `--meter on`, and stop the server again.", file=sys.stderr)
        return None
    counts, seconds = load(path)
    print(f"Counted in {seconds:.0f} s:")
    for name, count in sorted(counts.items()):
        print(f"  {name:22}{count:12,.1f}")
    print()
    return {"measured": scaled(counts, seconds)}


def _print_table(columns: Mapping[str, Mapping[str, float]]) -> None:
    from operators.costs.bill import bill

    shown = [
        (name, note, bill(usage, free_tier=free))
        for name, usage in columns.items()
        for note, free in (("", True), ("no free tier", False))
    ]
    print(" " * 14 + "".join(f"{name:>14}" for name, _, _ in shown))
    print(" " * 14 + "".join(f"{note:>14}" for _, note, _ in shown))
    for service in shown[0][2]:
        print(f"{service:14}" + "".join(f"{dollars[service]:14.2f}" for _, _, dollars in shown))
    print(f"{'all':14}" + "".join(f"{sum(dollars.values()):14.2f}" for _, _, dollars in shown))


def _print_assumptions() -> int:
    import dataclasses

    from operators.costs.usage import ASSUMPTIONS

    for name, value in dataclasses.asdict(ASSUMPTIONS).items():
        print(f"{name:22}{value:g}")
    return 0
