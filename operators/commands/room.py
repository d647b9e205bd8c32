"""Mend a room that this server shares with others."""

from __future__ import annotations

import argparse

from operators.operating import run_action
from operators.rooms import rejoining


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    rejoining.add_to(actions)


def run(args: argparse.Namespace) -> int:
    return run_action(args)
