"""Fine-tune: ``python -m grace_geom.train [--method grace] [--data shapes] [--model tiny-shapes] [--out runs/NAME]``"""

from collections.abc import Sequence

from grace_geom.config import parse_train
from grace_geom.errors import door
from grace_geom.runs import train_run


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Train one run and print where its checkpoint is."""
    print(train_run(parse_train(argv)) / "ckpt.pt")


if __name__ == "__main__":
    main()
