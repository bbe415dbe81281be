"""One checkpoint, opened, with the images that it is analysed on."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grace_geom.analysis.objective import Objective, objective
from grace_geom.analysis.options import Common
from grace_geom.batch import Batch
from grace_geom.checkpoint import Checkpoint, checkpoint_file, open_base
from grace_geom.data import ImageSet, Split, loader, resolve, suites
from grace_geom.data.membership import unseen
from grace_geom.distributed import first, my_batches, world
from grace_geom.errors import UserError
from grace_geom.evaluation import identity
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.evaluation.opening import open_with
from grace_geom.files import read_whole
from grace_geom.models import ClipClassifier
from grace_geom.records.places import label_of
from grace_geom.records.used_images import UsedImages
from grace_geom.terminal import say
from grace_geom.weights import Weights


@dataclass(frozen=True, eq=False)
class Subject:
    """What an analysis is given.

    Attributes:
        label: How figures and tables call the checkpoint.
        file: The checkpoint's file.
        sha256: Of that file.
        model: The classifier at its weights, in the asked precision, in eval mode.
        checkpoint: Its record.
        data: SPEC of the ID data.
        options: The analysis' options.
        used: SPEC and split -> images that were taken of it so far.
    """

    label: str
    file: Path
    sha256: str
    model: ClipClassifier
    checkpoint: Checkpoint
    data: str
    options: Common
    used: dict[tuple[str, Split], UsedImages] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What a result records of the checkpoint."""
        method = str(self.checkpoint.config.get("method", ""))
        return {
            "label": self.label,
            "path": str(self.file),
            "sha256": self.sha256,
            "method": method,
            "seed": self.checkpoint.config.get("seed"),
        }

    @property
    def image_size(self) -> int:
        """Side of the images in pixels, in which eps is measured: the run's ``--image-size``, else
        the model's.
        """
        return int(self.checkpoint.config.get("image_size") or self.model.image_size)

    def images(self, spec: str | None = None, split: Split = "test", suite: str = "id") -> ImageSet:
        """The seeded subset of the ID test split, or of another set, of images that the run was not
        trained on.

        Prompts are those that the run was given, if any; zero-shot tasks keep their own.

        Raises:
            UserError: If it was trained on all of them.
        """
        config = self.checkpoint.config
        whole = resolve(
            spec or self.data,
            split,
            data_root=self.options.data_root or config.get("data_root"),
            seed=config.get("split_seed", 0),
        )
        whole = unseen(whole, self.checkpoint)
        for sentence in whole.note.get("told", ()):
            _tell(sentence)
        if config.get("templates") and suite != "zeroshot":
            whole = replace(whole, templates=self.checkpoint.templates)
        found = whole.subset(self.options.n, self.options.seed)
        self.used[spec or self.data, split] = UsedImages(len(found), identity.of_sample(found))
        return found

    def samples(self) -> dict[str, UsedImages]:
        """Images that were used, by the set's name (``id``, or as in :meth:`ood`), else by SPEC."""
        names: dict[tuple[str, Split], list[str]] = {(self.data, "test"): ["id"]}
        for name, spec in self.ood().items():
            names.setdefault((spec, "eval"), []).append(name)
        found: dict[str, UsedImages] = {}
        for (spec, split), sample in self.used.items():
            other = f"{spec} (train)" if split == "train" else spec
            found |= dict.fromkeys(names.get((spec, split), [other]), sample)
        return found

    def train_count(self) -> int:
        """How many images the run was trained on, whatever data it is analysed on: its own limit,
        or all of the training split.

        Raises:
            UserError: If the data set has no training split.
        """
        config, members = self.checkpoint.config, self.checkpoint.members
        if members:
            return len(members["keys"])
        whole = resolve(
            config.get("data") or self.data, "train", data_root=self.options.data_root or config.get("data_root"),
            seed=config.get("split_seed", 0), val_fraction=config.get("val_fraction", 0.1),
        )  # fmt: skip
        return min(len(whole), config.get("train_images") or len(whole))

    def ood(self) -> dict[str, str]:
        """OOD sets by name: the option's, else the run's, else those known of the data.

        Raises:
            UserError: If the run gave one the name of another domain, whose numbers it would take.
        """
        own: dict[str, str] = self.checkpoint.config.get("ood") or suites(self.data)["ood"]
        if not self.options.ood and (taken := {"id", "adv"} & own.keys()):
            raise UserError(
                f"{self.file}: the run calls an OOD set {sorted(taken)[0]}, which is the name of the "
                "data's own domain: name its sets anew with --ood NAME=SPEC"
            )
        return self.options.ood or own

    def batches(self, image_set: ImageSet, positions: np.ndarray | None = None) -> list[Batch]:
        """The images in a fixed order, on the model's device and in its precision.

        Args:
            image_set: The images.
            positions: Which of them, by default all; a batch's ``index`` still counts in the whole
                set, so that random starts do not depend on what is left out.
        """
        if positions is None:
            positions = np.arange(len(image_set))
        if not len(positions):
            return []
        inputs = self.model.preprocess.at(self.image_size)
        part, device = image_set.take(positions), self.model.device
        read = loader(part, self.options.batch, inputs, train=False, workers=None, device=device)
        whole = torch.from_numpy(positions).to(device)
        return [
            replace(b, images=b.images.to(self.model.mean.dtype), index=whole[b.index])  # type: ignore[arg-type]
            for b in read
        ]

    def logits(self, image_set: ImageSet, suite: str = "id") -> Callable[[Tensor, Weights], Tensor]:
        """``(images, weights) -> logits`` in the order of the set's labels."""
        reader = reader_for(self.model, image_set, suite)
        own = reader.model is self.model

        def answer(images: Tensor, weights: Weights) -> Tensor:
            """Logits of images at some weights, with the text head of these images."""
            # A text head of other classes must not be overwritten by the checkpoint's, which
            # `weights` may hold.
            at = (
                weights
                if own
                else {name: w for name, w in weights.items() if not name.startswith("head.")}
            )
            return replace(reader, weights=at)(images)

        return answer

    def objective(
        self,
        spec: str | None = None,
        split: Split = "test",
        attacked: bool | None = None,
        unit: int | None = None,
    ) -> Objective:
        """The mean loss that the options ask for, on the ID sample or on another set.

        Of several processes each holds, and attacks, its share of the batches; the mean is over all
        of them.

        Args:
            spec: Another data set.
            split: Its part.
            attacked: Whether images are attacked; by default as the options say.
            unit: Consecutive images that stay in one process; a batch by default.

        Raises:
            UserError: If the head shall vary, but the set is answered by a text head of its own
                classes.
        """
        options, image_set = self.options, self.images(spec, split)
        n, shared = len(image_set), world().size > 1
        found = objective(
            self.model,
            self.logits(image_set),
            self.batches(image_set, my_batches(n, unit or options.batch)),
            options.params,
            self.checkpoint.adapter,
            self._adapter_scale(),
            n if shared else None,
            self._whole(),
            lambda: self.base.weights(),
        )
        varies = options.params == "text" or any(name.startswith("head.") for name in found.weights)
        if varies and reader_for(self.model, image_set).model is not self.model:
            raise UserError(
                f"--params {options.params}: {image_set.spec} has other classes than the "
                "checkpoint's head, which takes no part in its loss; use --params visual, or data "
                "of the checkpoint's classes"
            )
        if attacked if attacked is not None else options.loss == "adv-ce":
            return found.attacked(options.eps, options.alpha, options.attack_steps, options.seed)
        return found

    @cached_property
    def base(self) -> ClipClassifier:
        """The pretrained model that the run started from, in the same precision."""
        return open_base(self.checkpoint, self.model.device).to(self.model.mean.dtype).eval()  # type: ignore[arg-type]

    def before(self, now: Weights) -> Weights:
        """The pretrained values of weights that vary.

        Raises:
            UserError: If some have none (learned prompt tokens).
        """
        own = self.base.weights()
        if new := sorted(now.keys() - own.keys()):
            raise UserError(
                f"{self.file}: {', '.join(new)} has no pretrained value to be compared with; leave "
                "it out with "
                r"--params '^visual\.(?!prompt)'"
            )
        return {name: own[name] for name in now}

    def _whole(self) -> str | None:
        """Pattern of the matrices that trained whole where factors could have."""
        config = self.checkpoint.config
        return str(config["targets"]) if config.get("adapter") == "full" else None

    def _adapter_scale(self) -> float:
        config = self.checkpoint.config
        return 2.0 if config.get("lora_alpha") is None else config["lora_alpha"] / config["r"]


