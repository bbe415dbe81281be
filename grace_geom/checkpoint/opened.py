"""From a checkpoint to a model, and from a model to a checkpoint; foreign CLIP weights are accepted
too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from grace_geom.checkpoint.record import Checkpoint, parsed, recorded, refuse_nameless
from grace_geom.errors import UserError, nearest
from grace_geom.models import (
    PROMPT,
    ClipClassifier,
    ModelSpec,
    build,
    open_clip_model,
    preprocess_as_file,
    preprocess_of,
    set_preprocess,
    tokenizer_of,
)
from grace_geom.models.foreign import read_foreign
from grace_geom.models.head import DeferredTokenizer
from grace_geom.models.loading import say_activation, say_notes
from grace_geom.models.sources import known_models, needed_again, network, register, usable, written
from grace_geom.models.tensor_files import digest, is_ours, read_tensors, verify_digest
from grace_geom.records.places import checkpoint_file
from grace_geom.weights import Weights

HEAD = "head."
CHOOSE = (
    "say which with --weights ema, --weights model or --weights PLACE where the command takes it, "
    "or save the one that is meant in a file of its own"
)


def checkpoint_of(
    model: ClipClassifier, weights: Weights, *, base_sha256: str | None = None, **record: Any
) -> Checkpoint:
    """The checkpoint of ``model`` at ``weights`` (names that are missing keep the model's own
    value).

    Args:
        model: The frozen pretrained classifier.
        weights: What a method's ``finish`` or ``weights`` returns: open_clip names,
            ``head.weight``, ``head.bias``; and ``visual.prompt``, which is no weight of an
            open_clip model and is kept under ``adapter``.
        base_sha256: Digest of the model's own weights where it is known: large models take seconds
            to hash.
        **record: Other fields of :class:`Checkpoint`.
    """
    clip = {name: w.detach() for name, w in model.clip.state_dict().items()}
    unknown = weights.keys() - clip.keys() - model.head.keys() - {PROMPT}
    if unknown:
        raise KeyError(f"weights that the model does not have: {sorted(unknown)[:3]}")
    head = {name: weights.get(name, w) for name, w in model.head.items()}
    if PROMPT in weights:
        record["adapter"] = record.get("adapter", {}) | {PROMPT: weights[PROMPT]}
    spec = model.spec or ModelSpec("", None)
    return Checkpoint(
        model=written(architecture(model.clip, spec.model)),
        state_dict={name: weights.get(name, w) for name, w in clip.items()},
        class_names=model.class_names,
        templates=model.templates,
        text_head={name.removeprefix(HEAD): w for name, w in head.items()},
        base=_base(spec, model.origin, base_sha256 or digest(clip)),
        preprocess=model.preprocess.record() | {"image_size": model.image_size},
        network=network(spec.model),
        **record,
    )


def _base(spec: ModelSpec, origin: str, sha256: str) -> dict[str, Any]:
    """The record of pretrained weights; ``pretrained_base`` only where some were needed."""
    more = {} if spec.base is None else {"pretrained_base": spec.base}
    return {
        "model": written(spec.model),
        "pretrained": spec.pretrained,
        "seed": spec.seed,
        "origin": origin,
        "sha256": sha256,
    } | more


def open_checkpoint(
    path: Path | str,
    *,
    model: str | None = None,
    pretrained: str | None = None,
    preprocess: str | None = None,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    weights: str | None = None,
    foreign_head: Callable[[], tuple[Sequence[str], Sequence[str]]] | None = None,
    device: torch.device | str = "cpu",
    verify: bool = True,
) -> tuple[ClipClassifier, Checkpoint]:
    """A classifier at the checkpoint's weights, and its record.

    A foreign file is accepted too: an open_clip state dict in any wrapping, OpenAI's archives,
    low-rank factors beside the weights, or the image tower alone as RobustVLM, TeCoA and FARE
    publish it (its text tower then comes from ``pretrained``). What was done on the way is told as
    a warning and kept under ``config["reading"]``.

    Args:
        path: Our ``ckpt.pt``, or foreign weights (``.pt``, ``.safetensors``).
        model: open_clip name of a foreign file's network.
        pretrained: Where the text tower of an image-tower-only file comes from: the weights that it
            was tuned from, which is also what analyses measure its drift from.
        preprocess: How a foreign file's model reads pictures, as ``--preprocess`` has it; by
            default as ``pretrained``, as the hub's configuration beside the file, or guessed.
        class_names: Classes of a foreign file's head; for one of ours, ask these instead of its
            own.
        templates: Prompt templates of that head; ``("a photo of a {}.",)`` if not given.
        weights: Which of two sets of weights in a foreign file: ``ema``, ``model``, or a place in
            the file.
        foreign_head: Class names and templates of a foreign file where they are not given; asked
            only if it is one.
        device: Where the model shall live.
        verify: Compare the content of one of ours with the digests that it was written with.

    Raises:
        UserError: As :func:`load_checkpoint`, and where a foreign file comes without names or does
            not fit.
    """
    path = checkpoint_file(Path(path))
    content = read_tensors(path)
    if is_ours(content):
        checkpoint = parsed(content, path, verify=False)
        if preprocess is not None:
            raise UserError(f"{path} records how its pictures are read: leave --preprocess out")
        classifier = _classifier(checkpoint, path)  # first: it says what does not fit
        if verify:
            verify_digest(content, path)
        classifier = classifier.to(device)  # before its texts are encoded
        if class_names is not None and tuple(class_names) != classifier.class_names:
            classifier = classifier.with_head(class_names, templates or checkpoint.templates)
    else:
        refuse_nameless(content, path)
        if model is not None and class_names is None and foreign_head is not None:
            class_names, templates = foreign_head()
        if model is None or class_names is None:
            missing = "--model NAME" if model is None else "--classes FILE"
            raise UserError(
                f"{path} is not a checkpoint of grace_geom; to read it as another CLIP add "
                f"{missing}"
            )
        spec = ModelSpec(model, pretrained, preprocess=preprocess)
        classifier, base, notes = _foreign(
            content,
            Path(path),
            spec,
            class_names,
            templates or ("a photo of a {}.",),
            weights,
            device,
        )
        config = {"foreign": str(path)} | ({"reading": notes} if notes else {})
        record = checkpoint_of(classifier, {}, config=config)
        checkpoint = replace(
            record,
            base=base,
            state_dict=_on_cpu(record.state_dict),
            text_head=_on_cpu(record.text_head),
        )
    return classifier, checkpoint


def _on_cpu(weights: Weights) -> Weights:
    return {name: w.cpu() for name, w in weights.items()}


def open_base(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> ClipClassifier:
    """The pretrained model that a run started from, with the zero-shot head of the same classes.

    Raises:
        UserError: If its weights are not here any more, are others than those the run started from,
            or nobody has said which they were, as for a foreign file without ``--pretrained``.
    """
    if not checkpoint.base:
        raise UserError(
            f"{checkpoint.config.get('foreign', 'this checkpoint')} does not say which weights it "
            "was tuned from: add --pretrained TAG or FILE"
        )
    base = checkpoint.base
    name = base["model"]
    if checkpoint.network and base["pretrained"] is not None:  # the folder itself is not needed
        name = register(checkpoint.network, name)
    spec = ModelSpec(name, base["pretrained"], base["seed"], base=base.get("pretrained_base"))
    with needed_again(base["model"], "a comparison with where the run started"):
        model = build(spec, checkpoint.class_names, checkpoint.templates, device)
    if digest(model.clip.state_dict()) != checkpoint.base["sha256"]:
        raise UserError(
            f"the weights of {written(spec.model)} ({spec.pretrained or 'shipped'}) are not those the run "
            f"started from ({checkpoint.base['origin']})"
        )
    own = recorded(checkpoint, model.preprocess.size, "the checkpoint")
    model.read_as(own)
    return model


def load(
    path: Path | str, *, model: str | None = None, pretrained: str | None = None,
    weights: str | None = None,
) -> nn.Module:  # fmt: skip
    """A plain open_clip model with the merged weights of a checkpoint, in eval mode on the CPU.

    Args:
        path: A checkpoint, or foreign weights with ``model`` (and ``pretrained``) as in
            :func:`open_checkpoint`.
        model: open_clip name, for foreign weights.
        pretrained: Origin of the text tower, for weights of an image tower alone.
        weights: Which of two sets of foreign weights, as in :func:`open_checkpoint`.

    Raises:
        UserError: As :func:`open_checkpoint`, and where the checkpoint is more than a plain
            open_clip model.
    """
    path = checkpoint_file(Path(path))
    content = read_tensors(path)
    if is_ours(content):
        checkpoint = parsed(content, path)
        refuse_prompt(checkpoint, path)
        return _plain_clip(checkpoint, path)
    names = None if model is None else ("object",)
    classifier, _ = open_checkpoint(
        path, model=model, pretrained=pretrained, weights=weights, class_names=names
    )
    return classifier.clip


def refuse_prompt(checkpoint: Checkpoint, path: Path | str) -> None:
    """Refuse to make a plain open_clip model of one whose image tower has learned tokens.

    Raises:
        UserError: If the checkpoint has visual prompt tokens.
    """
    if PROMPT in checkpoint.adapter:
        tokens = len(checkpoint.adapter[PROMPT])
        raise UserError(
            f"{path} has {tokens} visual prompt tokens, which a plain open_clip model has no place "
            "for: without them it would be the pretrained model. evaluate and the analyses open it "
            "with them"
        )


def architecture(clip: nn.Module, name: str) -> str:
    """The open_clip name that makes this network again without its tag (OpenAI's weights switch
    QuickGELU on).
    """
    quick = any(type(module).__name__ == "QuickGELU" for module in clip.modules())
    variant = f"{name}-quickgelu"
    return variant if quick and "quickgelu" not in name and variant in known_models() else name


def _plain_clip(checkpoint: Checkpoint, path: Path | str) -> nn.Module:
    name = _network_of(checkpoint, path)
    if not {"mean", "std"} <= checkpoint.preprocess.keys():
        raise UserError(f"{path} is damaged: its preprocess has no mean or no std")
    clip, _ = open_clip_model(ModelSpec(name, "random"))
    set_preprocess(clip, recorded(checkpoint, preprocess_of(clip).size, path))
    try:
        clip.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        raise UserError(
            f"{path}: its weights do not fit {checkpoint.model}: {str(error).splitlines()[-1]}"
        ) from None
    return clip.eval()


def _network_of(checkpoint: Checkpoint, path: Path | str) -> str:
    """The name that this process builds the checkpoint's network by."""
    if checkpoint.network:
        try:
            return register(checkpoint.network, checkpoint.model)
        except (TypeError, ValueError):
            raise UserError(f"{path} is damaged: its network is no configuration") from None
    if checkpoint.model not in known_models():
        raise UserError(
            f"{path} was made with the model {checkpoint.model[:80]!r}, which is not known here; "
            f"{nearest(checkpoint.model[:80], known_models())}"
        )
    return checkpoint.model


