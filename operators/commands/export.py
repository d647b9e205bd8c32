"""Write accounts, rooms, media and everything else that a server stores into a folder, to move it elsewhere.

The export may be large. It is as private as the server: it has the signing key, messages, and hashes of
passwords. After an interruption, run it again with the same folder: media that are there aren't fetched
twice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from operators.operating import Server, operate
from operators.operating import add_arguments as add_server_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder, or an empty one")
    parser.add_argument("--without-media", action="store_true", help="leave out uploaded files")


def run(args: argparse.Namespace) -> int:
    from operators.exporting import export

    def command(server: Server) -> int:
        export(server, args.folder, print, media=not args.without_media)
        print(f"{server.server_name} is in {args.folder}")
        return 0

    return operate(args, command)
