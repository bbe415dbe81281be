"""The images of a run: what it keeps of them, and whether they are still those it began with."""

import sys
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from grace_geom import distributed
from grace_geom.checkpoint import Checkpoint
from grace_geom.cli import RECORD
from grace_geom.config import TrainConfig
from grace_geom.data import ImageSet, resolve
from grace_geom.data.keys import kind_of
from grace_geom.data.membership import changes, class_changes, copies, members_of, some, summary
from grace_geom.data.text import warn
from grace_geom.errors import UserError
from grace_geom.serialise import plain, read_yaml


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
    if not found:
        return []
    if not config.resume_anyway:
        raise UserError(
            f"--resume: the data of {config.run_dir} changed since it began: {'; '.join(found)}. "
            "Bring the earlier data back, start another run (--out), or insist with --resume-anyway"
        )
    if distributed.first():
        print(f"warning: --resume-anyway: {'; '.join(found)}", file=sys.stderr)
    return found


def _changed_since_earlier_version(config: TrainConfig, train: ImageSet) -> list[str]:
    """The same of a run that kept no list: its record has the number and the places of its
    images."""
    path = config.run_dir / "config.yaml"
    record: Any = read_yaml(path).get(RECORD)
    for key in ("data", "train"):
        record = record.get(key) if isinstance(record, dict) else None
    if not isinstance(record, dict) or "ids_sha256" not in record:
        return ["the run keeps no record of its images, so they cannot be compared"]
    if record["ids_sha256"] == train.note.get("ids_sha256"):
        return []
    drawn = "split_seed" in train.note and "split_rule" not in record
    why = " (an earlier version drew its splits by another rule)" if drawn else ""
    return [f"it was trained on {record.get('images')} other images than today's {len(train)}{why}"]


def _own_test(config: TrainConfig, train: ImageSet) -> ImageSet | None:
    """The test part, where it may share pixels with training images; ``None`` where it cannot.

    A test part that was drawn by pixels or names is not read: copies stay together. One that was
    drawn by files may have other files of the same pixels.
    """
    if "test:" in str(train.note.get("how", "")) and kind_of(train) != "file":
        return None
    return resolve(
        config.data, "test", data_root=config.data_root, seed=config.split_seed,
        download=config.download,
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
        print(
            f"warning: {config.data}: {text} are exact copies of training images; evaluations "
            "leave them out",
            file=sys.stderr,
        )
    return {part: k for part, (k, _) in told.items()}


def note_of(image_set: ImageSet) -> dict[str, Any]:
    """The record of a data set without its list of ids, which the digest stands for."""
    note = dict(image_set.note) | {"images": len(image_set)}
    if "subset" in note:
        note["subset"] = {name: value for name, value in note["subset"].items() if name != "ids"}
    return plain(note)
