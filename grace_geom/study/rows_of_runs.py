"""From the runs of a study to its rows."""

from collections.abc import Mapping, Sequence

from grace_geom.methods import method_class
from grace_geom.records import EvalRecord
from grace_geom.study.estimate import stops_early
from grace_geom.study.execute import training_seconds
from grace_geom.study.options import Job, StudyOptions
from grace_geom.study.rows import Row
from grace_geom.study.state import StudyState


def rows_of(
    options: StudyOptions,
    state: StudyState,
    jobs: Sequence[Job],
    records: Mapping[str, EvalRecord],
    errors: Mapping[str, str],
) -> list[Row]:
    """The study's rows, in the order of its methods.

    Args:
        options: The study.
        state: What its methods cost.
        jobs: Its runs.
        records: The evaluations of those that are finished, by name.
        errors: Why others are not.
    """
    found = []
    for label in options.labels():
        own = [job for job in jobs if job.label == label]
        trains = method_class(label.partition(":")[0]).trains
        failed = [f"seed {job.seed}: {errors[job.name]}" for job in own if job.name in errors]
        seconds = [
            s
            for job in own
            if job.name in records and (s := training_seconds(job.folder)) is not None
        ]
        timed = state.probes.get(label)
        found.append(
            Row(
                label,
                {job.seed: records[job.name] for job in own if job.name in records},
                trains,
                "; ".join(failed),
                seconds if trains else (),
                timed.cost if timed and trains else None,
                own[0].config.build_method().lr if trains else None,
                stops_early(own[0].config.build_method()),
                timed.steps if timed and trains else None,
            )
        )
    return found
