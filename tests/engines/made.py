"""Engines as the tests make them; those whose library is absent skip the test that asks."""

import time
from collections.abc import Iterator
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.node.time", _SlowClock())
        patch.setenv("RAY_agent_register_timeout_ms", "300000")
        yield


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
