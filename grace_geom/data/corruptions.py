"""The common corruptions of Hendrycks & Dietterich 2019, and what a SPEC asks of them."""

from grace_geom.errors import UserError, nearest

CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The 15 of the benchmark; the four of its validation set (speckle_noise ...) are read where they
are named.
"""
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = ("1", "2", "3", "4", "5")


def asked_for(spec: str, rest: str) -> tuple[list[str], list[str]]:
    """Corruptions and severities of ``CORRUPTION``, ``CORRUPTION:SEVERITY`` or nothing, which
    stands for all 15 and all severities.

    Raises:
        UserError: If there is no such corruption or severity; ``spec`` names the data set.
    """
    wanted, _, level = rest.partition(":")
    if wanted and wanted not in CORRUPTIONS + EXTRA:
        raise UserError(
            f"{spec}: unknown corruption {wanted!r}; {nearest(wanted, CORRUPTIONS + EXTRA)}"
        )
    if level and level not in SEVERITIES:
        raise UserError(f"{spec}: the severity is {level!r}, it must be 1 to 5")
    return [wanted] if wanted else list(CORRUPTIONS), [level] if level else list(SEVERITIES)
