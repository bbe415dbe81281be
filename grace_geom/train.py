"""Fine-tune a CLIP: ``python -m grace_geom.train [--method grace] [--data shapes]``

On G GPUs, or several machines: ``torchrun --nproc-per-node G -m grace_geom.train ...``
"""

import sys
from collections.abc import Sequence

from grace_geom import starts
from grace_geom.cli import peek, quick
from grace_geom.refusals import check_training
from grace_geom.terminal import door, finish


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Train one run and print where its checkpoint is; under torchrun only the first process
    prints.
    """
    _answer(argv)
    from grace_geom.config import parse_train
    from grace_geom.distributed import first, processes
    from grace_geom.training import train_run
    from grace_geom.training.result import files_of, result_of

    with processes():
        config = parse_train(argv)
        quick.begun(starts.training({**config.flat(), "out": config.run_dir}))
        out = train_run(config)
        if first():
            file, *beside = files_of(out)
            finish(file, beside=beside, text=str(file), **result_of(out))


def _answer(argv: Sequence[str] | None) -> None:
    """Answer at once what needs no torch; the options of a run depend on its method."""
    if "torch" in sys.modules:
        return  # as quick.answer does
    tokens = list(sys.argv[1:] if argv is None else argv)
    quick.check_name("method", peek(tokens, "method", "grace"), "methods")
    if (key := quick.train_key(tokens)) is not None:
        quick.answer(key, tokens, {"model": "models"}, check_training, starts.training)
    else:
        quick.begun(f"train: continuing {peek(tokens, 'out', '') or 'a run'}")


if __name__ == "__main__":
    main()
