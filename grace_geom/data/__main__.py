"""``python -m grace_geom.data check --data-root DIR``: which known data sets are there, and what is
missing.
"""

import argparse
from pathlib import Path

from grace_geom.data.check import survey, table
from grace_geom.errors import door


@door
def main() -> None:
    """Parse, look, print."""
    parser = argparse.ArgumentParser(prog="python -m grace_geom.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="list the known data sets under a folder, with class and image counts"
    )
    check.add_argument(
        "--data-root", type=Path, required=True, help="folder that holds the data sets"
    )
    print(table(survey(parser.parse_args().data_root.expanduser())))


if __name__ == "__main__":
    main()
