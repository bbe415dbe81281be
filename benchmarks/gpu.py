"""What only a real GPU can tell, in under nine minutes: ``bash benchmarks/gpu.sh OUT.json``

Each part runs in a process of its own with a budget of seconds, so that one that fails, hangs or
leaves the card in a bad state costs the others nothing: its error stands in its place in the JSON,
which is written after every part. ``--dry-run`` does the same with tiny sizes on the CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the second for the peer of grace_step

BUDGETS = {
    "environment": 30,
    "correctness": 70,
    "attack_rate": 80,
    "grace_step": 90,
    "large": 80,
    "memory": 50,
    "hessian": 40,
    "loader": 40,
    "waits": 40,
    "deterministic": 40,
    "gpu_tests": 100,
}
"""Seconds that each part may take, start included; names of functions in ``gpu_parts``."""


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON")
    parser.add_argument(
        "--parts", default=",".join(BUDGETS), help="which, by commas, in this order"
    )
    parser.add_argument("--minutes", type=float, default=8.8, help="for all of them together")
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny sizes, on the CPU, and ten times the time"
    )
    parser.add_argument("--peak", type=float, default=989, help="dense bf16 TFLOP/s of the card")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # the process of one part
    return parser.parse_args(argv)


def one_part(o: argparse.Namespace) -> None:
    """In the process of its own: write what was found."""
    from benchmarks import gpu_parts, gpu_timing

    sizes = gpu_timing.DRY if o.dry_run else gpu_timing.FULL
    o.out.write_text(json.dumps(gpu_parts.PARTS[o.part](sizes, o.peak)))


def run_part(name: str, o: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What a part found, or its error; and how long it took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part.json"
        command = [sys.executable, str(Path(__file__)), "--part", name, "--out", str(out)]
        command += ["--peak", str(o.peak), *(["--dry-run"] if o.dry_run else [])]
        # cuBLAS reads its setting once in a process; elsewhere it would change what is measured.
        fixed = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if name == "deterministic" else {}
        found = finished(command, seconds, os.environ | fixed, out)
    return found | {"seconds": round(time.perf_counter() - began, 1)}


def finished(
    command: Sequence[str], seconds: float, environment: Mapping[str, str], out: Path
) -> dict[str, Any]:
    """``{"found": ...}`` of a process that wrote ``out``, else ``{"error": ...}``; both where what
    it found holds an ``error``.
    """
    try:
        done = subprocess.run(
            command,
            timeout=seconds,
            capture_output=True,
            text=True,
            env=dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done in {seconds:.0f} s"}
    if done.returncode or not out.is_file():
        return {"error": "\n".join(done.stderr.strip().splitlines()[-12:]) or "no result"}
    found = json.loads(out.read_text())
    return {"found": found} | ({"error": found["error"]} if "error" in found else {})


def status(part: Mapping[str, Any]) -> str:
    """``done``, ``failed`` or ``skipped``, of what a part found."""
    if "error" in part:
        return "failed"
    return "skipped" if "skipped" in part["found"] else "done"


def run_all(
    names: Sequence[str],
    o: argparse.Namespace,
    run: Callable[[str, argparse.Namespace, float], dict[str, Any]] = run_part,
) -> dict[str, Any]:
    """Every part in turn, while there is time; the JSON is written after each."""
    patience = 10 if o.dry_run else 1
    end = time.monotonic() + 60 * o.minutes * patience
    result: dict[str, Any] = {"dry_run": o.dry_run, "peak_tflops": o.peak, "parts": {}}
    for name in names:
        left = end - time.monotonic()
        if left < 5:
            found: dict[str, Any] = {"error": f"no time left of {o.minutes:g} minutes"}
        else:
            found = run(name, o, min(patience * BUDGETS[name], left))
        result["parts"][name] = {"status": status(found), **found}
        o.out.parent.mkdir(parents=True, exist_ok=True)
        o.out.write_text(json.dumps(result, indent=1))
        part = result["parts"][name]
        failed = f"FAILED: {part['error']}: " if "error" in part and "found" in part else ""
        print(f"{name}: {failed}{json.dumps(part.get('found', part))[:400]}", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """0 where every part has found something."""
    o = options(argv)
    if o.part:
        one_part(o)
        return 0
    names = o.parts.split(",")
    if unknown := [name for name in names if name not in BUDGETS]:
        print(f"--parts: {unknown[0]!r} is not known; known: {', '.join(BUDGETS)}", file=sys.stderr)
        return 2
    result = run_all(names, o)
    failed = [name for name, part in result["parts"].items() if "error" in part]
    print(
        f"{o.out}: {len(names) - len(failed)} of {len(names)} parts"
        + f"; failed: {failed}" * bool(failed)
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
