"""What a site's SLURM wants to be told: ``--slurm-options FILE``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grace_geom.engines.base import Resources
from grace_geom.errors import UserError, first_line

TEMPLATE = "partition: gpu, account: mine, time: 240 (minutes)"
DECIDED = {
    "nodes": "--nodes-per-run",
    "ntasks_per_node": "the engine",
    "job_name": "the engine",
    "array_parallelism": "--workers",
}
"""Options of submitit that a file may not hold, and who decides them."""


@dataclass(frozen=True)
class SiteOptions:
    """Options of a site.

    Attributes:
        options: By submitit's names, which are those of sbatch with underscores.
        cluster: ``slurm``, or ``local`` to try the same on this machine without it.
        file: Where they stand.
    """

    options: Mapping[str, Any]
    cluster: str
    file: Path

    @classmethod
    def read(cls, file: Path) -> "SiteOptions":
        """The options in a YAML file.

        Raises:
            UserError: If it is not there, is no mapping, holds what is decided elsewhere, or gives
                jobs no time.
        """
        try:
            text = file.read_text(encoding="utf-8")
            read, written = yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"--slurm-options {file}: {first_line(error)}") from None
        if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
            raise UserError(f"--slurm-options {file}: names with values are wanted: {TEMPLATE}")
        cluster = read.pop("cluster", "slurm")
        if cluster not in ("slurm", "local"):
            raise UserError(f"--slurm-options {file}: cluster is slurm or local, not {cluster!r}")
        for name in sorted(read.keys() & DECIDED.keys()):
            raise UserError(f"--slurm-options {file}: {name} is decided by {DECIDED[name]}")
        time = str(written.get("time", "nothing"))  # YAML would read 4:00:00 as 14400
        if not time.isdecimal() or int(time) < 1:
            raise UserError(
                f"--slurm-options {file}: time must be minutes, such as 240, not {time}: a job "
                "that takes longer is queued again and goes on"
            )
        return cls(read, cluster, file)

    def parameters(self, needs: Resources, workers: int | None = None) -> dict[str, Any]:
        """What submitit's AutoExecutor is told.

        Args:
            needs: Of a task.
            workers: Most jobs of an array at a time.

        Raises:
            UserError: If the file and a flag both say something, or submitit does not know a name.
        """
        flags = {
            "cpus_per_task": ("--cpus-per-run", needs.cpus),
            "gpus_per_node": (
                "--gpus-per-run",
                None if needs.gpus is None else round(needs.gpus / needs.nodes),
            ),
            "mem_gb": ("--memory-per-run", None if needs.memory is None else needs.memory / 2**30),
        }
        told: dict[str, Any] = {}
        for name, (flag, value) in flags.items():
            key = {"mem_gb": "mem"}.get(name, name)
            if value is not None and key in self.options:
                raise UserError(f"{flag} and {key} in {self.file} say the same thing: drop one")
            told |= {} if value is None else {name: value}
        told |= {"nodes": needs.nodes, "tasks_per_node": 1, "name": "grace_geom"}
        told["timeout_min"] = self.options["time"]
        told |= {f"slurm_{name}": value for name, value in self.options.items()}
        if workers is not None:
            told["slurm_array_parallelism"] = workers
        return told

    def check(self) -> None:
        """Refuse a name that submitit does not know.

        Raises:
            UserError: Naming it, and what there is.
        """
        from submitit import SlurmExecutor

        known = SlurmExecutor._valid_parameters()
        for name in self.options:
            if name not in known:
                raise UserError(
                    f"--slurm-options {self.file}: {name!r} is not known; other flags of sbatch go "
                    f"into additional_parameters; valid: {', '.join(sorted(known))}"
                )
