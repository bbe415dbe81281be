"""What the analyses share: options, opening checkpoints, caching by content, saving numbers and
pictures together.
"""

from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Shown, analyse
from grace_geom.analysis.subject import Subject, open_subject
from grace_geom.records import Part

__all__ = ["Common", "Part", "Shown", "Subject", "analyse", "open_subject"]
