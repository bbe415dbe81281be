"""Whether a result still answers for a checkpoint, without building its model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from grace_geom.analysis.options import Common
from grace_geom.analysis.subject import Subject, labels_of, sets_of
from grace_geom.checkpoint import checkpoint_file, trained_on
from grace_geom.errors import UserError
from grace_geom.files import sha256
from grace_geom.models import ClipClassifier
from grace_geom.provenance import installed
from grace_geom.records import RecordError, Result
from grace_geom.records.used_images import UsedImages


def stored_result(path: Path) -> Result | None:
    """The result that lies there; ``None`` where there is none, or none that can be read."""
    try:
        return Result.load(path) if path.is_file() else None
    except RecordError:  # it is written again
        return None


def is_current(result: Result | None, options: Common, file: Path, label: str, sha: str) -> bool:
    """Whether a result holds what these options would find on a checkpoint now: what
    :func:`answers` compares, and the same images.

    Args:
        result: What lies there.
        options: Of the analysis.
        file: The checkpoint.
        label: How the result calls it.
        sha: SHA-256 of the checkpoint.
    """
    if result is None or not answers(result, options, label, sha):
        return False
    record = _record(result, label)
    used = {name: UsedImages(*which) for name, which in record.get("images", {}).items()}
    try:
        found = _samples(options, file, label, sha)
    except UserError:  # the analysis says what is wrong
        return False
    return all(found.get(name) == images for name, images in used.items())


def answers(result: Result, options: Common, label: str, sha: str) -> bool:
    """Whether a result has a checkpoint, with the same settings, the same bytes of it and of those
    that it is compared with, and the same version of this package; no image is looked at.

    Args:
        result: What lies there.
        options: Of the analysis.
        label: How the result calls the checkpoint.
        sha: SHA-256 of the checkpoint.
    """
    record, part = _record(result, label), result.parts.get(label)
    if result.settings != options.settings() or record.get("sha256") != sha:
        return False
    if part is None or part.not_measured:
        return False
    if result.versions.get("grace_geom") != installed("grace_geom"):
        return False
    others = [checkpoint_file(path) for path in options.others()]
    now = {name: sha256(path) for name, path in zip(labels_of(others), others, strict=True)}
    return bool(record.get("others", {}) == now)


def _record(result: Result, label: str) -> Mapping[str, Any]:
    return next((r for r in result.checkpoints if r.get("label") == label), {})


def _samples(options: Common, file: Path, label: str, sha: str) -> dict[str, UsedImages]:
    """The images that an analysis of a checkpoint would take now, by the set's name; a set that
    cannot be read is left out.
    """
    checkpoint = trained_on(file)
    no_model = cast(ClipClassifier, None)  # images are chosen without one
    data = options.data or str(checkpoint.config["data"])
    subject = Subject(label, file, sha, no_model, checkpoint, data, options)
    for spec, split, suite in sets_of(subject):
        try:
            subject.images(spec, split, suite)
        except UserError:
            continue
    return subject.samples()
