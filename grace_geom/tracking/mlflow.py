"""MLflow. ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` hold as MLflow documents them;
without the latter the experiment is ``grace_geom``.
"""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grace_geom.tracking.base import PROJECT, Home, Status

PARAMS, METRICS = 100, 1000
"""Most of each in one call of ``log_batch``."""
LONGEST = 6000
"""Characters of the value of a parameter."""
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Mlflow:
    """See :class:`~grace_geom.tracking.base.Tracker`. Only the client is used: the fluent calls
    would mix with a run of the caller's own.
    """

    def __init__(self, home: Home) -> None:
        import mlflow

        self.library, self.known = mlflow, home.known
        self.run = ""

    def start(self, settings: Mapping[str, Any], name: str) -> dict[str, str]:
        """Create the run with its parameters, or set it running again."""
        at = self.library.get_tracking_uri()
        self.client = self.library.MlflowClient()
        if self.known.get("at") == at:
            self.run = self.known["run"]
            self.client.update_run(self.run, status="RUNNING")
        else:
            created = self.client.create_run(self._experiment(), run_name=name)
            self.run = created.info.run_id
            self._parameters(settings)  # never again: MLflow refuses other values later
        return {"run": self.run, "at": at}

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)

    def _parameters(self, settings: Mapping[str, Any]) -> None:
        param = self.library.entities.Param
        every = [param(_allowed(key), str(v)[:LONGEST]) for key, v in settings.items()]
        for i in range(0, len(every), PARAMS):
            self.client.log_batch(self.run, params=every[i : i + PARAMS])

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Metrics."""
        now, metric = int(time.time() * 1000), self.library.entities.Metric
        every = [metric(_allowed(name), value, now, step) for name, value in numbers.items()]
        for i in range(0, len(every), METRICS):
            self.client.log_batch(self.run, metrics=every[i : i + METRICS])

    def figure(self, name: str, path: Path) -> None:
        """An artifact in ``figures/``."""
        self.client.log_artifact(self.run, str(path), "figures")

    def finish(self, status: Status) -> None:
        """Set the status: ``FINISHED``, ``KILLED`` or ``FAILED``."""
        self.client.set_terminated(self.run, STATUS[status])


def _allowed(name: str) -> str:
    """MLflow's names have letters, digits and ``_-./`` and space."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)


TRACKER = Mlflow
