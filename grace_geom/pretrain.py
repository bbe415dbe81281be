"""Pretrain the built-in tiny CLIP again, or one on labelled data sets:
``python -m grace_geom.pretrain``.
"""

from collections.abc import Sequence

from grace_geom.cli import parse, quick
from grace_geom.errors import door
from grace_geom.refusals import refuse_several

PROG = "python -m grace_geom.pretrain"


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Pretrain, write the weights, measure them, write the record."""
    quick.answer(PROG, argv)
    refuse_several("pretrain")
    from grace_geom.tools.tiny_clip.making import Pretraining, make

    about = (
        "Pretrain the built-in tiny CLIP again, or another CLIP on captions made from labelled data "
        "sets."
    )
    print(make(parse(Pretraining, argv, description=about, prog=PROG)))


if __name__ == "__main__":
    main()
