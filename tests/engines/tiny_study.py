"""A study of tiny tasks as a command that can be killed: ``python -m tests.engines.tiny_study
ENGINE FOLDER TASKS [ADDRESS]``. Needs no torch, so that its processes start soon.
"""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

from grace_geom.engines import Engine, Resources, Task, feed
from grace_geom.files import write_text

SECONDS = 0.3
RETRIES = 50


def note(folder: Path, number: int, what: str) -> None:
    """A line of what happened, in one piece."""
    descriptor = os.open(folder / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number} {os.getpid()} {what}\n".encode())
    os.close(descriptor)


def row(folder: str, number: int) -> int:
    """A row, whole in a file. Who is asked for one that is there, or that another process is
    making, notes it.
    """
    place = Path(folder)
    with open(place / f"lock-{number}", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(place, number, "both")
            raise
        if (place / f"row-{number}").exists():
            note(place, number, "again")
        else:
            note(place, number, "begun")
            time.sleep(SECONDS)
            write_text(place / f"row-{number}", str(number * number))
            note(place, number, "done")
        return int((place / f"row-{number}").read_text())


def made(engine: str, folder: Path, address: str | None) -> Engine:
    """Two rows at a time."""
    if engine == "ray":
        from grace_geom.engines.ray_engine import RayEngine

        return RayEngine(Resources(cpus=1), "cpu", address, 2)
    from grace_geom.engines.site import SiteOptions
    from grace_geom.engines.slurm import Slurm

    site = SiteOptions({"time": 30}, "local", folder / "site.yaml")
    return Slurm(site, folder / "slurm", workers=2)


def main(engine: str, folder: str, tasks: str, address: str | None = None) -> int:
    """What is missing, then the table. Returns 0 if it is whole."""
    place = Path(folder)
    missing = [n for n in range(int(tasks)) if not (place / f"row-{n}").exists()]
    work = [Task(f"row {n}", row, (folder, n), Resources(cpus=1, retries=RETRIES)) for n in missing]
    errors = {o.name: o.error for o in feed(made(engine, place, address), iter(work)) if o.error}
    found = [int(file.read_text()) for file in place.glob("row-*")]
    write_text(place / "table.json", json.dumps({"rows": sorted(found), "errors": errors}))
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
