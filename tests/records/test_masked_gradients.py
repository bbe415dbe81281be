"""What the checks of masked gradients say."""

from grace_geom.records import Measure
from grace_geom.records.masked_gradients import masked, unconverged


def test_masked_gradients_are_said_and_honest_ones_are_not():
    def share(value: float) -> Measure:
        return Measure(value, low=value - 0.05, high=value + 0.05)

    far = {"check/pgd, eps = 64/255": Measure(0, low=0)}
    honest = {"check/square (black box)": share(0.5), "check/apgd": share(0.3), **far}
    assert masked(honest) == []
    assert "Square leaves 10.0 %" in masked(honest | {"check/square (black box)": share(0.1)})[0]
    assert "ε = 64/255" in masked(honest | {"check/pgd, eps = 64/255": share(0.3)})[0]
    assert (
        "not converged"
        in unconverged({"check/pgd": share(0.5), "check/pgd, 2x steps": share(0.4)})[0]
    )
    assert (
        "three starts"
        in unconverged({"check/pgd": share(0.5), "check/pgd, 3 starts": share(0.4)})[0]
    )
    longer = {"check/pgd": share(0.5), "check/pgd, 2x steps": share(0.4)}
    assert masked(longer) == [] == unconverged(honest)
    assert (
        "random start"
        in masked({"check/pgd": share(0.4), "check/pgd, no random start": share(0.5)})[0]
    )
    assert "Square turns 7.0 %" in masked({"check/square beyond apgd": Measure(0.07, low=0.03)})[0]
