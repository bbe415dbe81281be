"""What a study compares: methods with their options, seeds, and the runs that follow from them, on
equal terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from grace_geom.config import TrainConfig, differing, make_config, stored_settings
from grace_geom.errors import UserError, check_known, nearest, unknown
from grace_geom.evaluation.compiled import Mode
from grace_geom.files import folder_name
from grace_geom.methods import METHODS, method_class
from grace_geom.methods.grace import Grace
from grace_geom.tracking import check_names

GROUPS = {
    f"table{n}": tuple(name for name, cls in METHODS.items() if n in cls.__dict__.get("tables", ()))
    for n in (6, 7)
} | {"table8": ("lora", *(f"grace:{changed}" for changed in Grace.ablations), "grace")}
"""The paper's tables by the names of their rows, as the methods state them."""

EQUAL = (
    "data",
    "model",
    "pretrained",
    "preprocess",
    "batch_size",
    "micro_batch",
    "epochs",
    "max_steps",
    "train_images",
    "image_size",
    "val_fraction",
    "split_seed",
    "precision",
)
"""Settings that every trained method of a study shares: same base, same images seen, same batch,
same augmentation.
"""


_SHARED = (
    "micro_batch", "preprocess", "image_size", "val_fraction", "val_images", "split_seed", "precision",
)  # fmt: skip
"""Settings without a flag of the study that ``--set FIELD=VALUE`` gives to every method."""

MAY_DIFFER = ("epochs", "max_steps", "micro_batch", "train_images", "precision")
"""Those of them that ``--unequal`` may name. Not the batch: costs are told in passes of it."""

OF_THE_STUDY = ("method", "out", "seed", "resume", "device", "data_root", "report_to")


