"""Whether gradients are masked (Athalye et al. 2018; Carlini et al. 2019): what the checks of
:mod:`grace_geom.analysis.robustness_curve` say, in sentences.
"""

from collections.abc import Mapping

from grace_geom.records.analysis import Measure

BLACK_BOX = "square (black box)"
BEYOND = "square beyond apgd"


def masked(values: Mapping[str, Measure]) -> list[str]:
    """Sentences that say where gradients look masked; empty where nothing does.

    Square must not be stronger than white-box APGD beyond the interval of the shares, nor turn
    clearly more than 1 % of the images that APGD leaves; an unbounded attack must reach every
    image; a random start instead of the image itself may not find clearly more. A longer attack
    that finds more is no sign of it: see :func:`unconverged`.
    """
    found = []
    black, white = values.get(f"check/{BLACK_BOX}"), values.get("check/apgd")
    if (
        black
        and white
        and white.low is not None
        and black.high is not None
        and black.high < white.low
    ):
        found.append(
            f"Square leaves {100 * black.value:.1f} %, white-box APGD {100 * white.value:.1f} %"
        )
    beyond = values.get(f"check/{BEYOND}")
    if beyond and beyond.low is not None and beyond.low > 0.01:
        found.append(
            f"Square turns {100 * beyond.value:.1f} % of the images that white-box APGD does not"
        )
    far = values.get("check/pgd, eps = 64/255")
    if far and far.low is not None and far.low > 0.01:
        found.append(f"PGD leaves {100 * far.value:.1f} % even at ε = 64/255")
    text = "the gradient at the images misleads: a random start finds clearly more"
    return found + _clearly_more(values, (("pgd", "pgd, no random start", text),))


def unconverged(values: Mapping[str, Measure]) -> list[str]:
    """Sentences that say where a longer attack finds clearly more: PGD is too short, which says
    nothing of masked gradients.
    """
    steps = "PGD has not converged: twice the steps find clearly more"
    starts = "PGD depends on its start: three starts find clearly more"
    return _clearly_more(
        values, (("pgd, 2x steps", "pgd", steps), ("pgd, 3 starts", "pgd", starts))
    )


def _clearly_more(
    values: Mapping[str, Measure], pairs: tuple[tuple[str, str, str], ...]
) -> list[str]:
    found = []
    for name, than, text in pairs:
        stronger, once = values.get(f"check/{name}"), values.get(f"check/{than}")
        if stronger and once and once.low is not None and stronger.value < once.low:
            found.append(text)
    return found
