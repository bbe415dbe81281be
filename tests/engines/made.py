"""Engines as the tests make them; those whose library is absent skip the test that asks."""

import inspect
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grace_geom.engines import Engine, EngineOptions, Resources

NAMES = ("local", "ray", "slurm")
MODULES = {"ray": "ray", "slurm": "submitit"}


def want(name: str) -> None:
    """Skip the test where the engine cannot be had."""
    if module := MODULES.get(name):
        pytest.importorskip(module, reason=f"--engine {name} needs {module}: the extra {name}")


UNUSED = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
"""Services of a machine of Ray that no test asks, as Ray names their ports."""


def _start_raylet(start: Callable[..., object]) -> Callable[..., object]:
    """How Ray starts a machine, which waits 15 seconds for its helpers to tell their ports, and
    dies if they are slower: here it is told beforehand.
    """
    from ray._raylet import persist_port

    def told(*args: object, **more: object) -> object:
        known = inspect.signature(start).bind(*args, **more).arguments
        folder, node = known["session_dir"], known["node_id"]
        for name in UNUSED:
            persist_port(folder, node, name, -1)  # none, as Ray's helpers write it themselves
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        persist_port(folder, node, "runtime_env_agent_port", port)
        return start(*args, **more | {"runtime_env_agent_port": port})

    return told


class _SlowClock:
    """The clock by which Ray gives up after 30 seconds of its start, ten times as slow: a machine
    on which other tests run takes longer.
    """

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() / 10

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


@contextmanager
def patient_ray() -> Iterator[None]:
    """Within, Ray may take its time to start. What is started stays for the tests that follow."""
    from ray._private import services

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "start_raylet", _start_raylet(services.start_raylet))
        patch.setattr("ray._private.node.time", _SlowClock())
        patch.setenv("RAY_agent_register_timeout_ms", "300000")
        yield


@contextmanager
def machines(number: int, cores: int) -> Iterator[Engine]:
    """The engine of a cluster of pretended machines, each of so many cores as Ray counts them."""
    import ray
    from ray.cluster_utils import Cluster

    from grace_geom.engines.ray_engine import RayEngine

    ray.shutdown()  # of an earlier test in this process
    with patient_ray():
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False}
        )
        try:
            for _ in range(number - 1):
                cluster.add_node(num_cpus=cores)
            yield RayEngine(Resources(cpus=1), "cpu", cluster.address)
        finally:
            ray.shutdown()
            cluster.shutdown()


def options(name: str, folder: Path, **more: object) -> EngineOptions:
    """What a command line would say; SLURM is submitit's stand-in for it on this machine."""
    want(name)
    if name == "slurm":
        file = folder / "site.yaml"
        file.write_text("cluster: local\ntime: 30\n")
        more = {"slurm_options": file} | more
    return EngineOptions(engine=name, **more)  # type: ignore[arg-type]


def engine(name: str, folder: Path) -> Engine:
    """One that runs two tasks at a time."""
    want(name)
    if name == "local":
        from grace_geom.engines.local import Local

        return Local(2)
    if name == "ray":
        from grace_geom.engines.ray_engine import RayEngine

        made = RayEngine(Resources(), "cpu", workers=2)
        with patient_ray():
            made.at_once(2)
        return made
    from grace_geom.engines.site import SiteOptions
    from grace_geom.engines.slurm import Slurm

    return Slurm(
        SiteOptions({"time": 30}, "local", folder / "site.yaml"), folder / "slurm", workers=2
    )