@dataclass(frozen=True)
class StudyOptions:
    """What is compared, and how long each method trains.

    Attributes:
        methods: Methods to compare, variants as NAME:FIELD=VALUE, or groups: table6, table7,
            table8, all.
        seeds: Training seeds.
        out: Directory of the study; an interrupted study continues there. An address such as
            s3://BUCKET/STUDY is a store: several machines may work on it at once.
        baseline: Method to compare the others with, on the same images or seeds.
        set: Options of one method, as METHOD.FIELD=VALUE, or of all, as FIELD=VALUE for a setting
            that all share, such as precision=bf16; repeatable.
        lr_grid: Learning rates: off (the recorded ones), a list to try, or search (1/3, 1 and 3
            times the recorded rate or --set METHOD.lr).
        lr_extend: If the best learning rate is at an edge of the grid, try one more beyond it.
        trial_share: Length of a learning-rate trial as a fraction of a run, the same for every
            method; of a search: that of its longest trials.
        lr_search: Search for each method's learning rate instead of a grid: asha (asynchronous
            successive halving on held-out images, the same trials and steps for every method; pip
            install 'grace_geom[search]').
        lr_trials: Number of learning rates that a search tries for each method.
        lr_range: A search looks from the recorded rate (or --set METHOD.lr) divided by this to that
            times this.
        also: Other checkpoints to add as rows, as NAME=FILE; repeatable. Runs of other studies, or
            foreign weights.
        also_model: open_clip model name of foreign weights in --also; default: the study's base
            model.
        also_pretrained: Weights of the text tower for foreign image towers in --also; default: the
            base model's.
        workers: Number of runs at a time, each in its own process; torch's threads and the GPUs are
            divided among them. null: 1; with --engine ray or slurm as many as there is room for.
        data: Training data, as in training.
        data_root: Directory of the torchvision and ImageNet data sets.
        download: Download missing torchvision data sets.
        model: open_clip name of the base model, or tiny-shapes.
        pretrained: Weights of the base model, as in training.
        epochs: Number of epochs; null: the data set's recipe.
        max_steps: Maximum number of optimizer steps; null: the data set's recipe.
        batch_size: Images per optimizer step; null: the data set's recipe.
        train_images: Train on a random subset of this size; null: all images.
        unequal: Settings that methods may differ in, such as max_steps for a comparison at equal
            cost; each method's own comes from --set or its label. The heading of table.md names
            them.
        device: Device: cpu, cuda, cuda:1; auto: GPUs if there are some, shared among the workers.
        deterministic: Same bits in every training and evaluation on the same GPU, for some speed.
        compile: Faster attacks on a GPU, in trainings and evaluations: attack (torch.compile).
            Numbers differ by rounding.
        report_to: Experiment trackers that also get each run's training and evaluation, and the
            study's table: tensorboard, wandb, mlflow.
    """

    methods: tuple[str, ...] = field(
        default=("table6", "table7", "table8"), metadata={"group": "study"}
    )
    seeds: tuple[int, ...] = (0,)
    out: Path = Path("runs/compare")
    baseline: str = "grace"
    set: dict[str, str] = field(default_factory=dict)
    lr_grid: str = "off"
    lr_extend: bool = False
    trial_share: float = 0.25
    lr_search: Literal["off", "asha"] = "off"
    lr_trials: int = 9
    lr_range: float = 10.0
    also: dict[str, str] = field(default_factory=dict)
    also_model: str | None = None
    also_pretrained: str | None = None
    workers: int | None = None
    data: str = field(default="shapes", metadata={"group": "equal terms"})
    data_root: Path | None = None
    download: bool = False
    model: str = "tiny-shapes"
    pretrained: str | None = None
    epochs: int | None = None
    max_steps: int | None = None
    batch_size: int | None = None
    train_images: int | None = None
    unequal: tuple[str, ...] = ()
    device: str = "auto"
    deterministic: bool = False
    compile: Mode = "off"
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.report_to)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(
                f"--seeds needs different numbers, at least one; got {list(self.seeds)}"
            )
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers must be at least 1, not {self.workers}")
        if not 0 < self.trial_share <= 1:
            raise UserError(f"--trial-share must lie in (0, 1], not {self.trial_share:g}")
        if self.lr_trials < 3:
            raise UserError(f"--lr-trials must be at least 3, not {self.lr_trials}")
        if not 1 < self.lr_range <= 1e6:
            raise UserError(f"--lr-range must lie in (1, 1e6], not {self.lr_range:g}")
        if not self.labels():
            raise UserError("--methods names no method")
        for name in self.unequal:
            check_known("--unequal", name, MAY_DIFFER)
        if self.unequal and self.lr_search != "off":
            raise UserError(
                f"--lr-search {self.lr_search} spends the same steps on every method, which "
                "--unequal allows to differ: choose the rates first, in a study on equal terms"
            )
        if self.lr_grid not in ("off", "search"):
            self.rates(1.0)
        self._no_contradictions()

    def _no_contradictions(self) -> None:
        """Refuse options of which one would silently win over another.

        Raises:
            UserError: Naming both.
        """
        labels = self.labels()
        if self.baseline != "grace" and self.baseline not in (*labels, *self.also):
            raise UserError(
                f"--baseline {self.baseline} is no row of this study: "
                f"{', '.join((*labels, *self.also))}"
            )
        if self.lr_search != "off" and self.lr_grid != "off":
            raise UserError(
                f"--lr-search {self.lr_search} and --lr-grid {self.lr_grid} are two ways to choose "
                "a learning rate: drop one of them"
            )
        if self.lr_extend and self.lr_grid == "off":
            raise UserError("--lr-extend needs a grid: add --lr-grid search, or numbers")
        if clash := sorted(set(labels) & set(self.also)):
            raise UserError(
                f"--also {clash[0]}=...: a method of this study has that name; choose another"
            )
        for name in self.also:
            if same := [
                other
                for other in self.also
                if other != name and folder_name(other) == folder_name(name)
            ]:
                raise UserError(
                    f"--also {name}=... and {same[0]}=... would share a file: rename one"
                )
        fixed = [
            f"--set {key}"
            for key in self.set
            if key.partition(".")[2] == "lr" and self.lr_grid not in ("search", "off")
        ]
        fixed += [
            f"--methods {label}"
            for label in labels
            if any(e.startswith("lr=") for e in label.split(":")[1:])
        ]
        chooses = "--lr-search" if self.lr_search != "off" else "--lr-grid"
        if fixed and (self.lr_grid != "off" or self.lr_search != "off"):
            raise UserError(
                f"{fixed[0]} fixes a learning rate that {chooses} would choose: drop one of them"
            )
        for key in self.set:
            if key.partition(".")[2] in OF_THE_STUDY:
                raise UserError(f"--set {key}: the study decides that itself")

    def labels(self) -> tuple[str, ...]:
        """The rows of the study in order, groups written out, each once.

        Raises:
            UserError: For an unknown method.
        """
        found: dict[str, None] = {}
        for entry in self.methods:
            group = tuple(METHODS) if entry == "all" else GROUPS.get(entry, ())
            known = [label for label in group if label.partition(":")[0] in METHODS]
            for label in known or [entry]:
                name = label.partition(":")[0]
                if name not in METHODS:
                    raise unknown("--methods:", name, row_names())
                found[label] = None
        return tuple(found)

    def rates(self, recorded: float) -> tuple[float, ...]:
        """Learning rates to try; none where nothing is tried.

        Raises:
            UserError: If the grid is not a list of positive numbers.
        """
        if self.lr_grid == "off":
            return ()
        if self.lr_grid == "search":
            return (recorded / 3, recorded, recorded * 3)
        try:
            rates = tuple(float(entry) for entry in self.lr_grid.split(","))
        except ValueError:
            rates = ()
        if not rates or min(rates) <= 0:
            raise UserError(
                f"--lr-grid must be off, search or numbers such as 3e-5,1e-4, not {self.lr_grid!r}"
            )
        return rates


