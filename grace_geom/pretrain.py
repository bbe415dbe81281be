"""Pretrain the built-in tiny CLIP again, or one on labelled data sets:
``python -m grace_geom.pretrain``.
"""

from collections.abc import Sequence

from grace_geom import starts
from grace_geom.cli import parse, quick
from grace_geom.refusals import refuse_several
from grace_geom.terminal import door, finish

PROG = "python -m grace_geom.pretrain"


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Pretrain, write the weights, measure them, write the record."""
    quick.answer(PROG, argv, begin=starts.pretraining)
    refuse_several("pretrain")
    from grace_geom.records.schema import read_json
    from grace_geom.tools.tiny_clip.making import Pretraining, make

    about = (
        "Pretrain the built-in tiny CLIP again, or another CLIP on captions made from labelled data "
        "sets."
    )
    options = parse(Pretraining, argv, description=about, prog=PROG)
    quick.begun(starts.pretraining(vars(options)))
    text, record = make(options), options.out.with_suffix(".json")
    finish(options.out, beside=[record], text=text, **read_json(record))


if __name__ == "__main__":
    main()
