"""``python -m grace_geom.tools.families``: the page of families, measured now."""

from grace_geom.terminal import door, say
from grace_geom.tools.families import FAMILIES, adapted, measure, page, small_model


@door
def main() -> None:
    """Print docs/families.md; progress goes to stderr."""
    rows = {}
    for family in FAMILIES:
        say(family.name)
        rows[family.name] = measure(small_model(family))
    shares = {family.name: adapted(family.example) for family in FAMILIES}
    print(page(rows, shares), end="")


if __name__ == "__main__":
    main()
