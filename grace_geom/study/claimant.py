"""What a claim on a run tells others: who makes it, and how far it is."""

import getpass
import os
import socket
from typing import Any

from grace_geom.study.execute import last_record, number
from grace_geom.study.options import Job


def note_of(job: Job, total: int) -> dict[str, Any]:
    """What a claim tells of its run: the step, of how many, and the seconds of training."""
    last = last_record(job.folder)
    found = {"step": number(last, "step"), "seconds": number(last, "seconds"), "total": total}
    return {key: value for key, value in found.items() if value}


def owner() -> str:
    """Who works here, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
