"""`murmuration`: one sub-command for each module in `operators.commands`."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from operators import commands


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    It imports every sub-command's module, so those must import fast.
    """
    top = argparse.ArgumentParser(
        prog="murmuration", description="Run and operate a Matrix homeserver made of AWS Lambda functions."
    )
    choices = top.add_subparsers(dest="command", required=True, metavar="command")
    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        summary = (module.__doc__ or "").strip()
        choice = choices.add_parser(
            found.name.replace("_", "-"),
            help=summary.partition("\n")[0],
            description=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(choice)
        choice.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit status."""
    args = parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has read enough. Python would complain when it flushes the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