@functools.cache  # once a process, however often the set is read
def _tell(sentence: str) -> None:
    if first():
        say(sentence)


def sets_of(subject: Subject) -> list[tuple[str, Split, str]]:
    """SPEC, part and suite of all images that an analysis of a checkpoint may read."""
    sets: list[tuple[str, Split, str]] = [(subject.data, s, "id") for s in subject.options.splits()]
    sets += [(spec, "eval", "ood") for spec in subject.ood().values()]
    zeroshot = subject.options.zeroshot_sets(subject.data).values()
    return sets + [(spec, "eval", "zeroshot") for spec in zeroshot]


def contents_of(subject: Subject) -> dict[str, Any]:
    """All that an analysis of a checkpoint may read, as digests: the model as it was loaded, the
    weights that it was tuned from, its record, and the images by SPEC.

    A set that cannot be read counts as absent; the analysis that needs it will say so.
    """
    images: dict[str, Any] = {}
    for spec, split, suite in sets_of(subject):
        name = f"{spec} {split}" + " zeroshot" * (suite == "zeroshot")
        try:
            images[name] = identity.of_images(subject.images(spec, split, suite))
        except UserError:
            images[name] = "absent"
    return {
        "file": subject.sha256,
        "model": identity.of_model(subject.model),
        "base": subject.checkpoint.base.get("sha256", ""),
        "images": images,
    }


