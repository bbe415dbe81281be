"""Experiment trackers beside our own files: one file a tracker behind one protocol.

No tracker is imported before it is asked for, and none can hold up or end the work that it reports.
"""

from grace_geom.tracking.base import HIDDEN, Status, Tracker
from grace_geom.tracking.names import TRACKERS, asked, check_installed, check_names
from grace_geom.tracking.trackers import Trackers

__all__ = [
    "HIDDEN",
    "TRACKERS",
    "Status",
    "Tracker",
    "Trackers",
    "asked",
    "check_installed",
    "check_names",
]
