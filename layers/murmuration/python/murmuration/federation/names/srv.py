"""Looks up SRV records, because Python's own resolver can't."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SECONDS = 3.0
MOST_TARGETS = 8
SHORTEST_S = 60
LONGEST_S = 24 * 3600


class SrvError(Exception):
    """The name servers didn't answer, so it isn't known whether there are records."""


class SrvRefused(Exception):
    """The service isn't offered: the records' target is the root domain."""


@dataclass(frozen=True, slots=True)
class Records:
    """The targets in the order in which to try them (none if there are no records), and for how many seconds
    they are valid.
    """

    targets: tuple[tuple[str, int], ...]
    lifetime_s: int


def look_up(name: str) -> Records:
    """Return the SRV records of `name`. Raises SrvError, SrvRefused."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name, "SRV", lifetime=SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Records((), 3600)
    except (dns.exception.DNSException, OSError, UnicodeError) as error:
        raise SrvError(f"no answer about {name}: {type(error).__name__}") from error
    found = [
        (each.priority, each.weight, each.target.to_text(omit_final_dot=True), each.port) for each in answer
    ]
    lifetime_s = min(max(int(answer.rrset.ttl) if answer.rrset else 0, SHORTEST_S), LONGEST_S)
    if all(target in (".", "@", "") for _, _, target, _ in found):
        raise SrvRefused(f"{name} offers no such service, by its SRV record")
    return Records(tuple(in_order(record for record in found if record[2] not in (".", "@", ""))), lifetime_s)


def in_order(records: Iterable[tuple[int, int, str, int]]) -> list[tuple[str, int]]:
    """Return the (target, port) of records (priority, weight, target, port), ordered by RFC 2782, at most 8.

    The lowest priority comes first. Among records of the same priority, the order is random, weighted by
    their weights.
    """
    import random

    def rank(record: tuple[int, int, str, int]) -> tuple[int, float]:
        return record[0], -(random.random() ** (1 / max(record[1], 0.01)))

    return [(target, port) for _, _, target, port in sorted(records, key=rank)][:MOST_TARGETS]