MOST_HELD = 2**32
"""Bytes of weights of other checkpoints that are held while an analysis runs; more are read again
when they are needed.
"""


@dataclass
class _Read:
    """The checkpoints that several parts of an analysis read.

    Attributes:
        shared: Their files.
        held: Opened ones, with the digest of their weights.
        first: SHA-256 of each file as it was read first.
    """

    shared: frozenset[Path]
    held: dict[Any, tuple[Subject, str]] = field(default_factory=dict)
    first: dict[Any, str] = field(default_factory=dict)


_reading: ContextVar[_Read | None] = ContextVar("_reading", default=None)


@contextlib.contextmanager
def read_once(files: Iterable[Path]) -> Iterator[None]:
    """Within, :func:`open_subject` reads each of these checkpoints once, so that all parts of an
    analysis see one state of a file that a training may replace meanwhile.
    """
    token = _reading.set(_Read(frozenset(checkpoint_file(path).resolve() for path in files)))
    try:
        yield
    finally:
        _reading.reset(token)


def labels_of(files: Sequence[Path]) -> list[str]:
    """A label for each; equal ones are told apart by the folder above.

    Raises:
        UserError: If a checkpoint is named twice.
    """
    for i, file in enumerate(files):
        if file.resolve() in [other.resolve() for other in files[:i]]:
            raise UserError(f"{file} is named twice")
    names = [label_of(file) for file in files]
    if len(set(names)) == len(names):
        return names
    longer = [
        f"{file.resolve().parent.parent.name}/{name}"
        for file, name in zip(files, names, strict=True)
    ]
    return longer if len(set(longer)) == len(longer) else [str(file) for file in files]


def open_subject(file: Path, label: str, options: Common) -> Subject:
    """Open a checkpoint, ours or a foreign one, as the options say; see :func:`read_once`.

    Raises:
        UserError: If it cannot be read, does not say what it was trained on and the options do not
            either, or was replaced since this analysis first read it.
    """
    reading = _reading.get()
    if reading is None or file.resolve() not in reading.shared:
        return _opened(file, label, options)
    how = (options.device, options.model, options.pretrained, options.classes, options.dtype)
    key = (file.resolve(), options.data, options.data_root, options.weights, *how)
    if key in reading.held:
        subject, weights = reading.held[key]
        if identity.of_model(subject.model)["weights"] == weights:
            return replace(subject, label=label, options=options)
    subject = _opened(file, label, options)
    if reading.first.setdefault(file.resolve(), subject.sha256) != subject.sha256:
        raise UserError(
            f"{file} was replaced while it was analysed: wait until nobody writes it, or give a "
            "copy"
        )
    held = [s.model for s, _ in reading.held.values()]
    if sum(_bytes(m) for m in [*held, subject.model]) <= MOST_HELD:
        reading.held[key] = (subject, identity.of_model(subject.model)["weights"])
    return subject


def _bytes(model: ClipClassifier) -> int:
    return sum(w.nbytes for w in model.clip.state_dict().values())


def _opened(file: Path, label: str, options: Common) -> Subject:
    def test_set(spec: str) -> ImageSet:
        return resolve(spec, "test", data_root=options.data_root)

    (model, checkpoint, data), sha = read_whole(
        file, lambda: open_with(file, options, test_set, "analyse it on")
    )
    model = model.to(getattr(torch, options.dtype)).eval()
    return Subject(label, file, sha, model, checkpoint, data, options)
