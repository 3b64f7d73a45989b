"""Entry point of `watchtower-async`, `watchtower` and `python -m watchtower_async`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the program and exit with its code."""
    arguments = sys.argv[1:]
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--health-check" in flags:
        # Asked every half minute by the engine, so it must not pay for the imports of the service.
        from watchtower_async.web.health_check import check  # noqa: PLC0415

        sys.exit(check(flags, os.environ))
    from watchtower_async.cli.main import run  # noqa: PLC0415

    sys.exit(run(sys.argv, os.environ))


if __name__ == "__main__":
    main()
