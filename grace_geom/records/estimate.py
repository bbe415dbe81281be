"""A share with its error and its interval."""

from dataclasses import dataclass

from grace_geom.records.accuracy import Accuracy

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A share between 0 and 1, its standard error and its 95 % interval. ``how`` tells where a
    number of several sets has them from: "by images", the answers to each image, or "by totals".
    """

    value: float
    error: float
    low: float
    high: float
    how: str = ""

    @classmethod
    def of(cls, accuracy: Accuracy) -> "Estimate":
        """One accuracy; its error is half of Wilson's interval in units of z, so that it is never 0
        at 0 or 100 %.
        """
        error = (accuracy.ci_high - accuracy.ci_low) / (2 * Z95)
        return cls(accuracy.accuracy, error, accuracy.ci_low, accuracy.ci_high)

    @classmethod
    def normal(cls, value: float, error: float) -> "Estimate":
        """Normal interval, cut to [0, 1], of a number made of several sets' totals."""
        low, high = max(0.0, value - Z95 * error), min(1.0, value + Z95 * error)
        return cls(value, error, low, high, "by totals")
