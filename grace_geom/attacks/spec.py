"""Which attack, exactly: the named suites, their parts, and what a record says of them."""

from dataclasses import dataclass
from typing import Any

import torch

from grace_geom.attacks.apgd_l1 import RADII
from grace_geom.attacks.balls import BALLS
from grace_geom.attacks.square import SCHEDULES
from grace_geom.errors import UserError, nearest
from grace_geom.records import radius_text

SUITES: dict[str, tuple[str, ...]] = {
    "fgsm": ("fgsm",),
    "pgd": ("pgd",),
    "pgd-cw": ("pgd-cw",),
    "cw": ("cw",),
    "apgd-ce": ("apgd-ce",),
    "apgd-dlr": ("apgd-dlr",),
    "apgd-t": ("apgd-t",),
    "apgd": ("apgd-ce", "apgd-t"),
    "fab": ("fab",),
    "fab-t": ("fab-t",),
    "square": ("square",),
    "autoattack": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "autoattack-plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "autoattack-rand": ("apgd-ce", "apgd-dlr"),
    "robustvlm": ("apgd-ce", "apgd-t"),
}
LOSSES = {
    "fgsm": "ce",
    "pgd": "ce",
    "pgd-cw": "margin",
    "cw": "margin",
    "apgd-ce": "ce",
    "apgd-dlr": "dlr",
    "apgd-t": "dlr-targeted",
    "fab": "border",
    "fab-t": "border",
    "square": "margin",
}
NEEDS_THREE = ("apgd-dlr", "apgd-t")  # classes: the DLR losses divide by a gap to the third logit
STEPS = {"fgsm": 1, "pgd": 20, "pgd-cw": 20, "cw": 1000}  # of one run; 100 for the others. Fewer of
# C&W's do not bring pixels that are 0 or 1 out of the flat ends of its tanh.
RESTARTS = {
    ("autoattack-plus", "apgd-ce"): 5,
    ("autoattack-plus", "apgd-dlr"): 5,
    ("autoattack-plus", "fab"): 5,
    ("robustvlm", "apgd-ce"): 5,  # of AutoAttack's class where its version is "custom"
}
SEARCHES, CW_LR = 9, 0.01  # of C&W: values of c, rate of Adam
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class AttackSpec:
    """Which attack, exactly.

    Attributes:
        name: One of ``SUITES``.
        eps: Radius: in pixels of [0, 1] for ``linf``, else the length of the whole perturbation of
            such pixels.
        norm: ``"linf"``, ``"l2"`` or ``"l1"``; ``cw`` is for ``l2`` only.
        steps: Steps of one run; ``None`` takes 20 for ``pgd`` and ``pgd-cw``, 1,000 for ``cw`` and
            100 for others. ``fgsm`` has one.
        restarts: Random starts, for each target; ``None`` takes the suite's own number, 1 mostly.
        alpha: Step size of ``pgd`` and ``pgd-cw``; ``None`` takes ``eps / 4``. Auto-PGD finds its
            own.
        targets: Wrong classes that ``apgd-t`` and ``fab-t`` aim at; where there are fewer, all of
            them. ``None`` takes 9, and 5 for ``apgd-t`` of ``autoattack`` in ``l1``.
        queries: Budget of Square Attack.
        square_schedule: ``standard`` or ``stretched``, see :func:`square`; ``None`` takes
            AutoAttack's (``standard``) in its suites, and ``stretched`` in ``square``.
        precision: ``"float32"``, ``"float64"`` (the model must be in it), or ``"bfloat16"``,
            ``"float16"`` by autocast.
        draws: Forward passes that one gradient of Auto-PGD is the mean of; ``None`` takes 20 in
            ``autoattack-rand``, which is for random classifiers, else 1.

    Raises:
        UserError: For an unknown name, norm or precision, or a number out of range.
    """

    name: str = "apgd-ce"
    eps: float = 4 / 255
    norm: str = "linf"
    steps: int | None = None
    restarts: int | None = None
    alpha: float | None = None
    targets: int | None = None
    queries: int = 5000
    square_schedule: str | None = None
    precision: str = "float32"
    draws: int | None = None

    def __post_init__(self) -> None:
        for field, value, valid in (
            ("attack", self.name, SUITES),
            ("norm", self.norm, BALLS),
            ("precision", self.precision, DTYPES),
            ("square_schedule", self.schedule, SCHEDULES),
        ):
            if value not in valid:
                raise UserError(f"unknown {field} {value!r}: {nearest(value, valid)}")
        if self.name == "cw" and self.norm != "l2":
            raise UserError(
                "cw is Carlini & Wagner's attack in norm l2: add --norm l2, or take pgd-cw, which "
                "climbs the same margin in any norm"
            )
        if not 0 <= self.eps < float("inf"):
            raise UserError(
                f"eps must be a number >= 0, such as {self._like('4/255', '0.5', self.eps)}"
            )
        if self.norm == "linf" and self.eps > 1:
            raise UserError(
                f"eps is {self.eps:g}, but pixels are in [0, 1] here: it must be at most 1. Did "
                f"you mean {self.eps:g}/255?"
            )
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise UserError(
                f"alpha must be a number > 0, such as {self._like('1/255', '0.1', self.alpha)}"
            )
        for field in ("steps", "restarts", "targets", "queries", "draws"):
            if (value := getattr(self, field)) is not None and value < 1:
                raise UserError(f"{field} of an attack must be at least 1; got {value}")

    def _like(self, levels: str, length: str, got: float) -> str:
        """An example in the units of the norm, and what was given."""
        return f"{levels if self.norm == 'linf' else length}; got {radius_text(got, self.norm)}"

    @property
    def schedule(self) -> str:
        """The schedule of Square Attack's sizes."""
        autoattack = self.name.startswith("autoattack")
        return self.square_schedule or ("standard" if autoattack else "stretched")

    @property
    def parts(self) -> tuple[str, ...]:
        """The attacks of the suite, in order."""
        return SUITES[self.name]

    def settings(self, seed: int, classes: int) -> dict[str, Any]:
        """Everything that another program would need to repeat the number on ``classes`` classes,
        as plain types.
        """
        return {
            "name": self.name,
            "eps": self.eps,
            "norm": self.norm,
            "precision": self.precision,
            "matmul": torch.get_float32_matmul_precision(),
            "seed": seed,
            "parts": [self.part(part, classes) for part in self.parts],
        }

    def part(self, part: str, classes: int) -> dict[str, Any]:
        """The settings of one part of the suite; what not every attack has stands there only where
        it is not the default.
        """
        about: dict[str, Any] = {"name": part, "loss": LOSSES[part]}
        if part == "square":
            return about | {"queries": self.queries, "schedule": self.schedule}
        about["steps"] = 1 if part == "fgsm" else self.steps or STEPS.get(part, 100)
        if part == "cw":
            return about | {"searches": SEARCHES, "lr": CW_LR}
        about["restarts"] = 1 if part == "fgsm" else self._restarts(part)
        if part in ("fgsm", "pgd", "pgd-cw"):
            usual = self.eps if part == "fgsm" else self.eps / 4
            about["alpha"] = usual if self.alpha is None or part == "fgsm" else self.alpha
        if part in ("apgd-t", "fab-t"):
            about["targets"] = min(self._targets(part), classes - 1)
        if part.startswith("apgd"):
            if (draws := self.draws or (20 if self.name == "autoattack-rand" else 1)) > 1:
                about["draws"] = draws
            if self._standard_l1:
                about["radii"] = list(RADII)
        return about

    @property
    def _standard_l1(self) -> bool:
        """Whether Auto-PGD runs as AutoAttack's standard version has it in L1 alone."""
        return self.name == "autoattack" and self.norm == "l1"

    def _restarts(self, part: str) -> int:
        if self._standard_l1 and part == "apgd-ce":
            return self.restarts or 5
        return self.restarts or RESTARTS.get((self.name, part), 1)

    def _targets(self, part: str) -> int:
        return self.targets or (5 if self._standard_l1 and part == "apgd-t" else 9)
