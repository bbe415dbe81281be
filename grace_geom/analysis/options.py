"""The options that every analysis has."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from grace_geom.errors import UserError
from grace_geom.fields import check_bounds, pixel_bounded
from grace_geom.serialise import plain
from grace_geom.tracking import check_names


@dataclass(frozen=True)
class Common:
    """What is analysed, and on which images.

    Attributes:
        checkpoints: Checkpoints or run directories; several share the tables and figures.
        data: ID data set; default: the one each checkpoint was trained on.
        ood: Out-of-distribution sets, as NAME=SPEC, such as sketch=folder:sketches; default: those
            known for the data set.
        n: Number of test images, a random subset.
        batch: Number of images per forward pass; does not affect results.
        params: Weights to analyse: visual, text, head, adapter (factors, or what trained in their
            place), or a regular expression; the same for every checkpoint.
        loss: Cross-entropy on clean images (ce), or on PGD images found at the checkpoint (adv-ce).
        eps: L-infinity radius ε of PGD, in pixel units of [0, 1], such as 4/255.
        alpha: PGD step size, in pixel units of [0, 1].
        attack_steps: Number of PGD steps.
        seed: Random seed for the subset, the attack and the probe vectors.
        device: Device: cpu, cuda, cuda:1; auto: a GPU if there is one.
        deterministic: Same bits in every call on the same GPU, for some speed.
        dtype: Floating-point precision.
        out: Directory of the results; default: analyses/ in the run directory; for several
            checkpoints, analyses/ in the folder that holds the runs.
        plotlyjs: Where the HTML figures have plotly.js from: a plotly.min.js beside them, written
            once (beside); packed into each, which adds 2 MB (packed) or 5 MB (inside); or the
            network (cdn).
        fresh: Measure again, even what has been measured with these settings.
        report_to: Experiment trackers that also get the numbers and figures: tensorboard, wandb,
            mlflow.
        data_root: Directory of the torchvision and ImageNet data sets; relative paths are also
            looked for here.
        model: open_clip model name of a foreign checkpoint.
        pretrained: Weight file or open_clip tag for what a foreign checkpoint lacks.
        preprocess: Preprocessing of a foreign checkpoint's model: resize_mode=squash,mean=0.5 (also
            interpolation, std, fill_color), or a JSON file like open_clip_config.json; default:
            that of --pretrained or of such a file beside the checkpoint, else a guess.
        weights: Weights to use of a foreign checkpoint that holds two sets: ema, model, or a place
            in the file, as the error message names it.
        classes: File with the class names of a foreign checkpoint's head, as JSON or one a line
            (.txt).
        no_verify: Do not verify a checkpoint against the digests that it was written with.
    """

    checkpoints: tuple[Path, ...] = field(metadata={"group": "analysis"})
    data: str | None = None
    ood: dict[str, str] = field(default_factory=dict)
    n: int = 512
    batch: int = 64
    params: str = "visual"
    loss: Literal["ce", "adv-ce"] = "ce"
    eps: float = pixel_bounded(4 / 255)
    alpha: float = pixel_bounded(1 / 255)
    attack_steps: int = 10
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    out: Path | None = None
    plotlyjs: Literal["beside", "packed", "inside", "cdn"] = "beside"
    fresh: bool = False
    report_to: tuple[str, ...] = ()
    data_root: Path | None = None
    model: str | None = field(
        default=None, metadata={"group": "foreign checkpoints (made by other code)"}
    )
    pretrained: str | None = None
    preprocess: str | None = None
    weights: str | None = None
    classes: Path | None = None
    no_verify: bool = False

    def __post_init__(self) -> None:
        check_bounds(self)
        check_names(self.report_to)
        for flag, value in (("--n", self.n), ("--batch", self.batch)):
            if value < 1:
                raise UserError(f"{flag} must be at least 1, not {value}")
        for name in ("id", "adv"):
            if name in self.ood:
                raise UserError(
                    f"--ood {name}=...: {name} is the name of the data's own domain; choose "
                    "another name"
                )
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0, not {self.seed}")
        if self.classes is not None and self.model is None:
            raise UserError("--classes is for foreign checkpoints: add --model NAME")
        if self.preprocess is not None and self.model is None:
            raise UserError("--preprocess is for foreign checkpoints: add --model NAME")

    def others(self) -> tuple[Path, ...]:
        """Checkpoints that the result of each one depends on too, such as a reference."""
        return ()

    def splits(self) -> tuple[Literal["train", "test"], ...]:
        """Parts of the ID data that the result depends on."""
        return ("test",)

    def zeroshot_sets(self, data: str) -> dict[str, str]:
        """Zero-shot sets that the result depends on, NAME -> SPEC; none in most analyses.

        Args:
            data: SPEC of the ID data.
        """
        return {}

    def settings(self) -> dict[str, Any]:
        """Everything that a result depends on beside the checkpoint, as plain types."""
        return {
            f.name: plain(getattr(self, f.name))
            for f in fields(self)
            if f.name not in NOT_THE_RESULT
            and not (f.name == "preprocess" and self.preprocess is None)  # older than the option
        }


NOT_THE_RESULT = {
    "checkpoints", "out", "fresh", "report_to", "device", "deterministic", "basis_device",
    "plotlyjs",
}  # fmt: skip
