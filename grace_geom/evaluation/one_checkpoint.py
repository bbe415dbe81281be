"""The evaluation of one checkpoint: what is known already, what is missing, ``eval.json`` after
every number.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grace_geom.checkpoint import Checkpoint, checkpoint_file
from grace_geom.data import ImageSet
from grace_geom.data.membership import Trained, unseen
from grace_geom.distributed import first, wait_for_all
from grace_geom.errors import UserError
from grace_geom.evaluation import identity
from grace_geom.evaluation.accuracy import evaluate_set, with_classes
from grace_geom.evaluation.adversarial import TransferImages, match
from grace_geom.evaluation.compiled import Compiled
from grace_geom.evaluation.image_sets import Sets
from grace_geom.evaluation.measures import Measures, Source, Target, short_name, targets
from grace_geom.evaluation.opening import open_with
from grace_geom.evaluation.outcomes import Gatherer
from grace_geom.evaluation.record_files import aside_of, other_data, record_file, set_aside
from grace_geom.evaluation.temperature import Temperature, held_out, held_out_temperature
from grace_geom.evaluation.transfer import Extras, transfers
from grace_geom.evaluation.watching import Silent, Watcher
from grace_geom.files import read_whole
from grace_geom.models import ClipClassifier
from grace_geom.provenance import provenance
from grace_geom.records import Accuracy, EvalRecord, NewerRecordError, RecordError, number
from grace_geom.terminal import say

HERE = Source()
NONE = Extras()


def assess(
    path: Path,
    measures: Measures,
    source: Source = HERE,
    *,
    sets: Sets | None = None,
    watcher: Watcher | None = None,
    fresh: bool = False,
    into: Path | None = None,
    kept_in: Callable[[Path], object] = lambda path: None,
    say: Callable[[str], object] = lambda text: None,
    extras: Extras = NONE,
) -> EvalRecord:
    """Evaluate a checkpoint and write its ``eval.json``, after every number, so that nothing is
    lost when stopped.

    Numbers of an earlier evaluation are kept where checkpoint and settings agree: those of the very
    same measurement (:mod:`~grace_geom.evaluation.identity`) are taken from there, unless
    ``fresh``; those on more or fewer images stay beside the new ones. Another ID data set or image
    size than the run's own has a file of its own (:func:`record_file`), and so has a checkpoint
    once it is read as another model (:func:`set_aside`).

    Args:
        path: A checkpoint or a run directory.
        measures: What to measure.
        source: Where the images are.
        sets: Share this between calls, and each data set is read once.
        watcher: Told about progress.
        fresh: Measure everything again.
        into: Keep the record there instead, as for a file in somebody else's folder.
        kept_in: Told where the record is kept.
        say: Told what became of an earlier record that does not belong to this one.
        extras: What is kept of each image, and adversarial images of other checkpoints.

    Raises:
        UserError: For a checkpoint or a data set that cannot be read, or that do not fit each
            other.
    """
    file = checkpoint_file(path)
    sets, watcher = sets or Sets(source.data_root, source.download), watcher or Silent()
    (model, checkpoint, data), sha = read_whole(file, lambda: _open(file, source, sets))
    config = checkpoint.config
    size = source.image_size or config.get("image_size") or model.image_size
    path = into or record_file(file, source.image_size, other_data(source, config))
    kept_in(path)
    wanted = targets(measures, data, config.get("ood"))
    _say_without_sets(measures, wanted, data, say)
    record = begin(file, sha, model, config, data, measures, size)
    assessed = _Assessed(model, checkpoint, data, size, measures, source, sets)
    asked = [(t, assessed.images(t)) for t in wanted]  # a missing one stops us here
    moved = assessed.moved(extras)
    temperature = assessed.temperature() if extras.calibration else None
    record, superseded = _with_earlier(path, record, wanted, measures.suites, say)
    known = () if fresh or extras.gather is not None else record.accuracies
    numbers = itertools.chain(
        measure(model, asked, known, measures, source, size, watcher, extras.gather, temperature),
        transfers(model, moved, size, measures.eval_batch, extras.gather),
    )
    return _written(numbers, record, path, superseded)


@dataclass(frozen=True)
class _Assessed:
    """A checkpoint with what its evaluation looks at."""

    model: ClipClassifier
    checkpoint: Checkpoint
    data: str
    size: int
    measures: Measures
    source: Source
    sets: Sets

    def images(self, target: Target) -> ImageSet:
        """Those of a target."""
        config = self.checkpoint.config
        given = self.checkpoint.templates if config.get("templates") else None
        return image_set_of(target, self.measures, self.sets, config, given, self.checkpoint)

    def moved(self, extras: Extras) -> list[TransferImages]:
        """Adversarial images of other checkpoints, with the ID test images that they belong to."""
        if not extras.transfer:
            return []
        own = Target("adv", short_name(self.data), self.data, "test", None, None)
        whole = self.images(own)
        return [match(stored, whole, own.name, self.size) for stored in extras.transfer]

    def temperature(self) -> Temperature:
        """That of the clean held-out images."""
        val = held_out(self.data, self.checkpoint, self.source, self.measures)
        batch, workers = self.measures.eval_batch, self.source.workers
        return held_out_temperature(self.model, val, self.size, batch, workers)


def _with_earlier(
    path: Path,
    record: EvalRecord,
    wanted: list[Target],
    suites: tuple[str, ...],
    say: Callable[[str], object],
) -> tuple[EvalRecord, list[Accuracy]]:
    """The record with what was found before, and what of that is superseded; a record of another
    model is set aside.
    """
    if first():
        set_aside(path, record, say)
    wait_for_all()
    earlier = _earlier(path, record)
    record = replace(record, accuracies=_kept(earlier, wanted, suites))
    return record, [a for a in earlier if a not in record.accuracies]


def _say_without_sets(
    measures: Measures, wanted: Sequence[Target], data: str, say: Callable[[str], object]
) -> None:
    """Warn of suites that were asked for and have no sets."""
    for suite in without_sets(measures, wanted):
        say(
            f"warning: --suites {suite}: no such sets are known for {data}, and nothing is measured "
            f"there; name them with --{suite.replace('_', '-')} NAME=SPEC"
        )


def _written(
    numbers: Iterable[tuple[Accuracy, bool]],
    record: EvalRecord,
    path: Path,
    superseded: Sequence[Accuracy],
) -> EvalRecord:
    """The record with all of these numbers, which was written after each new one."""
    for accuracy, new in numbers:
        if new:
            record = replace(
                record, accuracies=record.merged(replace(record, accuracies=(accuracy,)))
            ).summed()
            if first():
                record = record.merged_into(path, superseded, aside_of(path))
    return record.summed()


def without_sets(measures: Measures, wanted: Sequence[Target]) -> list[str]:
    """Suites that were asked for by name and give nothing; by default every suite is looked for."""
    if measures.suites == Measures.suites:
        return []
    there = {target.suite for target in wanted}
    return [suite for suite in measures.suites if suite not in there]


def measure(
    model: ClipClassifier,
    asked: Sequence[tuple[Target, ImageSet]],
    known: Sequence[Accuracy],
    measures: Measures,
    source: Source,
    image_size: int,
    watcher: Watcher,
    gather: Gatherer | None = None,
    temperature: Temperature | None = None,
) -> Iterator[tuple[Accuracy, bool]]:
    """The answer to each question in order, and whether it is new: those among ``known`` that are
    the same measurement are not, but for what earlier versions did not write down.
    """
    watcher.plan(len(asked))
    compiled = Compiled(source.compile)
    for target, image_set in asked:
        now = identity.measurement(
            model,
            image_set,
            target.suite,
            attack=target.attack,
            seed=measures.eval_seed,
            image_size=image_size,
        )
        old = answer(known, target, measures.eval_seed, image_set, now)
        if temperature is not None and old is not None and not _scaled(old, temperature):
            old = None
        if old is not None and source.compile == "off" and _compiled(old):
            old = None  # its numbers may differ by rounding from those asked for
        accuracy = old
        if old is not None and not old.labels:  # of an earlier version: no image is looked at again
            accuracy = with_classes(old, image_set)
        if accuracy is None:
            watcher.begin(target, len(image_set))
            found = evaluate_set(
                model,
                image_set,
                target.suite,
                target.name,
                attack=target.attack,
                seed=measures.eval_seed,
                batch_size=measures.eval_batch,
                image_size=image_size,
                workers=source.workers,
                progress=watcher.advance,
                gather=gather,
                temperature=temperature,
                compiled=compiled,
            )
            accuracy = replace(found, identity=now)
        watcher.end(accuracy, old is not None)
        yield accuracy, accuracy is not old
    compiled.end()


def _compiled(kept: Accuracy) -> bool:
    """Whether a part of its attack went through a compiler."""
    return any(part.get("compiled") for part in kept.parts)


def _scaled(kept: Accuracy, temperature: Temperature) -> bool:
    """Whether a kept number has calibration at this temperature, up to rounding."""
    known = number(kept.scores.get("temperature"))
    return known is not None and math.isclose(known, temperature.value, rel_tol=1e-4)


def _open(file: Path, source: Source, sets: Sets) -> tuple[ClipClassifier, Checkpoint, str]:
    """The model, its record, and the ID data set's SPEC."""
    if source.classes is not None and source.model is None:
        raise UserError("--classes is for foreign checkpoints: add --model NAME")
    if source.preprocess is not None and source.model is None:
        raise UserError("--preprocess is for foreign checkpoints: add --model NAME")
    return open_with(file, source, lambda spec: sets(spec, "test"), "evaluate it on")


