"""How a command speaks: lines and one live area on stderr; tables, or one JSON document, on stdout.

No torch, and rich only where something is drawn: ``--help`` and refusals need neither.
"""

from grace_geom.terminal.area import AREA, Area, Bar
from grace_geom.terminal.door import OUTPUT_FORMAT, door
from grace_geom.terminal.voice import Voice, failed, finish, say, show, speaks, start, voice, warn

__all__ = [
    "AREA",
    "OUTPUT_FORMAT",
    "Area",
    "Bar",
    "Voice",
    "door",
    "failed",
    "finish",
    "say",
    "show",
    "speaks",
    "start",
    "voice",
    "warn",
]
