"""Which preprocessing belongs to some weights: that of their tag, of a configuration beside the
file, or of the network's usual tags, which is a guess and said.
"""

import warnings
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import open_clip
from open_clip.model import set_model_preprocess_cfg
from torch import nn

from grace_geom.models.transformers_names import preprocess_config
from grace_geom.preprocess import Preprocess, read_config, square

HUB_CONFIG = "open_clip_config.json"
TRANSFORMERS = "preprocessor_config.json"


def preprocess_of(clip: nn.Module) -> Preprocess:
    """What an open_clip model says of itself, at its own size."""
    visual = clip.visual
    size = square(visual.image_size)  # type: ignore[union-attr]
    return Preprocess(size).overlaid(visual.preprocess_cfg, "the model")  # type: ignore[union-attr, arg-type]


def set_preprocess(clip: nn.Module, preprocess: Preprocess) -> None:
    """Make an open_clip model say so of itself."""
    cfg = dict(clip.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
    record = preprocess.record()
    set_model_preprocess_cfg(
        clip, cfg | record | {name: tuple(record[name]) for name in ("mean", "std")}
    )


def of_tag(model: str, tag: str, base: Preprocess) -> Preprocess:
    """What open_clip lists for a tag of a network."""
    cfg = open_clip.get_pretrained_cfg(model, tag)
    names = base.record().keys()
    return base.overlaid({k: v for k, v in cfg.items() if k in names}, f"tag {tag}")


def usual(model: str, base: Preprocess) -> tuple[Preprocess, str]:
    """What most tags of a network have, and in words which those are; open_clip's default where it
    has none.
    """
    names = (model, model.removesuffix("-quickgelu"), f"{model}-quickgelu")
    tags = {
        tag: of_tag(name, tag, base)
        for name in names
        for tag in open_clip.list_pretrained_tags_by_model(name)
    }
    if not tags:
        return base, "open_clip's default, for it has no weights of this network"
    found = Counter(tags.values()).most_common(1)[0][0]
    others = [tag for tag, preprocess in tags.items() if preprocess != found]
    return found, f"as its tags{f' (not {chr(44).join(others)})' if others else ''}"


def beside_file(path: Path) -> Path | None:
    """The configuration beside a weight file that tells its preprocessing: open_clip's on the Hub,
    or that of transformers.
    """
    for name in (HUB_CONFIG, TRANSFORMERS):
        if (path.parent / name).is_file():
            return path.parent / name
    return None


def of_file(
    model: str, path: Path, base: Preprocess, *, ours: bool, given: Collection[str] = ()
) -> Preprocess:
    """What a weight file wants: the hub's configuration beside it says, else it is guessed, aloud.

    Args:
        model: Name of its network.
        path: The file.
        base: open_clip's default at the network's size.
        ours: A network of ours, which is always trained with that default.
        given: Settings that the user states, which need not be read.

    Raises:
        UserError: If the configuration beside the file cannot be read.
    """
    config = beside_file(path)
    if config is not None:
        theirs = config.name == TRANSFORMERS
        stated = preprocess_config(config, base.size, given) if theirs else read_config(config)
        return base.overlaid(stated, str(config))
    if ours:
        return base
    found, why = usual(model, base)
    warnings.warn(
        f"{path}: a file does not tell its preprocessing; taken for {model} {why}: {found}. "
        f"--preprocess, or {HUB_CONFIG} beside the file, says otherwise",
        stacklevel=3,
    )
    return found