def image_set_of(
    target: Target,
    measures: Measures,
    sets: Sets,
    config: Mapping[str, Any],
    templates: tuple[str, ...] | None = None,
    run: Trained | None = None,
) -> ImageSet:
    """The images of a target, without those that the run was trained on.

    Args:
        target: What is measured.
        measures: Subset and its seed.
        sets: The data sets.
        config: Settings of the training run: its split and data root.
        templates: Prompt templates that the run was given: text heads of its own task are made with
            them, wherever the head of the checkpoint does not fit a set. Zero-shot tasks keep their
            own.
        run: The checkpoint: what it was trained on is left out.

    Raises:
        UserError: For a set that cannot be read, or of which the run was trained on every image.
    """
    image_set = sets(
        target.spec, target.split, config.get("split_seed", 0), config.get("data_root")
    )
    if run is not None:
        image_set = unseen(image_set, run)
    if templates is not None and target.suite != "zeroshot":
        image_set = replace(image_set, templates=templates)
    return image_set.subset(target.n, measures.eval_seed) if target.n else image_set


def begin(
    file: Path,
    sha: str,
    model: ClipClassifier,
    config: dict[str, Any],
    data: str,
    measures: Measures,
    image_size: int,
) -> EvalRecord:
    """The record before anything is measured: which checkpoint, and what all its numbers share."""
    settings = {
        "data": data, "split_seed": config.get("split_seed", 0), "eval_seed": measures.eval_seed,
        "image_size": image_size, "model_image_size": model.image_size,
        "head": _head(model), "model": identity.of_model(model),
    }  # fmt: skip
    run = file.parent.name if file.name == "ckpt.pt" else file.stem
    method, seed = str(config.get("method", "")), config.get("seed")
    return EvalRecord(
        sha, run, method, seed, settings, accuracies=(), versions=provenance(model.device)
    )


