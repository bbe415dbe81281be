"""Every option of a training run: the typed settings below, and beside them the fields of the
chosen method.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from grace_geom.attacks import check_eps
from grace_geom.cli import RECORD, Command, peek
from grace_geom.cli.memory import remember
from grace_geom.cli.quick import train_key
from grace_geom.errors import UserError, nearest
from grace_geom.fields import bounded, check_bounds
from grace_geom.methods import METHODS, Method, method_class
from grace_geom.methods.base import check_fields
from grace_geom.methods.settings import decider, has_recipe, preset_of, recipe
from grace_geom.models import ModelSpec, check_model, known_models
from grace_geom.models.sources import needed_again
from grace_geom.quantities import in_levels
from grace_geom.records.length import total_steps
from grace_geom.records.places import default_out
from grace_geom.serialise import plain, read_yaml
from grace_geom.terminal import say
from grace_geom.tracking import check_names


@dataclass
class TrainConfig:
    """Settings of one training run.

    Attributes:
        method: Training method.
        preset: Named settings from the method's paper or code (published, paper ...), overridden by
            other flags; null: the method's defaults.
        model: open_clip model name (such as ViT-B-32), or tiny-shapes.
        pretrained: Weight file, open_clip tag (openai), random, or shipped. null: shipped for
            tiny-shapes.
        pretrained_base: Weight file, folder or tag of what --pretrained lacks: the text tower of an
            image tower alone, or the weights below low-rank factors.
        preprocess: Override the preprocessing of the weights: resize_mode=squash,mean=0.5 (also
            interpolation, std, fill_color), or a JSON file like open_clip_config.json; null: as the
            tag, the configuration beside the file, or the network says.
        out: Run directory; null: runs/METHOD-DATA-sSEED.
        resume: Continue the run from its newest checkpoint.
        resume_anyway: Like resume, but accept images or labels that changed since the run began;
            this is recorded.
        seed: Random seed for shuffling, augmentation, LoRA init and attacks.
        device: Device: cpu, cuda, cuda:1; auto: a GPU if there is one.
        deterministic: Same bits in every run on the same GPU, for some speed.
        data: Training data: shapes, npz:FILE, npy:IMAGES, folder:DIR, csv:FILE, wds:PATTERN,
            hf:NAME_OR_DIR, torchvision:NAME or imagenet.
        ood: Out-of-distribution sets to evaluate the run on later, as NAME=SPEC, such as
            sketch=folder:sketches.
        data_root: Directory of the torchvision and ImageNet data sets.
        download: Download missing torchvision data sets.
        templates: Prompt templates: a built-in kind (imagenet, cifar, generic ...) or a file with
            one template per line; null: chosen by the data set.
        val_fraction: Fraction of the training images to hold out if the data have no validation
            split.
        split_seed: Random seed of drawn splits; separate from seed, so that runs share their
            held-out images.
        val_images: Maximum number of held-out images per evaluation.
        val_pgd: Number of PGD steps on held-out images, with the method's eps (4/255 if it has
            none); 0: no attack.
        train_images: Train on a random subset of this size; null: all images.
        image_size: Image size in pixels; null: the model's. Other sizes are resized inside the
            model.
        shuffle_buffer: Size of the shuffle buffer for reading shards (wds:) nearly sequentially,
            those of a store (s3, gs) without a copy; null: random access, which needs a fast disk.
        workers: Number of data-loading processes; null: 0 on the CPU, up to 8 with a GPU. Does not
            affect results.
        epochs: Number of epochs; null: until max_steps, or 10.
        max_steps: Maximum number of optimizer steps; the schedule ends there.
        batch_size: Images per optimizer step, over all processes.
        micro_batch: Images per forward pass and process; smaller values accumulate gradients. null:
            the whole batch; auto: as many as fit in memory. The step's weight perturbation is the
            same either way.
        warmup: Linear warm-up of the learning rate: a fraction of the run if below 1, else a number
            of steps.
        schedule: Learning-rate schedule after warm-up: cosine (decays to 0) or constant.
        clip_norm: Maximum gradient norm; null: no clipping; auto: the preset's value, or 1.
        ema: Decay of an exponential moving average of the trained tensors; evaluations and
            checkpoints are of the average. 0: none.
        precision: Precision of the image tower; auto: float32 on the CPU, bf16 on GPUs that support
            it. bf16 raises GRACE's Gram volume by some per cent, more at small eps (docs/gpu.md).
        tf32: Let NVIDIA GPUs compute float32 products and convolutions of training steps in TF32
            (10 bits of mantissa): faster, less exact. Evaluation never does.
        bf16_residual: With bf16 or fp16 on a GPU, keep a ViT's residual stream in that precision
            too, where autocast has float32: about half of the activations' memory.
        compile: Faster gradients of the training attack on a GPU: attack (torch.compile), or graphs
            (CUDA graphs; for small batches; takes the memory of one more pass). Where that fails,
            you are told once why, and training goes on without.
        grad_checkpoint: Recompute blocks in the backward pass: less memory, about a third more
            time.
        eval_every: Epochs between evaluations on held-out images; 0: only at the end.
        eval_at: Steps after which held-out images are evaluated too, such as 100,300.
        save_every: Steps between checkpoints, in addition to those after each evaluation; null:
            none.
        keep: Number of newest checkpoints to keep in checkpoints/ in addition to the best one; 0:
            all.
        log_every: Steps between lines in metrics.jsonl.
        report_to: Experiment trackers to report to as well: tensorboard, wandb, mlflow.
        tensorboard: Same as --report-to tensorboard.
        stop_after: Stop after this step as if by Ctrl-C; --resume continues.
        options: Fields of the method that differ from its defaults.
    """

    method: str = field(default="grace", metadata={"group": "run"})
    preset: str | None = None
    model: str = "tiny-shapes"
    pretrained: str | None = None
    pretrained_base: str | None = None
    preprocess: str | None = None
    out: Path | None = None
    resume: bool = False
    resume_anyway: bool = False
    seed: int = bounded(0, least=0)
    device: str = "auto"
    deterministic: bool = False
    data: str = field(default="shapes", metadata={"group": "data"})
    ood: dict[str, str] = field(default_factory=dict)
    data_root: Path | None = None
    download: bool = False
    templates: str | None = None
    val_fraction: float = bounded(0.1, least=0)
    split_seed: int = bounded(0, least=0)
    val_images: int = bounded(5000, least=1)
    val_pgd: int = bounded(0, least=0)
    train_images: int | None = bounded(None, least=1)
    image_size: int | None = bounded(None, least=1, most=8192)
    shuffle_buffer: int | None = bounded(None, least=1)
    workers: int | None = bounded(None, least=0)
    epochs: int | None = bounded(None, least=0, group="training")
    max_steps: int | None = bounded(None, least=0)
    batch_size: int = bounded(256, least=1)
    micro_batch: int | Literal["auto"] | None = bounded(None, least=1)
    warmup: float = bounded(0.1, least=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float | Literal["auto"] | None = bounded("auto", least=0)
    ema: float = bounded(0.0, least=0, most=0.999999)
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    tf32: bool = False
    bf16_residual: bool = False
    compile: Literal["off", "attack", "graphs"] = "off"
    grad_checkpoint: bool = False
    eval_every: int = bounded(1, least=0, group="records")
    eval_at: tuple[int, ...] = ()
    save_every: int | None = bounded(None, least=1)
    keep: int = bounded(1, least=0)
    log_every: int = bounded(10, least=1)
    report_to: tuple[str, ...] = ()
    tensorboard: bool = False
    stop_after: int | None = bounded(None, least=1)
    options: dict[str, Any] = field(default_factory=dict, metadata={"flag": False})

    def __post_init__(self) -> None:
        cls = method_class(self.method)
        self.resume = self.resume or self.resume_anyway
        check_model(self.model)
        check_names(self.report_to)
        names = {f.name for f in fields(cls)}
        for name in self.options:
            if name not in names:
                raise UserError(f"{self.method} has no option {name!r}; {nearest(name, names)}")
        self.clip_norm = self.largest_norm
        check_bounds(self)
        if self.eval_at and min(self.eval_at) < 1:
            raise UserError(f"--eval-at takes steps from 1 on, not {min(self.eval_at)}")
        if self.clip_norm == 0:
            raise UserError(
                "--clip-norm is 0, which would stop all training: use null for no clipping"
            )
        check_fields(self.build_method())

    @property
    def largest_norm(self) -> float | None:
        """``clip_norm`` as a number: where it is ``auto``, what the preset says, else 1."""
        if self.clip_norm == "auto":
            return preset_of(self.method, self.preset).get("clip_norm", 1.0)
        return self.clip_norm

    def build_method(self) -> Method:
        """The method with this run's options, over those of its preset."""
        given = preset_of(self.method, self.preset)
        own = {name: value for name, value in given.items() if name not in _SETTINGS}
        return method_class(self.method)(**{**own, **self.options})

    @property
    def run_dir(self) -> Path:
        """Where the run is kept."""
        return (
            Path(self.out)
            if self.out is not None
            else default_out(self.method, self.data, self.seed)
        )

    @property
    def spec(self) -> ModelSpec:
        """The network and its pretrained weights."""
        return ModelSpec(
            self.model, self.pretrained, self.seed, self.preprocess, self.pretrained_base
        )

    def flat(self) -> dict[str, Any]:
        """Every setting and every field of the method as plain values, in one name space;
        ``make_config`` reads it.
        """
        own = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name != "options"}
        return own | plain(self.build_method())

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the run: ``epochs`` or ``max_steps``, whichever ends first."""
        return total_steps(self.epochs, self.max_steps, steps_per_epoch)


NOT_THE_RUN = (
    "out", "resume", "resume_anyway", "stop_after", "device", "deterministic", "workers",
    "data_root", "download", "ood", "compile", "eval_every", "eval_at", "save_every", "keep", "log_every",
    "report_to",
    "tensorboard", "val_images", "val_pgd",
)  # fmt: skip
"""Settings that a resumed run may change: they do not change what is trained."""


def make_config(values: Mapping[str, Any], source: str = "settings") -> TrainConfig:
    """A run from plain, flat values over the data set's recipe over the defaults.

    Args:
        values: ``{"method": "at", "data": "shapes", "lr": 1e-3, "eps": "4/255", ...}``.
        source: What error messages call them.

    Raises:
        UserError: Unknown names, values of another type or out of range.
    """
    name, data = str(values.get("method", "grace")), str(values.get("data", "shapes"))
    command = _command(name, recipe(data, name, values) | preset_of(name, values.get("preset")))
    return _configured(command.read({**values, "method": name, "data": data}, source))


def parse_train(argv: Sequence[str] | None = None) -> TrainConfig:
    """A run from the command line of ``python -m grace_geom.train``.

    With ``--resume``, what the flags do not say is taken from the run directory.

    Raises:
        UserError: As :func:`make_config`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    remember("methods", list(METHODS))
    remember("models", list(known_models()))
    data, name, preset = (
        peek(argv, "data", "shapes"),
        peek(argv, "method", "grace"),
        peek(argv, "preset", "null"),
    )
    stored = (
        stored_settings(_peeked_out(argv, name, data))
        if "--resume" in (token[:8] for token in argv)
        else {}
    )
    if stored:
        name = peek(argv, "method", stored.get("method", name))
        defaults: dict[str, Any] = {
            key: value
            for key, value in stored.items()
            if key not in ("out", "resume", "resume_anyway")
        }
        if name != stored.get("method"):  # refused later, by name; its fields are another method's
            defaults = {key: value for key, value in defaults.items() if key in _SETTINGS} | {
                "method": name
            }
    else:
        length = [
            key
            for key in ("epochs", "max_steps")
            if peek(argv, key, "null") not in ("null", "None")
        ]
        given: dict[str, Any] = {"preset": preset} | dict.fromkeys(length, True)
        decided = {key: peek(argv, key, "") for key in method_class(name).deciding}
        given |= decided
        defaults = recipe(data, name, given) | preset_of(name, preset)
    where = (
        dict.fromkeys(defaults, "in this run")
        if stored
        else _where(decider(data, decided), preset, name, defaults)
    )
    values = _command(name, defaults, train_key(argv), where).values(argv)
    with needed_again(str(values["model"]), "--resume") if stored else contextlib.nullcontext():
        config = _configured(values)
    if defaults and not stored:
        named = f"recipe of {data}" if has_recipe(data) else decider(data, decided)
        sources = [named] * bool(recipe(data, name, given))
        sources += [f"preset {preset}"] * bool(config.preset)
        shown = [(key, value) for key, value in defaults.items() if values[key] == value]
        text = ", ".join(f"{key} {_said(value)}" for key, value in shown)
        say(f"{' and '.join(sources)} (flags and --config override it): {text}")
    return config


