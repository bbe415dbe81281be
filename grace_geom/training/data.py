"""The images of a run: which they are, what it keeps of them, and whether they are still those it
began with.
"""

import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from grace_geom import distributed
from grace_geom.checkpoint import Checkpoint
from grace_geom.cli import RECORD
from grace_geom.config import TrainConfig
from grace_geom.data import ImageSet, resolve
from grace_geom.data.base import digest_text
from grace_geom.data.keys import kind_of
from grace_geom.data.membership import changes, class_changes, copies, members_of, some, summary
from grace_geom.data.text import warn
from grace_geom.errors import UserError
from grace_geom.serialise import plain, read_yaml
from grace_geom.terminal import say


def images_of(config: TrainConfig, resumed: Checkpoint | None = None) -> tuple[ImageSet, ImageSet]:
    """Training images, and all held-out images, of which evaluations may look at fewer.

    Images with captions alone get the classes of the run that is resumed, of the class list beside
    them, or of the run's first OOD set.

    Raises:
        UserError: If they cannot be read; if the method needs captions that are not there; if
            there are no classes.
    """
    captions = config.build_method().captions
    common: dict[str, Any] = {
        "data_root": config.data_root,
        "seed": config.split_seed,
        "val_fraction": config.val_fraction,
        "download": config.download,
        "templates": config.templates,
        "captions": captions != "unused",
        "stream": config.shuffle_buffer is not None,
    }
    train, val = resolve(config.data, "train", **common), resolve(config.data, "val", **common)
    if captions == "needed" and train.captions is None:
        raise UserError(
            f"--pair-with caption: {config.data} has no captions. They are read from wds: (.txt, or "
            "caption in .json) and csv: (a column caption); --pair-with auto takes prompts instead"
        )
    if not train.labelled:
        train, val = (_named(part, config, resumed) for part in (train, val))
    if config.train_images is not None:
        train = train.subset(config.train_images, config.split_seed)
    return train, val


def _named(part: ImageSet, config: TrainConfig, resumed: Checkpoint | None) -> ImageSet:
    """Images with captions alone, and classes and prompts for the head."""
    if resumed is not None:
        return replace(part, class_names=resumed.class_names, templates=resumed.templates)
    if part.class_names:
        return part
    if not config.ood:
        raise UserError(
            f"--data {config.data} has captions and no labels: name data with labels to evaluate on "
            "(--ood NAME=SPEC), whose classes the head then has, or write class names beside the "
            "captions (classnames.txt, one a line)"
        )
    spec = next(iter(config.ood.values()))
    named = resolve(spec, "eval", data_root=config.data_root, download=config.download)
    templates = part.templates if config.templates else named.templates
    return replace(part, class_names=named.class_names, templates=templates)


def check_ood(config: TrainConfig) -> None:
    """Read the sets that the run names for its evaluation: better now than after hours of training.

    Raises:
        UserError: Naming the set that cannot be read.
    """
    for name, spec in config.ood.items():
        try:
            _readable(spec, config.data_root, config.download)
        except UserError as error:
            raise UserError(f"--ood {name}={spec}: {error}") from None


@functools.cache  # a study's runs name the same sets, and listing 3.75 million files takes minutes
def _readable(spec: str, data_root: Path | None, download: bool) -> None:
    resolve(spec, "eval", data_root=data_root, download=download)


