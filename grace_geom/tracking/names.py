"""The trackers by name, and what is refused before anything is built."""

import importlib.util
from collections.abc import Sequence

from grace_geom.errors import UserError, check_known

TRACKERS = ("tensorboard", "wandb", "mlflow")
"""Each is a module of :mod:`grace_geom.tracking`, a library and an extra of this package."""


def check_names(names: Sequence[str]) -> None:
    """Refuse trackers that there are none of, or that are named twice.

    Raises:
        UserError: Naming the first one.
    """
    for i, name in enumerate(names):
        check_known("--report-to:", name, TRACKERS)
        if name in names[:i]:
            raise UserError(f"--report-to names {name} twice")


def asked(report_to: Sequence[str], tensorboard: bool) -> tuple[str, ...]:
    """``--report-to``, and TensorBoard where the older flag of its own asks for it."""
    added = tensorboard and "tensorboard" not in report_to
    return (*report_to, *("tensorboard",) * added)


def check_installed(names: Sequence[str], flag: str = "") -> None:
    """Refuse unknown trackers, and those whose library is not installed.

    Args:
        names: What was asked for.
        flag: How; by default with ``--report-to``.

    Raises:
        UserError: With the line that installs it.
    """
    check_names(names)
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"{flag or f'--report-to {name}'}: {name} is not installed here: "
                f"pip install 'grace_geom[{name}]'"
            )
