"""Fine-tune a CLIP: ``python -m grace_geom.train [--method grace] [--data shapes]``

On G GPUs, or several machines: ``torchrun --nproc-per-node G -m grace_geom.train ...``
"""

from collections.abc import Sequence

from grace_geom.config import parse_train
from grace_geom.distributed import first, processes
from grace_geom.errors import door
from grace_geom.training import train_run


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Train one run and print where its checkpoint is; of torchrun's processes only the first
    speaks.
    """
    with processes():
        out = train_run(parse_train(argv))
        if first():
            print(out / "ckpt.pt")


if __name__ == "__main__":
    main()
