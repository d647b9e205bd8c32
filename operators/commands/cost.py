"""Tell what a server costs a month: an estimate, or the price of a local run that was measured.

The estimate multiplies how people live by the counted budgets and by AWS's list prices (us-east-1, without
taxes), for the three ways in which clients wait for news. `murmuration serve --meter on` counts what it uses
until it stops; `--measured` takes these counts as the pace of a whole month.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    def number(name: str, default: float, help_text: str) -> None:
        parser.add_argument(
            f"--{name}", type=_not_negative, default=default, metavar="N", help=f"{help_text} ({default:g})"
        )

    number("users", 5, "how many people use the server")
    number("messages-per-day", 50, "messages that each sends a day")
    number("devices", 2, "devices of each")
    number("hours-online", 8, "hours a day that each device waits for news")
    number("rooms", 20, "rooms that each is in")
    number("people-per-room", 0, "people in the room where a message is sent; 0: all, up to 12")
    number("media-mb-per-day", 2, "megabytes that each uploads a day")
    number("stored-months", 12, "months of messages and media that are kept by now")
    parser.add_argument("--measured", action="store_true", help="take the counts of a local run")
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
    columns = _measured(args.data.resolve()) if args.measured else _estimates(args)
    if columns is None:
        return 2
    _print_table(columns)
    print(f"\nDollars a month at AWS's list prices of {prices.DATE} in {prices.REGION}, without taxes.")
    return 0


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("it can't be negative or infinite")
    return number


def _estimates(args: argparse.Namespace) -> dict[str, Mapping[str, float]]:
    from dataclasses import replace

    from operators.costs.usage import ASSUMPTIONS, WAITING, Life, estimate

    assumed = replace(ASSUMPTIONS, polled_queues=_polled_queues())
    life = Life(
        users=int(args.users),
        messages_per_day=args.messages_per_day,
        devices=args.devices,
        hours_online=args.hours_online,
        rooms=args.rooms,
        people_per_room=args.people_per_room,
        media_mb_per_day=args.media_mb_per_day,
        stored_months=args.stored_months,
    )
    return {waiting: estimate(life, waiting, assumed) for waiting in WAITING}


def _polled_queues() -> int:
    """How many queues the functions that are there now work on."""
    import sys

    from murmuration.endpoint import Queue, discover

    repository = str(Path(__file__).resolve().parents[2])
    if repository not in sys.path:
        sys.path.append(repository)  # where `functions` is
    return len({function.route.name for function in discover() if isinstance(function.route, Queue)})


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
