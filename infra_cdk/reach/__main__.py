"""`python -m infra_cdk.reach [MODULE]`: print missing grants and undecided calls, or all that a module can
reach.
"""

from __future__ import annotations

import sys

from infra_cdk.reach.check import complaints, findings


def main() -> int:
    found = findings()
    if sys.argv[1:]:
        for finding in found:
            if finding.module in sys.argv[1:]:
                for need, way in sorted(finding.needs.items()):
                    print(f"{need.action} {need.kind} {need.resource}: {way}")  # noqa: T201 - its output
        return 0
    lines = complaints(found)
    print("\n".join(lines) or "Each function is granted what it can reach.")  # noqa: T201
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
