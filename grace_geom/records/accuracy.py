"""One accuracy, with everything that is needed to trust it and to compare it."""

import base64
import binascii
import functools
import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from grace_geom.records.schema import Plain, RecordError

SUITES = ("id", "ood", "adv", "natural_adv", "zeroshot")


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on one data set, clean or under one attack.

    Attributes:
        suite: One of ``SUITES``.
        data: Name of the data set within its suite.
        spec: The SPEC that it was read from.
        n: Images.
        correct: Right answers; under an attack, images that are right without it and under every
            part of it.
        accuracy: ``correct / n``, in [0, 1].
        ci_low, ci_high: Wilson 95 % interval.
        seconds: Wall time of this number.
        head: How logits became an answer: the checkpoint's head, some of its classes, or a text
            head of its own.
        attack: Settings of the attack: ``name``, ``eps``, ``norm``, ``precision``, ``seed``, and
            ``parts`` with loss, steps, restarts and alpha of each; ``source`` where the adversarial
            images were made for another checkpoint; ``None`` for a clean accuracy.
        parts: What each part of the attack did: ``name``, ``attacked``, ``robust`` with ``ci_low``
            and ``ci_high``, ``forwards`` (images sent through the model), ``seconds``, ``outcomes``
            (as below: who stood after it).
        subset: Which images: ``of``, ``seed``, ``ids_sha256``, ``content`` (digest of images,
            labels, class names), ``templates`` (one of the prompt templates), and ``ids`` where a
            part of the set was drawn.
        outcomes: Right or wrong for each image in order, as base64 of packed bits: see
            :meth:`right`.
        notes: Sentences that a reader of the number must see.
        groups: The parts of a set that has some (ImageNet-C: ``corruption/severity``), each with
            ``name``, ``n``, ``correct``, ``accuracy``, ``ci_low``, ``ci_high``; a part that no
            image was drawn from has no entry.
        identity: Digests of all that the number depends on, by name, as
            :mod:`grace_geom.evaluation.identity` makes them; empty in records of earlier versions,
            which nobody can tell to be the same as anything.
        class_names: Of the data set, in label order; empty in records of earlier versions.
        labels: Class of each image in order, packed: see :meth:`label_of_each`.
        predictions: Class that the model answered for each image in order, packed; under an attack
            that for its adversarial image: see :meth:`prediction_of_each`.
        metric: ``mean-per-class`` where papers report that for this data set, else empty: top-1.
        scores: Calibration, where it was asked for: ``plain`` and ``scaled``, each as
            :func:`grace_geom.records.calibration.scores` gives it; ``temperature`` of the latter,
            fitted on ``held_out`` images.
    """

    suite: str
    data: str
    spec: str
    n: int
    correct: int
    accuracy: float
    ci_low: float
    ci_high: float
    seconds: float
    head: str = ""
    attack: Plain | None = None
    parts: tuple[Plain, ...] = ()
    subset: Plain = field(default_factory=dict)
    outcomes: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[Plain, ...] = ()
    identity: Plain = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    labels: str = ""
    predictions: str = ""
    metric: str = ""
    scores: Plain = field(default_factory=dict)

    @property
    def attack_name(self) -> str:
        """``apgd-ce`` and the like; empty for a clean accuracy."""
        return str(self.attack["name"]) if self.attack else ""

    @property
    def transferred(self) -> bool:
        """Whether the adversarial images were made for another checkpoint."""
        return bool(self.attack and self.attack.get("source"))

    @cached_property
    def question(self) -> tuple[str, str, str]:
        """What was asked, whatever the images: suite, data set, attack settings. A record has one
        answer to each on every :attr:`sample` of images.
        """
        return self.suite, self.data, json.dumps(self.attack, sort_keys=True)

    @property
    def sample(self) -> tuple[str, int, str]:
        """Which images: the set's SPEC, how many of them, and the digest of their numbers there."""
        return self.spec, self.n, str(self.subset.get("ids_sha256", ""))

    def replaces(self, older: "Accuracy") -> bool:
        """Whether nobody needs an older number beside this one: it answers the same question on the
        same images, or one about a set that has other contents, names or prompts by now.
        """
        if (self.question, self.sample) == (older.question, older.sample):
            return True
        mine, theirs = (
            {name: text for name, text in a.identity.items() if name not in ("images", "attack")}
            for a in (self, older)
        )
        same_set = (self.suite, self.data) == (older.suite, older.data)
        return same_set and mine != theirs

    def right(self) -> np.ndarray:
        """``(n,)`` bool, image by image, for paired tests.

        Raises:
            RecordError: If the file holds no outcomes, too few, or none that can be read.
        """
        try:
            right = outcomes_of(self.outcomes, self.n)
        except ValueError:  # not base64
            right = np.zeros(0, dtype=bool)
        if len(right) < self.n:
            raise RecordError(
                f"{self.suite}/{self.data}: the record holds no outcome for each image; evaluate "
                "again"
            )
        return right

    def label_of_each(self) -> np.ndarray:
        """``(n,)`` int64, indices into ``class_names``.

        Raises:
            RecordError: If the record has none.
        """
        return self._each(self.labels, "label")

    def prediction_of_each(self) -> np.ndarray:
        """``(n,)`` int64, indices into ``class_names``.

        Raises:
            RecordError: If the record has none.
        """
        return self._each(self.predictions, "prediction")

    def _each(self, packed: str, what: str) -> np.ndarray:
        found = numbers_of(packed, self.n)
        if len(found) < self.n:
            raise RecordError(
                f"{self.suite}/{self.data}: the record holds no {what} for each image; evaluate "
                "again with --fresh"
            )
        return found

    def paired_with(self, other: "Accuracy") -> bool:
        """Whether both saw the same images in the same order."""
        mine, theirs = self.subset.get("ids_sha256"), other.subset.get("ids_sha256")
        contents = {some.subset["content"] for some in (self, other) if "content" in some.subset}
        same = self.spec == other.spec and self.n == other.n and len(contents) < 2
        return same and mine is not None and mine == theirs


def outcomes_of(packed: str, n: int) -> np.ndarray:
    """The inverse of :func:`pack`: ``(n,)`` bool, or fewer where so many are not there."""
    return _unpacked(packed, n).copy()


@functools.lru_cache(maxsize=64)  # of the sets of a few runs, which are asked for in each column
def _unpacked(packed: str, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8))[:n].astype(bool)


def pack(right: np.ndarray) -> str:
    """Bool ``(n,)`` as base64 of packed bits."""
    return base64.b64encode(np.packbits(np.asarray(right, dtype=bool)).tobytes()).decode("ascii")


def pack_numbers(numbers: np.ndarray) -> str:
    """Whole numbers ``(n,)`` from 0 as base64 of compressed little-endian int32."""
    plain = np.ascontiguousarray(numbers, dtype="<i4").tobytes()
    return base64.b64encode(zlib.compress(plain)).decode("ascii")


def numbers_of(packed: str, n: int) -> np.ndarray:
    """The inverse of :func:`pack_numbers`: ``(n,)`` int64, or none where they are not exactly so
    many, or not legible.
    """
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(packed, validate=True), 4 * n + 1)
    except (binascii.Error, ValueError, zlib.error):
        data = b""
    if len(data) != 4 * n:
        return np.zeros(0, np.int64)
    return np.frombuffer(data, "<i4").astype(np.int64)