def _classifier(checkpoint: Checkpoint, path: Path | str) -> ClipClassifier:
    clip, known = _plain_clip(checkpoint, path), _network_of(checkpoint, path)
    wide = (open_clip.get_model_config(known) or {})["embed_dim"]
    has = checkpoint.text_head["weight"].shape[1]
    if has != wide:
        raise UserError(
            f"{path} is damaged: its text_head takes features of {has} numbers, {checkpoint.model} "
            f"has {wide}"
        )
    # The head is in the file: without other classes, no text is encoded and no tokenizer is needed.
    tokenizer = DeferredTokenizer(partial(tokenizer_of, known))
    head = {HEAD + name: w for name, w in checkpoint.text_head.items()}
    model = ClipClassifier(clip, tokenizer, checkpoint.class_names, checkpoint.templates, head)
    model.spec, model.origin = (ModelSpec(known, str(path)), checkpoint.base.get("origin", ""))
    model.prompt = checkpoint.adapter.get(PROMPT)
    return model


def _foreign(
    content: Any,
    path: Path,
    spec: ModelSpec,
    class_names: Sequence[str],
    templates: Sequence[str],
    weights: str | None,
    device: torch.device | str,
) -> tuple[ClipClassifier, dict[str, Any], list[str]]:
    """The classifier, the record of the weights that it was tuned from (empty where nobody has
    named them), and how the file was read.
    """
    usable(spec.model)  # says what is wrong with an unknown name
    if spec.pretrained is not None:
        clip, origin = open_clip_model(spec)
    else:
        clip, origin = open_clip_model(replace(spec, pretrained="random", preprocess=None))[0], ""
        preprocess_as_file(clip, spec, path)
    found = read_foreign(
        content, clip, path, based=bool(origin), which=weights, advice=CHOOSE,
        model=written(spec.model),
    )  # fmt: skip
    if not origin and found.tower_only:
        raise UserError(
            f"{path} holds an image tower only: say where the text tower comes from (--pretrained "
            "TAG or FILE, or shipped for one of our own models)"
        )
    base: dict[str, Any] = {}
    if origin:
        base = _base(spec, origin, digest(clip.state_dict()))
    switched = any(type(module).__name__ == "QuickGELU" for module in clip.modules())
    if not found.told and ("quickgelu" in spec.model or not switched):  # by a tag of OpenAI's
        say_activation(spec.model, path, openai=found.openai)
    say_notes(path, found)
    clip.load_state_dict(clip.state_dict() | found.weights)
    model = ClipClassifier(clip.to(device), tokenizer_of(spec.model), class_names, templates)
    model.spec, model.origin = (
        replace(spec, pretrained=str(path)),
        path.name + (f" on {origin}" if origin else ""),
    )
    return model, base, found.notes
