"""Fine-tune a CLIP: ``python -m grace_geom.train [--method grace] [--data shapes]``

On G GPUs, or several machines: ``torchrun --nproc-per-node G -m grace_geom.train ...``
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grace_geom import starts
from grace_geom.cli import peek, quick
from grace_geom.errors import UserError
from grace_geom.refusals import check_training
from grace_geom.terminal import door, finish

if TYPE_CHECKING:
    from grace_geom.config import TrainConfig


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
        source = _rate_from(config, argv)
        out = train_run(config, notes=[_not_searched(config)] * (source == "default"))
        if first():
            file, *beside = files_of(out)
            found = result_of(out) | {"lr_from": source}
            finish(file, beside=beside, text=str(file), **found)


def _rate_from(config: "TrainConfig", argv: Sequence[str] | None) -> str | None:
    """Where the learning rate comes from: ``given``, ``run`` (that is resumed), ``preset``,
    ``recipe`` of the data set, or ``default`` of the method; ``None`` where there is none.
    """
    from grace_geom.methods.settings import has_recipe, preset_of

    method = config.build_method()
    if not (method.trains and hasattr(method, "lr")):
        return None
    if peek(argv, "lr", ""):
        return "given"
    if config.resume:
        return "run"
    if "lr" in preset_of(config.method, config.preset):
        return "preset"
    return "recipe" if has_recipe(config.data) else "default"


def _not_searched(config: "TrainConfig") -> str:
    """That a general learning rate is only a start, and which command searches."""
    lr, method = config.build_method().lr, config.method  # type: ignore[attr-defined]
    return (
        f"lr {lr:g} is a general start of {method}, not searched for {config.data}; --lr sets "
        "another, and this tries some (or --lr-search asha in the place of --lr-grid search):\n"
        f"{shlex.join(_search(config))}"
    )


def _search(config: "TrainConfig") -> list[str]:
    """The study that searches for the learning rate of a run: same data, network, length and
    preset.
    """
    from grace_geom.models.sources import written

    words = ["python", "-m", "grace_geom.compare", "--methods", config.method]
    words += ["--data", config.data, "--model", written(config.model)]
    for name in ("data_root", "pretrained", "epochs", "max_steps", "train_images"):
        value = getattr(config, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    words += ["--batch-size", str(config.batch_size)]
    for name in ("preset", "pretrained_base", "preprocess", "templates", "image_size"):
        value = getattr(config, name)
        words += ["--set", f"{config.method}.{name}={value}"] if value is not None else []
    return [*words, "--lr-grid", "search"]


def _answer(argv: Sequence[str] | None) -> None:
    """Answer at once what needs no torch; the options of a run depend on its method."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    _check_resume(tokens)
    for flag in ("--method", "--preset"):  # what they say decides the options
        if tokens[-1:] == [flag]:
            raise UserError(f"{flag} needs a value")
    if "torch" in sys.modules:
        return  # as quick.answer does
    quick.check_name("method", peek(tokens, "method", "grace"), "methods")
    if (key := quick.train_key(tokens)) is not None:
        quick.answer(key, tokens, {"model": "models"}, check_training, starts.training)
    else:
        quick.begun(f"train: continuing {peek(tokens, 'out', '') or 'a run'}")


def _check_resume(tokens: Sequence[str]) -> None:
    """Refuse the name of a run as the value of ``--resume``.

    Raises:
        UserError: With the flag that takes it.
    """
    for flag in ("resume", "resume_anyway"):
        given = peek(tokens, flag, "")
        if given and Path(given).is_dir():
            raise UserError(f"--{flag.replace('_', '-')} {given}: name the run with --out {given}")


if __name__ == "__main__":
    main()