def row_names() -> list[str]:
    """What ``--methods`` takes: methods, groups of them, and all."""
    return [*METHODS, *GROUPS, "all"]


@dataclass(frozen=True)
class Job:
    """One run of the study.

    Attributes:
        label: The row that it belongs to, as in ``--methods``.
        seed: Training seed.
        config: All settings.
    """

    label: str
    seed: int
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.config.run_dir

    @property
    def name(self) -> str:
        """Its run directory's name."""
        return self.folder.name


def jobs_of(
    options: StudyOptions, ood: Mapping[str, str], rates: Mapping[str, float] | None = None
) -> list[Job]:
    """Every run, by method, then seed; a method that does not train has one run, whatever the
    seeds.

    Args:
        options: The study.
        ood: OOD sets to be named in the runs' records.
        rates: Learning rates that were found by trials, by label.

    Raises:
        UserError: Unknown options, or unequal terms.
    """
    jobs: list[Job] = []
    for label in options.labels():
        seeds = options.seeds if method_class(label.partition(":")[0]).trains else options.seeds[:1]
        for seed in seeds:
            values = settings_of(options, label, seed) | {"ood": dict(ood)}
            if rates and label in rates:
                values["lr"] = rates[label]
            jobs.append(Job(label, seed, make_config(values, f"--methods {label}")))
    _equal_terms(jobs, options.unequal)
    return jobs


def refuse_other_runs(jobs: Sequence[Job]) -> None:
    """Refuse a folder in which a run of the same name was made with other settings.

    Raises:
        UserError: Naming the run and what differs.
    """
    for job in jobs:
        stored = stored_settings(job.folder)
        if stored and (changed := differing(job.config, stored)):
            raise UserError(
                f"{job.folder} was made with other settings: {'; '.join(changed[:3])}. "
                "Choose another --out, or remove that folder"
            )


def settings_of(options: StudyOptions, label: str, seed: int) -> dict[str, Any]:
    """Flat settings of a run, without a learning rate that would have to be tried out first."""
    method, *own = label.split(":")
    values: dict[str, Any] = {
        "method": method,
        "seed": seed,
        "out": options.out / f"{folder_name(label)}-s{seed}",
        "data": options.data,
        "data_root": options.data_root,
        "download": options.download,
        "model": options.model,
        "pretrained": options.pretrained,
        "device": options.device,
        "deterministic": options.deterministic,
        "report_to": options.report_to,
    }
    if hasattr(method_class(method), "attack_steps"):  # the others have nothing to compile
        values["compile"] = options.compile
    for name in ("epochs", "max_steps", "batch_size", "train_images"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    values |= _set_values(options.set, method)
    for entry in own:
        name, equals, value = entry.partition("=")
        if not equals:
            raise UserError(f"--methods {label}: {entry!r} must be FIELD=VALUE")
        values[name] = value
    return values


def for_all(name: str) -> str:
    """The flag that gives a setting to every method of a study."""
    return f"--set {name}=VALUE" if name in _SHARED else f"--{name.replace('_', '-')}"


def _set_values(given: Mapping[str, str], method: str) -> dict[str, str]:
    """What ``--set`` says of a method: what it says of all, then of this one."""
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for key, value in given.items():
        target, dot, name = key.partition(".")
        if target in METHODS and dot:
            if target == method:
                own[name] = value
        elif key in _SHARED:
            shared[key] = value
        else:
            raise UserError(
                f"--set takes METHOD.FIELD=VALUE, or FIELD=VALUE for {', '.join(_SHARED)}; not "
                f"{key!r}; {nearest(target, METHODS)}"
            )
    return shared | own


def _equal_terms(jobs: list[Job], unequal: Sequence[str]) -> None:
    trained = [job for job in jobs if method_class(job.config.method).trains]
    length = {"epochs", "max_steps"}
    free = {*unequal} | (length if length & {*unequal} else set())  # one says null for the other
    names = [f.name for f in fields(TrainConfig) if f.name in EQUAL and f.name not in free]
    for job in trained[1:]:
        for name in names:
            ours, theirs = getattr(job.config, name), getattr(trained[0].config, name)
            if ours != theirs:
                said = ["null" if value is None else value for value in (ours, theirs)]
                raise UserError(
                    f"not on equal terms: {name} is {said[0]} for {job.label}, {said[1]} for "
                    f"{trained[0].label}; give {for_all(name)} to all of them"
                    + (f", or allow it: --unequal {name}" if name in MAY_DIFFER else "")
                )
