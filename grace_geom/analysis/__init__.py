"""What the analyses share: options, opening checkpoints, caching by content, saving numbers and
pictures together.
"""

from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, analyse
from grace_geom.analysis.subject import Subject, open_subject

__all__ = ["Common", "Part", "Shown", "Subject", "analyse", "open_subject"]
