"""Learning rates of a study: short runs that try them, and which of them is best."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from grace_geom.config import TrainConfig, make_config
from grace_geom.files import folder_name
from grace_geom.methods import method_class
from grace_geom.study.options import Job, StudyOptions, settings_of


def best_rate(tried: Mapping[str, float | None]) -> float | None:
    """The rate with the highest held-out score, the smaller one of equals; ``None`` if every trial
    failed.
    """
    known = [(accuracy, -float(rate)) for rate, accuracy in tried.items() if accuracy is not None]
    return -max(known)[1] if known else None


def beyond(rates: Sequence[float], best: float | None) -> float | None:
    """The next rate past the edge of a grid at which its best lies, by the ratio of the last two
    there.

    ``None`` where the best is inside, or the grid is a single rate and has no inside.
    """
    ordered = sorted(rates)
    if best is None or len(ordered) < 2:
        return None
    if f"{best:.6g}" == f"{ordered[-1]:.6g}":
        return ordered[-1] ** 2 / ordered[-2]
    return ordered[0] ** 2 / ordered[1] if f"{best:.6g}" == f"{ordered[0]:.6g}" else None


def trials_of(
    options: StudyOptions,
    steps: Mapping[str, int],
    tried: Mapping[str, Mapping[str, float | None]] | None = None,
) -> dict[str, dict[float, TrainConfig]]:
    """Short runs with each learning rate, for each row that trains: ``label -> rate -> settings``.

    A method that trains on attacked images is chosen by the harmonic mean of held-out clean and
    PGD-10 accuracy: clean accuracy alone would choose the rate at which it learns least of what it
    is for.

    Args:
        options: The study.
        steps: Optimiser steps of a whole run, by label.
        tried: Scores so far: a grid whose best rate lies at its edge gets one more (``lr_extend``).
    """
    found: dict[str, dict[float, TrainConfig]] = {}
    for label in options.labels():
        if not method_class(label.partition(":")[0]).trains:
            continue
        values = settings_of(options, label, options.seeds[0])
        recorded = make_config(values, f"--methods {label}").build_method().lr
        length = max(1, round(options.trial_share * steps.get(label, 1)))
        rates, known = options.rates(recorded), (tried or {}).get(label, {})
        if options.lr_extend and all(f"{rate:.6g}" in known for rate in rates):
            more = beyond(rates, best_rate({f"{rate:.6g}": known[f"{rate:.6g}"] for rate in rates}))
            rates += (more,) if more is not None else ()
        for rate in rates:
            folder = options.out / "trials" / f"{folder_name(label)}-lr{rate:.3g}"
            trial = values | {"lr": rate, "max_steps": length, "epochs": None, "out": folder}
            trial |= {"report_to": ()}
            config = make_config(trial, f"--methods {label}")
            attacked = "eps" in {f.name for f in fields(config.build_method())}
            # held-out numbers at the end only; under attack where the method trains for that
            found.setdefault(label, {})[rate] = replace(config, eval_every=0, val_pgd=10 * attacked)
    return found


def as_jobs(trials: Mapping[str, Mapping[float, TrainConfig]]) -> list[Job]:
    """A job for every learning rate to try, by label."""
    return [
        Job(label, config.seed, config)
        for label, tried in trials.items()
        for config in tried.values()
    ]