def _where(decider: str, preset: str, method: str, defaults: Mapping[str, Any]) -> dict[str, str]:
    """When each of these defaults applies in the place of the usual one, in words."""
    named = f"with --preset {preset}", f"with {decider}"
    chosen = preset_of(method, preset)
    return {name: named[name not in chosen] for name in defaults}


def _said(value: object) -> str:
    if not isinstance(value, float):
        return "null" if value is None else str(value)
    return in_levels(value) or f"{value:g}"


def stored_settings(run_dir: Path) -> dict[str, Any]:
    """The settings that a run directory keeps, without the record of where it ran, over what its
    method did before it had an option for it; empty where there are none.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        return {}
    stored = {key: value for key, value in read_yaml(path).items() if key != RECORD}
    method = METHODS.get(str(stored.get("method")), Method)
    return {**method.before(str(stored.get("data"))), **stored}


_SETTINGS = tuple(f.name for f in fields(TrainConfig) if f.name != "options")


def _peeked_out(argv: Sequence[str], method: str, data: str) -> Path:
    out = peek(argv, "out", "")
    return (
        Path(out) if out and out != "null" else default_out(method, data, peek(argv, "seed", "0"))
    )


def _command(
    method: str,
    defaults: Mapping[str, Any],
    key: str | None = None,
    where: Mapping[str, str] | None = None,
) -> Command:
    cls = method_class(method)
    title = type("Options", (), {"group": f"method {method}"})
    part = type(
        cls.__name__, (cls, title), {"__doc__": None}
    )  # the same fields under a title that says whose they are
    return Command(
        [TrainConfig, part],
        prog="python -m grace_geom.train",
        defaults=defaults,
        where=where,
        description=f"Fine-tune a CLIP image tower. Methods: {', '.join(METHODS)}.",
        key=key,
    )


def _configured(values: Mapping[str, Any]) -> TrainConfig:
    own = {name: value for name, value in values.items() if name in _SETTINGS}
    config = TrainConfig(
        **own, options={name: value for name, value in values.items() if name not in _SETTINGS}
    )
    eps = config.options.get("eps")
    if eps is not None and (warning := check_eps(eps)):
        say(f"warning: --eps: {warning}")
    return config


def differing(config: TrainConfig, stored: Mapping[str, Any]) -> list[str]:
    """``name: stored, now given`` for every setting that would make a resumed run another one.

    A run from before an option existed did what the option's default does, so that default counts
    as stored: a study may go on after the package was brought up to date.
    """
    now = config.flat()
    before = {**TrainConfig(method=config.method, preset=config.preset).flat(), **stored}
    names = [name for name in before if name not in NOT_THE_RUN]
    return [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in names
        if before.get(name) != now.get(name)
    ]
