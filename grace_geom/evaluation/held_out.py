"""The images that a run looked at but was not trained on."""

from grace_geom.checkpoint import Checkpoint
from grace_geom.data import ImageSet, resolve
from grace_geom.data.membership import unseen
from grace_geom.evaluation.measures import Source

MOST = 5000


def held_out_images(data: str, run: Checkpoint, source: Source) -> tuple[ImageSet, int, int]:
    """The held-out images of a data set, the most of them that are looked at, and the seed that
    they are drawn with.

    Args:
        data: SPEC.
        run: What was trained on the rest.
        source: Where the images are.

    Raises:
        UserError: If the data set cannot be read, or the run was trained on all of them.
    """
    config = run.config
    seed = config.get("split_seed", 0)
    val = resolve(
        data,
        "val",
        data_root=source.data_root or config.get("data_root"),
        seed=seed,
        download=source.download,
        val_fraction=config.get("val_fraction", 0.1),
        templates=config.get("templates"),
    )
    return unseen(val, run), config.get("val_images", MOST), seed
