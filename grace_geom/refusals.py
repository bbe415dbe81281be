"""What a command line is refused for before torch is imported: names and paths that lead nowhere.

The checks are those of the rooms that use the values, which make them again; here they come sooner.
What they need is imported when they are asked: ``--help`` needs none of it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from grace_geom.errors import UserError, nearest
from grace_geom.world import asked_for

NAMED_SETS = ("ood", "natural_adv", "zeroshot")
"""Suites whose sets a command line may name."""


def refuse_several(command: str, instead: str = "") -> None:
    """Refuse to run in several processes what is not shared out: each would do all of it, on one
    GPU and in one file.

    Args:
        command: Its name.
        instead: Another way to use several GPUs.

    Raises:
        UserError: If torchrun started several processes.
    """
    if asked_for() > 1:
        more = f" ({instead})" if instead else ""
        raise UserError(f"{command} runs in one process: start it without torchrun{more}")


def check_suites(suites: Collection[str]) -> None:
    """Refuse suites that there are none of.

    Raises:
        UserError: With the nearest names, or all where none is given.
    """
    from grace_geom.records.accuracy import SUITES

    if not suites:
        raise UserError(f"--suites is empty: name some of {', '.join(SUITES)}")
    for suite in suites:
        if suite not in SUITES:
            raise UserError(f"--suites: unknown suite {suite!r}; {nearest(suite, SUITES)}")


def check_checkpoints(values: Mapping[str, Any]) -> None:
    """Refuse checkpoints and run directories that are not there, and files that hold no weights.

    Args:
        values: Of the options, by field: ``checkpoints``, ``checkpoint`` or ``run``.

    Raises:
        UserError: Naming the first one.
    """
    from grace_geom.records.heads import check_weights
    from grace_geom.records.places import checkpoint_file

    one = [values[name] for name in ("checkpoint", "run") if name in values]
    for path in (*one, *values.get("checkpoints", ())):
        check_weights(checkpoint_file(path))


def check_leading(tokens: Sequence[str]) -> None:
    """:func:`check_checkpoints` of the arguments before the first flag, where a command takes
    checkpoints there.
    """
    check_checkpoints({"checkpoints": tokens})


def check_training(values: Mapping[str, Any]) -> None:
    """Refuse data that are not there, and files of pretrained weights that hold none.

    Args:
        values: Of the options, by field: ``data``, ``data_root``, ``pretrained`` and
            ``pretrained_base``, of which the latter may be missing.

    Raises:
        UserError: Naming the first one.
    """
    from grace_geom.records.heads import check_weights

    check_data(values)
    for name in ("pretrained", "pretrained_base"):
        given = values.get(name)
        if given is not None and Path(given).is_file():  # else a tag, or a folder
            check_weights(Path(given), arrays=True)


def check_evaluation(values: Mapping[str, Any]) -> None:
    """Refuse checkpoints that are not there, suites that there are none of, and data sets that
    cannot be found.

    A relative file without ``--data-root`` may lie below the data root of the training run, which
    only the checkpoint tells: it is left to the evaluation.

    Args:
        values: Of the options, by field: those of ``Measures``, ``data`` and ``data_root``, and
            what :func:`check_checkpoints` takes.

    Raises:
        UserError: Naming the first one.
    """
    check_suites(values["suites"])
    check_checkpoints(values)
    surely = values["data_root"] is not None
    if values["data"] is not None and {"id", "adv"} & set(values["suites"]):
        check_data(values, surely=surely)
    _check_named(values, surely)


def check_study(values: Mapping[str, Any]) -> None:
    """Refuse suites that there are none of, data sets that cannot be found, and checkpoints that
    are not there or hold no weights.

    Args:
        values: Of the options, by field: those of ``Measures``, ``also``, and what
            :func:`check_training` takes.

    Raises:
        UserError: Naming the first one.
    """
    check_suites(values["suites"])
    check_training(values)
    check_also(values.get("also", {}))
    _check_named(values, surely=True)


def check_also(also: Mapping[str, str]) -> None:
    """Refuse files that are not there, or hold no weights; one that does not fit fails in its row.

    Args:
        also: Files by the names of their rows.

    Raises:
        UserError: Naming the first one.
    """
    for name, file in also.items():
        try:
            check_checkpoints({"checkpoint": file})
        except UserError as error:
            raise UserError(f"--also {name}={file}: {error}") from None


def check_data(values: Mapping[str, Any], *, surely: bool = True) -> None:
    """Refuse the SPEC of ``data`` where its form is unknown or its files are not there.

    Args:
        values: Of the options, by field: ``data`` and ``data_root``.
        surely: Relative files lie here or below ``data_root``.

    Raises:
        UserError: As :func:`grace_geom.data.specs.resolve`.
    """
    _check_set(values["data"], values, surely)


def _check_set(spec: str, values: Mapping[str, Any], surely: bool) -> None:
    from grace_geom.data.specs import check_spec

    check_spec(spec, data_root=values["data_root"], surely=surely)


def _check_named(values: Mapping[str, Any], surely: bool) -> None:
    for suite in NAMED_SETS:
        if suite in values["suites"]:
            for spec in values[suite].values():
                _check_set(spec, values, surely)
