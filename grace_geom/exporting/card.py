"""The model card: ``README.md`` of an exported folder, with metadata as the Hub reads it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grace_geom.config import NOT_THE_RUN
from grace_geom.errors import UserError
from grace_geom.evaluation.measures import short_name
from grace_geom.evaluation.one_checkpoint import record_file
from grace_geom.exporting.head import HEAD_FILE, about_head, own_accuracy
from grace_geom.exporting.loaded import Loaded
from grace_geom.exporting.recipe import public, training_command
from grace_geom.exporting.usage import LIBRARIES, PIPELINES, usage
from grace_geom.files import sha256
from grace_geom.records import (
    Accuracy,
    EvalRecord,
    attack_text,
    convention_notes,
    is_mean_per_class,
    shown,
    strongest,
)
from grace_geom.serialise import to_yaml

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Card:
    """What a card tells beside the checkpoint.

    Attributes:
        name: Of the model: that of the folder, or of the repository.
        format: Of the export.
        accuracies: On record for this very checkpoint file.
        license: Identifier as the Hub knows it (``mit``); ``None``: not said.
        base: Name of the model that was fine-tuned, where it was given.
        trained_head: Whether the head is another than the text tower gives; ``None``: unknown.
        repository: Of the Hub, where the folder is pushed to.
        absent_tokenizer: Name of the tokenizer, where its files should lie in the folder and do
            not.
    """

    name: str
    format: str
    accuracies: tuple[Accuracy, ...]
    license: str | None
    base: str | None
    trained_head: bool | None
    repository: str | None = None
    absent_tokenizer: str = ""


def accuracies_of(file: Path) -> tuple[tuple[Accuracy, ...], str]:
    """The accuracies that an evaluation left beside a checkpoint, and why there are none.

    Raises:
        RecordError: If the record is damaged.
    """
    path = record_file(file)
    if not path.is_file():
        return (), f"no {path.name} beside it: evaluate first to have the numbers in the card"
    record = EvalRecord.load(path)
    if record.checkpoint != sha256(file):
        return (), f"{path.name} is of another checkpoint: evaluate again to have its numbers"
    return tuple(strongest(record.accuracies)), ""


def card_text(card: Card, loaded: Loaded) -> str:
    """``README.md``: metadata, how to use the folder, accuracies, training."""
    parts = [
        f"---\n{to_yaml(metadata(card, loaded))}---",
        f"# {card.name}",
        _summary(loaded),
        "## Use",
        usage(card.format, card.name, loaded, card.base),
        *(
            [
                f"`{card.name}` is the folder that `hf download {card.repository} --local-dir "
                f"{card.name}` makes."
            ]
            if card.repository
            else []
        ),
        *([tokenizer_sentence(card)] if card.absent_tokenizer else []),
        head_sentence(card),
        "## Accuracy",
        _accuracies(card.accuracies),
        "## Training",
        _training(loaded),
    ]
    return "\n\n".join(parts) + "\n"


def tokenizer_sentence(card: Card) -> str:
    """How a folder without its tokenizer's files is made whole."""
    name = card.absent_tokenizer
    return (
        f"The tokenizer `{name}` could not be read when this was exported, and its files are not "
        f"here: copy them into the folder (`hf download {name} --local-dir {card.name}`) before "
        "texts are encoded."
    )


def head_sentence(card: Card) -> str:
    """What becomes of the accuracy without the head."""
    in_graph = card.format in ("torch.export", "onnx")
    carried = "in the graph" if in_graph else f"in `{HEAD_FILE}`"
    return about_head(carried, card.trained_head, own_accuracy(card.accuracies))


def metadata(card: Card, loaded: Loaded) -> dict[str, Any]:
    """The YAML front matter: what the Hub shows and searches by."""
    method = str(loaded.checkpoint.config.get("method", ""))
    tags = [
        "clip",
        "robustness",
        "grace_geom",
        method,
        *(["lora"] if card.format == "peft" else []),
    ]
    on_hub = card.base is not None and HUB_NAME.fullmatch(card.base) is not None
    found: dict[str, Any] = {
        "license": card.license,
        "library_name": LIBRARIES[card.format],
        "pipeline_tag": PIPELINES[card.format],
        "tags": list(dict.fromkeys(filter(None, tags))),
    }
    if on_hub and not Path(str(card.base)).exists():
        found["base_model"] = card.base
        found["base_model_relation"] = "adapter" if card.format == "peft" else "finetune"
    found["model-index"] = _model_index(card)
    return {key: value for key, value in found.items() if value is not None}


def _model_index(card: Card) -> list[dict[str, Any]] | None:
    if not card.accuracies:
        return None
    results = [
        {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {"type": _slug(a.data), "name": a.data},
            "metrics": [
                {"type": "accuracy", "value": round(shown(a).value, 4), "name": _metric(a)}
            ],
        }
        for a in card.accuracies
    ]
    return [{"name": card.name, "results": results}]


def _metric(a: Accuracy) -> str:
    attack = attack_text(a.attack)
    what = "Mean per-class accuracy" if is_mean_per_class(a) else "Accuracy"
    return f"{what} under {attack}" if attack else f"{what} ({a.suite})"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "data"


def _summary(loaded: Loaded) -> str:
    checkpoint, model = loaded.checkpoint, loaded.model
    base, config = checkpoint.base, checkpoint.config
    data = f", fine-tuned on {short_name(config['data'])}" if config.get("data") else ""
    method = f" with the method `{config['method']}`" if config.get("method") else ""
    start = f" Pretrained weights: {base['origin']}." if base.get("origin") else ""
    return (
        f"CLIP `{public(checkpoint.model)}`{data}{method} of "
        f"grace_geom: {len(model.class_names)} classes, {checkpoint.step} steps.{start}"
    )


def _accuracies(accuracies: tuple[Accuracy, ...]) -> str:
    if not accuracies:
        return "No evaluation of this checkpoint was on record when it was exported."
    rows = [
        "| data | attack | accuracy | 95 % interval | images |",
        "| --- | --- | ---: | --- | ---: |",
    ]
    for a in accuracies:
        attack = attack_text(a.attack, "all") or "none"
        e = shown(a)
        rows.append(
            f"| {a.data} ({a.suite}) | {attack} | {100 * e.value:.1f} % | "
            f"{100 * e.low:.1f} to {100 * e.high:.1f} | {a.n} |"
        )
    notes = list(dict.fromkeys(f"{a.data}: {note}" for a in accuracies for note in a.notes))
    notes += convention_notes(accuracies)
    measured = "Measured at the checkpoint, which gives the logits of this folder, by grace_geom."
    return "\n".join([*rows, "", measured, *(f"\n- {note}" for note in notes)])


def _training(loaded: Loaded) -> str:
    config = loaded.checkpoint.config
    if not config:
        return "The checkpoint does not tell how it was trained."
    shown = {key: public(value) for key, value in config.items() if key not in NOT_THE_RUN}
    settings = "\n".join(
        f"| `{key}` | {_cell(value)} |" for key, value in shown.items() if value is not None
    )
    try:
        line = f"```text\n{training_command(config)}\n```"
    except UserError as error:  # another version of the package, or a method from elsewhere
        line = f"The installed grace_geom cannot repeat these settings: {error}"
    return f"{line}\n\n| setting | value |\n| --- | --- |\n{settings}"


def _cell(value: Any) -> str:
    return str(value).replace("|", r"\|").replace("\n", " ")