def _head(model: ClipClassifier) -> dict[str, Any]:
    text = json.dumps([model.class_names, model.templates])
    return {
        "classes": len(model.class_names),
        "sha256": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def _earlier(file: Path, record: EvalRecord) -> tuple[Accuracy, ...]:
    """What an earlier evaluation of the same checkpoint with the same settings found.

    Raises:
        UserError: If a newer version wrote it: going on would lose what that found.
    """
    if not file.is_file():
        return ()
    try:
        return EvalRecord.load(file).merged(record)
    except NewerRecordError:
        raise
    except RecordError as error:
        if first():
            say(f"{error}: it is measured anew and replaced")
        return ()


def _kept(
    earlier: Sequence[Accuracy], wanted: list[Target], suites: tuple[str, ...]
) -> tuple[Accuracy, ...]:
    """Of what was found before: suites that this evaluation leaves out, and the same sets."""
    asked = {(target.suite, target.name, target.spec) for target in wanted}
    return tuple(a for a in earlier if a.suite not in suites or (a.suite, a.data, a.spec) in asked)


def question(target: Target, seed: int, classes: int) -> tuple[str, str, str]:
    """What a target asks, as :attr:`Accuracy.question` has it; ``classes`` are those of its data
    set.
    """
    settings = target.attack.settings(seed, classes) if target.attack else None
    return target.suite, target.name, json.dumps(settings, sort_keys=True)


def answer(
    known: Iterable[Accuracy],
    target: Target,
    seed: int,
    image_set: ImageSet,
    now: identity.Identity | None = None,
) -> Accuracy | None:
    """The number among ``known`` that was measured on these images, with these labels, names,
    prompts and this attack.

    Args:
        known: Accuracies of one checkpoint.
        target: The question.
        seed: Of the attack.
        image_set: The images.
        now: Identity of the whole measurement; by default that of the question alone, where the
            checkpoint is known to be the same.

    A number without an identity, as earlier versions wrote it, answers nothing.
    """
    now = now or identity.asked(image_set, target.suite, attack=target.attack, seed=seed)
    which = question(target, seed, len(image_set.class_names))
    found = [a for a in known if a.question == which and identity.same(a.identity, now)]
    return found[-1] if found else None
