"""Which engine a command line asks for. Needs no torch until the engine is made."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grace_geom.engines.base import Engine, Resources
from grace_geom.errors import UserError

MODULES = {"ray": "ray", "slurm": "submitit"}
"""What an engine needs, by its name, which is that of the extra too."""
OF = {
    "cpus_per_run": ("ray", "slurm"),
    "memory_per_run": ("ray", "slurm"),
    "nodes_per_run": ("ray", "slurm"),
    "ray_address": ("ray",),
    "slurm_options": ("slurm",),
}
"""Options that only some engines have."""


@dataclass(frozen=True)
class EngineOptions:
    """Where runs are made, and what each of them needs.

    Attributes:
        engine: Where runs are made: local, processes of this machine; ray, tasks of Ray, on this
            machine or a cluster (--ray-address); slurm, array jobs (--slurm-options). On a cluster
            --out and the data lie on a disk that all machines see. docs/scale.md has the steps.
        cpus_per_run: CPU cores of each run, with ray (null: 1) or slurm (null: the site's options).
        gpus_per_run: GPUs of each run; of more than one it makes processes as torchrun does. null:
            one where there are GPUs; with slurm what the site's options say. With ray a part of a
            GPU can be named (0.5).
        memory_per_run: Main memory of each run, GiB, with ray or slurm; null: not asked for.
        nodes_per_run: Machines that each run's GPUs are on, with ray or slurm.
        retries: How often a run is begun again after its process or its machine was lost; it goes
            on from its newest checkpoint.
        ray_address: Address of a Ray cluster, auto or HEAD:6379; null: Ray is
            started on this machine for the time of the command.
        slurm_options: YAML file with the site's options of sbatch: partition, account, time
            (minutes), ...; cluster: local in it tries the jobs on this machine, without SLURM.
    """

    engine: Literal["local", "ray", "slurm"] = field(
        default="local", metadata={"group": "where it runs"}
    )
    cpus_per_run: int | None = None
    gpus_per_run: float | None = None
    memory_per_run: float | None = None
    nodes_per_run: int = 1
    retries: int = 0
    ray_address: str | None = None
    slurm_options: Path | None = None

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise UserError(f"--retries must be at least 0, not {self.retries}")
        for name, least in (("cpus_per_run", 1), ("nodes_per_run", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{_flag(name)} must be at least {least}, not {value}")
        if self.memory_per_run is not None and not 0 < self.memory_per_run < 1e6:
            raise UserError(f"--memory-per-run is in GiB and positive, not {self.memory_per_run:g}")
        for name, engines in OF.items():
            usual = 1 if name == "nodes_per_run" else None
            if self.engine not in engines and getattr(self, name) != usual:
                raise UserError(
                    f"{_flag(name)} is of --engine {' or '.join(engines)}, not of {self.engine}"
                )
        self._whole_gpus()
        if self.engine == "slurm" and self.slurm_options is None:
            raise UserError(
                "--engine slurm needs --slurm-options FILE, a YAML file with the site's options of "
                "sbatch, at least time: MINUTES"
            )

    def _whole_gpus(self) -> None:
        gpus, nodes = self.gpus_per_run, self.nodes_per_run
        if gpus is None:
            if nodes > 1:
                raise UserError(
                    f"--nodes-per-run {nodes} needs --gpus-per-run, the GPUs on all of them"
                )
            return
        if not 0 <= gpus < 1e5:
            raise UserError(f"--gpus-per-run must be at least 0, not {gpus:g}")
        if gpus % 1 and not (gpus < 1 and self.engine == "ray"):
            raise UserError(
                f"--gpus-per-run {gpus:g}: a whole number, or with --engine ray a part of one GPU"
            )
        if nodes > 1 and (gpus < nodes or gpus % nodes):
            raise UserError(
                f"--gpus-per-run {gpus:g} cannot be shared out evenly over --nodes-per-run {nodes}"
            )

    def resources(self) -> Resources:
        """What each run needs."""
        gpus, memory = self.gpus_per_run, self.memory_per_run
        return Resources(
            cpus=self.cpus_per_run,
            gpus=gpus,
            memory=None if memory is None else round(memory * 2**30),
            processes=max(1, int(gpus or 0) // self.nodes_per_run),
            nodes=self.nodes_per_run,
            retries=self.retries,
        )


def check_engine(options: EngineOptions, device: str = "auto") -> None:
    """Refuse an engine that is not installed, and a device that it would have to overrule.

    Args:
        options: Which engine.
        device: That of the tasks, as ``--device``.

    Raises:
        UserError: With what to do.
    """
    module = MODULES.get(options.engine)
    if module is not None and importlib.util.find_spec(module) is None:
        raise UserError(
            f"--engine {options.engine} needs {module}, not installed here: "
            f"pip install 'grace_geom[{options.engine}]'"
        )
    if device.startswith("cuda:") and (options.engine != "local" or options.gpus_per_run):
        raise UserError(
            f"--device {device}: the engine gives each run its GPUs; use --device cuda or auto"
        )
    if device == "cpu" and options.gpus_per_run:
        raise UserError(
            f"--gpus-per-run {options.gpus_per_run:g} and --device cpu exclude each other"
        )


def make_engine(
    options: EngineOptions,
    workers: int | None = None,
    device: str = "auto",
    folder: Path = Path("."),
) -> Engine:
    """The engine of a command.

    Args:
        options: Which one.
        workers: Most tasks at a time; ``None``: one on this machine, elsewhere as many as there is
            room for.
        device: That of the tasks, as ``--device``; where it leaves the choice (auto, cuda), each
            process of this machine sees one of its GPUs, or as many as a task has.
        folder: Where the engine may keep files, in a folder of its name.

    Raises:
        UserError: If it cannot be had.
    """
    check_engine(options, device)
    if options.engine == "ray":
        from grace_geom.engines.ray_engine import RayEngine

        return RayEngine(options.resources(), device, options.ray_address, workers)
    if options.engine == "slurm":
        from grace_geom.engines.site import SiteOptions
        from grace_geom.engines.slurm import Slurm

        assert options.slurm_options is not None  # else the options would have refused themselves
        site = SiteOptions.read(options.slurm_options)
        site.check()
        site.parameters(options.resources(), workers)
        return Slurm(site, folder / "slurm", workers)
    from grace_geom.engines.local import Local, spread_over

    return Local(workers or 1, spread_over(device), int(options.gpus_per_run or 0))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