@dataclass(frozen=True)
class TrainingData:
    """What a run keeps of its images.

    Attributes:
        members: For the checkpoint.
        record: For ``config.yaml``: number and digest of the training images, number of test
            images, copies across the parts, and what had changed where a run was resumed anyway.
    """

    members: dict[str, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def training_data(
    config: TrainConfig, train: ImageSet, held_out: ImageSet, resumed: Checkpoint | None
) -> TrainingData:
    """Check the images against those that a resumed run began with, and count copies across parts.

    Raises:
        UserError: If images, labels or classes have changed since the run began; if the test part
            cannot be read.
    """
    changed = _changed(config, train, held_out, resumed) if resumed is not None else []
    for sentence in train.note.get("told", ()):
        warn(sentence)
    members = members_of(train, held_out, resumed.members if resumed is not None else {})
    test = _own_test(config, train)
    size = train.note["test_images"] if test is None else len(test)
    record: dict[str, Any] = {"members": summary(members), "test_images": size}
    if train.captions is not None:
        record["captions"] = _captions_digest(train)
    if changed:
        record["changed"] = changed
    if found := _copies(config, train, held_out, test):
        record["copies"] = found
    return TrainingData(members, record)


def _changed(
    config: TrainConfig, train: ImageSet, held_out: ImageSet, resumed: Checkpoint
) -> list[str]:
    """What has changed, where the user insists on going on."""
    if classes := class_changes(resumed.class_names, train.class_names):
        raise UserError(
            f"--resume: {config.run_dir} was trained on other classes: {'; '.join(classes)}. Bring "
            "the earlier ones back, or start another run (--out)"
        )
    found = (
        changes(train, held_out, resumed.members, resumed.class_names)
        if resumed.members
        else _changed_since_earlier_version(config, train)
    )
    if not found and train.captions is not None:
        before = where_began(config.run_dir, "data", "captions")
        if before != _captions_digest(train):
            found = ["captions of the training images are others"]
    if not found:
        return []
    if not config.resume_anyway:
        raise UserError(
            f"--resume: the data of {config.run_dir} changed since it began: {'; '.join(found)}. "
            "Bring the earlier data back, start another run (--out), or insist with --resume-anyway"
        )
    if distributed.first():
        say(f"warning: --resume-anyway: {'; '.join(found)}")
    return found


def _changed_since_earlier_version(config: TrainConfig, train: ImageSet) -> list[str]:
    """The same of a run that kept no list: its record has the number and the places of its
    images."""
    record = where_began(config.run_dir, "data", "train")
    if not isinstance(record, dict) or "ids_sha256" not in record:
        return ["the run keeps no record of its images, so they cannot be compared"]
    if record["ids_sha256"] == train.note.get("ids_sha256"):
        return []
    drawn = "split_seed" in train.note and "split_rule" not in record
    why = " (an earlier version drew its splits by another rule)" if drawn else ""
    return [f"it was trained on {record.get('images')} other images than today's {len(train)}{why}"]


def where_began(run_dir: Path, *keys: str) -> Any:
    """A value of the record in ``config.yaml``; ``None`` where there is none."""
    record: Any = read_yaml(run_dir / "config.yaml").get(RECORD)
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def _captions_digest(image_set: ImageSet) -> str:
    return digest_text(json.dumps(image_set.captions))


def _own_test(config: TrainConfig, train: ImageSet) -> ImageSet | None:
    """The test part, where it may share pixels with training images; ``None`` where it cannot.

    A test part that was drawn by pixels or names is not read: copies stay together. One that was
    drawn by files may have other files of the same pixels.
    """
    if "test:" in str(train.note.get("how", "")) and kind_of(train) != "file":
        return None
    return resolve(
        config.data, "test", data_root=config.data_root, seed=config.split_seed,
        download=config.download, captions=train.captions is not None,
        stream=config.shuffle_buffer is not None,
    )  # fmt: skip


def _copies(
    config: TrainConfig, train: ImageSet, held_out: ImageSet, test: ImageSet | None
) -> dict[str, int]:
    """How many images of the other parts are exact copies of training images, told in one line."""
    found = {}
    if test is not None:
        found["test"] = (copies(train, test), len(test))
    found["val"] = (copies(train, held_out), len(held_out))
    told = {part: pair for part, pair in found.items() if pair[0]}
    if told and distributed.first():
        text = some(f"{k:,} of {n:,} {part} images" for part, (k, n) in told.items())
        say(
            f"warning: {config.data}: {text} are exact copies of training images; evaluations "
            "leave them out"
        )
    return {part: k for part, (k, _) in told.items()}


def note_of(image_set: ImageSet) -> dict[str, Any]:
    """The record of a data set without its list of ids, which the digest stands for."""
    note = dict(image_set.note) | {"images": len(image_set)}
    if "subset" in note:
        note["subset"] = {name: value for name, value in note["subset"].items() if name != "ids"}
    return plain(note)
