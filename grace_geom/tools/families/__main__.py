"""``python -m grace_geom.tools.families``: the page of families, measured now."""

import sys

from grace_geom.errors import door
from grace_geom.tools.families import FAMILIES, adapted, measure, page, small_model


@door
def main() -> None:
    """Print docs/families.md; progress goes to stderr."""
    rows = {}
    for family in FAMILIES:
        print(family.name, file=sys.stderr, flush=True)
        rows[family.name] = measure(small_model(family))
    shares = {family.name: adapted(family.example) for family in FAMILIES}
    print(page(rows, shares), end="")


if __name__ == "__main__":
    main()
