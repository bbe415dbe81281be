"""An attack in the words of captions, the same as in legends and titles."""

from grace_geom.records.attack import attack_said as attack_said
