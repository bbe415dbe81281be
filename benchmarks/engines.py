"""What a task costs beside its work, by each engine; and 1,000 tasks on three machines of Ray, one
of which is killed: ``python benchmarks/engines.py --engine ray --tasks 1000 --kill``
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from grace_geom.engines import Engine, Resources, Task


def dummy(number: int, folder: str, seconds: float) -> int:
    """Work of so many seconds that leaves one file, whole."""
    time.sleep(seconds)
    (Path(folder) / str(number)).touch()
    return number * number


def timed(engine: Engine, tasks: int, seconds: float, at: dict[int, Any]) -> dict[str, Any]:
    """Run dummy tasks.

    Args:
        engine: Where.
        tasks: How many.
        seconds: Work of each.
        at: Called after so many outcomes, to do harm.

    Returns:
        How many rows came, whether each came once and was right, how many tasks were begun again,
        and seconds of the whole, without the first task (an engine's start).
    """
    with tempfile.TemporaryDirectory() as folder:
        needs = Resources(cpus=1, retries=3)
        begun = time.perf_counter()
        found = []
        for outcome in engine.run(
            [Task(f"task {i}", dummy, (i, folder, seconds), needs) for i in range(tasks)]
        ):
            found.append(outcome)
            if len(found) == 1:
                first, begun = time.perf_counter() - begun, time.perf_counter()
            if len(found) in at:
                threading.Thread(target=at[len(found)]).start()
        spent = time.perf_counter() - begun
        files = len(list(Path(folder).iterdir()))
    right = {f"task {i}": i * i for i in range(tasks)}
    return {
        "tasks": tasks,
        "rows": len(found),
        "each_once_and_right": len(found) == tasks and {o.name: o.value for o in found} == right,
        "files": files,
        "begun_again": sum(outcome.attempts > 1 for outcome in found),
        "first_s": round(first, 2),
        "rest_s": round(spent, 2),
    }


def on_three_machines(tasks: int, seconds: float, kill: bool, cores: int = 2) -> dict[str, Any]:
    """Dummy tasks on a Ray cluster of three pretended machines, which are processes here.

    Args:
        tasks: How many.
        seconds: Work of each.
        kill: Kill one machine after a third of the outcomes.
        cores: Of each machine, as Ray counts them.
    """
    import ray
    from ray.cluster_utils import Cluster

    from grace_geom.engines.ray_engine import RayEngine

    node = {"num_cpus": cores, "include_dashboard": False}
    ray.shutdown()  # of an earlier cluster in this process
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        others = [cluster.add_node(num_cpus=cores) for _ in range(2)]
        ray.init(cluster.address, log_to_driver=False, logging_level="error")

        def harm() -> None:
            cluster.remove_node(others[0], allow_graceful=False)

        engine = RayEngine(Resources(cpus=1), "cpu", cluster.address)
        found = timed(engine, tasks, seconds, {max(1, tasks // 3): harm} if kill else {})
        return found | {"machines": 3, "killed": int(kill), "cores": 3 * cores}
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2, help="tasks at a time, of local")
    parser.add_argument("--seconds", type=float, default=0.0, help="work of each task")
    parser.add_argument("--kill", action="store_true", help="kill one of Ray's three machines")
    o = parser.parse_args()
    if o.engine == "ray":
        found = on_three_machines(o.tasks, o.seconds, o.kill)
    else:
        from grace_geom.engines.local import Local  # torch, which Ray's tasks do without

        found = timed(Local(o.workers), o.tasks, o.seconds, {}) | {"cores": o.workers}
    rest = max(1, o.tasks - 1)
    work = o.seconds * rest / found["cores"]
    found["overhead_ms_a_task"] = round(1000 * (found["rest_s"] - work) / rest, 2)
    print(json.dumps({"engine": o.engine, "seconds": o.seconds} | found))


if __name__ == "__main__":
    main()
