"""Read and delete users' reports of rooms, events and other users."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from operators.operating import NotOperable, Server, add_action, run_action

if TYPE_CHECKING:
    from murmuration.storage.reports import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    add_action(actions, "list", "List the reports, the oldest first.", _list)
    delete = add_action(actions, "delete", "Delete a report that was dealt with.", _delete)
    delete.add_argument("report", metavar="REPORT", help="its ID, as list shows it")


def run(args: argparse.Namespace) -> int:
    return run_action(args)


def _list(_args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.reports import read_all

    for report in read_all():
        print(_line(report))
    return 0


def _line(report: Report) -> str:
    """Return a report in one line. Its reason is JSON, so that a user's text can't control the terminal."""
    from datetime import UTC, datetime

    when = f"{datetime.fromtimestamp(report.at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    if report.event_id is not None:
        what = f"event {report.event_id} by {report.user_id} in {report.room_id}"
    elif report.room_id is not None:
        what = f"room {report.room_id}"
    else:
        what = f"user {report.user_id}"
    return f"{report.id}  {when}  {report.reporter} reports {what}: {json.dumps(report.reason)}"


def _delete(args: argparse.Namespace, _server: Server) -> int:
    from murmuration.storage.reports import delete

    if not delete(args.report):
        raise NotOperable("There is no such report.")
    return 0
