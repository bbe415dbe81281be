"""The families of networks that open_clip names, and what works on each, tried on small ones.

``python -m grace_geom.tools.families`` prints docs/families.md.
"""

from grace_geom.tools.families.cells import FamilyRow, adapted, measure
from grace_geom.tools.families.page import page
from grace_geom.tools.families.small import FAMILIES, Family, family_of, small_model

__all__ = [
    "FAMILIES",
    "Family",
    "FamilyRow",
    "adapted",
    "family_of",
    "measure",
    "page",
    "small_model",
]
