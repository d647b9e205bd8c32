"""Start two of our servers and a Synapse that share rooms on this machine: `python -m local_cloud.federate`.

All their data is in the folder `.federate`, and is kept. Without an installed Synapse (`make synapse`) only
our servers are started. Ctrl-C stops them all.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from local_cloud.federate.certificates import Authority
from local_cloud.federate.synapse import Synapse

SYNAPSE = Path(".setup/synapse/bin/python")
HOSTS = ("localhost", "127.0.0.1")
PATIENCE_S = 90


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m local_cloud.federate", description=__doc__)
    arguments.add_argument("--folder", default=".federate", help="where all of them store (./.federate)")
    arguments.add_argument("--port", type=int, default=8008, help="the first for clients; two follow")
    arguments.add_argument("--federation-port", type=int, default=8448, help="the first for servers")
    arguments.add_argument("--synapse", default=str(SYNAPSE), help=f"Synapse's Python ({SYNAPSE})")
    args = arguments.parse_args()
    folder = Path(args.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    certificate, key = authority.files(*HOSTS)

    def ours(number: int) -> list[str]:
        return [
            sys.executable, "-m", "operators.cli", "serve",
            "--server-name", f"localhost:{args.federation_port + number}",
            "--port", str(args.port + number), "--federation-port", str(args.federation_port + number),
            "--tls-cert", str(certificate), "--tls-key", str(key), "--ca", str(authority.ca),
            "--allow-loopback", "--registration", "open", "--rate-limits", "off",
            "--data", str(folder / f"murmuration-{number + 1}"),
        ]  # fmt: skip

    commands = {f"Murmuration {number + 1}": ours(number) for number in range(2)}
    synapse = Synapse(
        Path(args.synapse).absolute(), folder / "synapse", args.port + 2, args.federation_port + 2,
        certificate, key, authority.ca,
    )  # fmt: skip
    if synapse.python.exists():
        synapse.configure()
        commands["Synapse"] = synapse.command
    else:
        print("Synapse is not installed: `make synapse` does it. Starting the other two.", flush=True)
    return run(commands, args.port, args.federation_port, authority.ca)


def run(commands: dict[str, list[str]], port: int, federation_port: int, ca: Path) -> int:
    """Start the servers, print how to connect, and wait until one ends or Ctrl-C. Returns the exit status."""
    processes: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for command in commands.values():
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for number, (name, process) in enumerate(zip(commands, processes, strict=True)):
            if not _serves(process, port + number, federation_port + number):
                print(f"{name} did not start: see what it printed above.", file=sys.stderr)
                return 1
            print(
                f"{name}: server name localhost:{federation_port + number}, "
                f"for clients http://localhost:{port + number}"
            )
        print(f"They trust {ca}. Registration is open on each. Ctrl-C stops them.")
        sys.stdout.flush()
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for process in processes:
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def _serves(process: subprocess.Popen[bytes], *ports: int) -> bool:
    """Wait until the process listens on all ports. Returns whether it does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if all(_listens(port) for port in ports):
            return True
        time.sleep(0.2)
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
