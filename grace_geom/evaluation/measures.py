"""What is measured, on which sets, on how many images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom.attacks import AttackSpec
from grace_geom.data import Split, suites
from grace_geom.errors import UserError
from grace_geom.evaluation.compiled import Mode
from grace_geom.fields import PIXELS, bounded, check_bounds, check_limits
from grace_geom.records import SUITES
from grace_geom.refusals import check_suites

ATTACKED_BY_DEFAULT = 500
EPS = 4 / 255
PROTOCOLS = {"robustvlm": (2 / 255, 4 / 255)}
"""Radii at which a named protocol is measured where none is asked for (Schlarmann et al.
2024, "Robust CLIP", sec. 4.3)."""


@dataclass(frozen=True)
class Measures:
    """What is measured on every checkpoint.

    Attributes:
        suites: Suites to evaluate: id, ood, adv (attacked ID test set), natural_adv, zeroshot.
        attack: Attack: pgd, apgd-ce (the paper's), apgd (adds targeted APGD, for final tables),
            autoattack, ...
        eps: Attack radius, in pixels of [0, 1]; default: 4/255, and for robustvlm 2/255 and 4/255.
        norm: Norm of the radius: linf, l2 or l1.
        alpha: Step size of pgd and pgd-cw, in the unit of --eps; default: a quarter of it.
        steps: Number of attack steps; default: 20 for pgd, 100 for Auto-PGD.
        restarts: Number of random restarts of the attack.
        queries: Number of queries of Square Attack.
        square_schedule: Square size schedule of Square Attack: standard (AutoAttack's) or stretched
            over its queries; default: standard in autoattack, stretched in square.
        n: Images per data set, a random subset; default: all, and 500 for the attack.
        n_attack: Number of images to attack, if different from n.
        eval_seed: Random seed of subsets and attacks.
        eval_batch: Images per forward pass.
        ood: Out-of-distribution sets, as NAME=SPEC; default: those of the training data.
        natural_adv: Natural adversarial sets, as NAME=SPEC.
        zeroshot: Zero-shot transfer sets, as NAME=SPEC.
    """

    suites: tuple[str, ...] = field(default=SUITES, metadata={"group": "evaluation"})
    attack: str = "apgd-ce"
    eps: float | None = bounded(None, least=0)
    norm: str = "linf"
    alpha: float | None = None
    steps: int | None = None
    restarts: int | None = None
    queries: int = 5000
    square_schedule: str | None = None
    n: int | None = None
    n_attack: int | None = None
    eval_seed: int = 0
    eval_batch: int = 250
    ood: dict[str, str] = field(default_factory=dict)
    natural_adv: dict[str, str] = field(default_factory=dict)
    zeroshot: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_bounds(self)
        check_suites(self.suites)
        if self.norm == "linf":
            check_limits("eps", self.radius, PIXELS)
        if self.eval_seed < 0:
            raise UserError(f"--eval-seed must be at least 0, not {self.eval_seed}")
        for flag, value in (
            ("--n", self.n),
            ("--n-attack", self.n_attack),
            ("--eval-batch", self.eval_batch),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} must be at least 1, not {value}")
        self._check_attack()

    def _check_attack(self) -> None:
        """Refuse what would be another attack than the one meant.

        Raises:
            UserError: For a radius of the maximum norm in another norm, and for options that the
                attack has no use for.
        """
        parts = self.attack_spec().parts
        if self.norm != "linf" and self.eps is None:
            raise UserError(
                f"--norm {self.norm} needs a radius of its own: 4/255 is the default of norm linf, "
                f"and --eps {0.5 if self.norm == 'l2' else 12} is usual here"
            )
        for flag, given, users in (
            ("--alpha", self.alpha is not None, {"pgd", "pgd-cw"}),
            ("--queries", self.queries != Measures.queries, {"square"}),
            ("--steps", self.steps is not None, set(parts) - {"fgsm", "square"}),
            ("--restarts", self.restarts is not None, set(parts) - {"fgsm", "square", "cw"}),
        ):
            if given and not users.intersection(parts):
                raise UserError(f"{flag} has no effect on --attack {self.attack}: leave it out")

    @property
    def radius(self) -> float:
        """The one radius, or the largest, at which attacks are run."""
        return EPS if self.eps is None else self.eps

    def attack_spec(self, eps: float | None = None) -> AttackSpec:
        """The attack, float32, at :attr:`radius` or another one."""
        return AttackSpec(
            self.attack,
            self.radius if eps is None else eps,
            self.norm,
            steps=self.steps,
            restarts=self.restarts,
            alpha=self.alpha,
            queries=self.queries,
            square_schedule=self.square_schedule,
        )

    def attack_specs(self) -> tuple[AttackSpec, ...]:
        """The attacks that are run: one, or one at each radius of a protocol in ``PROTOCOLS``,
        unless a radius was asked for.
        """
        one = (self.radius,)
        radii = PROTOCOLS.get(self.attack, one) if self.eps is None else one
        return tuple(self.attack_spec(eps) for eps in radii)

    def images(self, suite: str) -> int | None:
        """How many images of a set to take; ``None`` means all."""
        if suite != "adv":
            return self.n
        return self.n_attack or self.n or ATTACKED_BY_DEFAULT


@dataclass(frozen=True)
class Target:
    """One accuracy to be measured."""

    suite: str
    name: str
    spec: str
    split: Split
    attack: AttackSpec | None
    n: int | None


def targets(
    measures: Measures, data: str, trained_ood: Mapping[str, str] | None = None
) -> list[Target]:
    """What to measure for checkpoints of ``data``, in the order of the suites. A suite without sets
    gives nothing.

    Args:
        measures: The options; sets that they name replace those that are known of the data set.
        data: SPEC of the ID data.
        trained_ood: OOD sets that the training run named.
    """
    known = suites(data)
    known = known | ({"ood": dict(trained_ood)} if trained_ood else {})
    id_set: tuple[str, str, Split] = (short_name(data), data, "test")
    found: list[Target] = []
    for suite in SUITES:
        if suite not in measures.suites:
            continue
        if suite in ("id", "adv"):
            attacks = measures.attack_specs() if suite == "adv" else (None,)
            n = measures.images(suite)
            found += [Target(suite, *id_set, attack, n) for attack in attacks]
            continue
        own: dict[str, str] = getattr(measures, suite)
        chosen = (own or known.get(suite, {})).items()
        found += [
            Target(suite, name, spec, "eval", None, measures.images(suite)) for name, spec in chosen
        ]
    return found


def short_name(spec: str) -> str:
    """``npz:packs/cifar10_train.npz+packs/cifar10_test.npz`` -> ``cifar10_test``; names without a
    path stay.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in ("npz", "npy", "folder", "csv", "wds", "hf"):
        return spec
    return Path(rest.split("+")[-1].split(",")[0]).name.split(".")[0] or spec


@dataclass(frozen=True)
class Source:
    """Where the images and a foreign model come from.

    Attributes:
        data: ID data set; default: the one the checkpoint was trained on. Results on another one go
            to eval-NAME.json.
        data_root: Directory of the torchvision and ImageNet data sets; relative paths are also
            looked for here.
        download: Download missing torchvision data sets.
        device: Device: cpu, cuda, cuda:1; auto: a GPU if there is one.
        workers: Number of data-loading processes; default: 0 on the CPU and for images in memory,
            up to 8 beside a GPU. Does not affect results.
        compile: Faster attacks on a GPU: attack (torch.compile). Numbers may differ by rounding.
        image_size: Image size in pixels, at which images are attacked; default: that of the
            training. Other sizes are resized inside the model. Results at another size go to
            eval-SIZEpx.json.
        model: open_clip model name of a foreign checkpoint (a state dict, or the image tower of
            TeCoA or FARE).
        pretrained: Weight file or open_clip tag for what a foreign checkpoint lacks (such as the
            text tower).
        preprocess: Preprocessing of a foreign checkpoint's model: resize_mode=squash,mean=0.5 (also
            interpolation, std, fill_color), or a JSON file like open_clip_config.json; default:
            that of --pretrained or of such a file beside the checkpoint, else a guess.
        weights: Weights to use of a foreign checkpoint that holds two sets: ema, model, or a place
            in the file, as the error message names it.
        classes: File with the class names of a foreign checkpoint's head, as JSON or one a line
            (.txt); default: those of the ID data set.
        no_verify: Do not verify a checkpoint against the digests that it was written with.
    """

    data: str | None = field(default=None, metadata={"group": "data"})
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    workers: int | None = None
    compile: Mode = "off"
    image_size: int | None = None
    model: str | None = field(
        default=None, metadata={"group": "foreign checkpoints (made by other code)"}
    )
    pretrained: str | None = None
    preprocess: str | None = None
    weights: str | None = None
    classes: Path | None = None
    no_verify: bool = False

    def __post_init__(self) -> None:
        if self.image_size is not None and not 1 <= self.image_size <= 8192:
            raise UserError(f"--image-size must be between 1 and 8192, not {self.image_size}")
