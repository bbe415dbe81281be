"""A folder that transformers reads: ``CLIPModel``, ``CLIPVisionModelWithProjection``,
``CLIPVisionModel`` and ``AutoProcessor``, each with ``from_pretrained(FOLDER)``.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grace_geom.exporting.clip_layout import config_of, refuse_flaw, renamed
from grace_geom.exporting.head import write_head
from grace_geom.exporting.loaded import Loaded, compared
from grace_geom.files import write_text
from grace_geom.models import ClipClassifier

START, END = "<|startoftext|>", "<|endoftext|>"
"""As transformers writes the two tokens that open_clip calls ``<start_of_text>`` and
``<end_of_text>``.
"""


def check(loaded: Loaded) -> None:
    """Refuse a network that transformers cannot hold.

    Raises:
        UserError: Naming what does not fit.
    """
    refuse_flaw(loaded.model, loaded.checkpoint.model)


def write(folder: Path, loaded: Loaded) -> float:
    """Write model, processor and head.

    Returns:
        How far the logits are from ours, as transformers reads the folder.
    """
    from transformers import CLIPModel

    write_model(folder, loaded.model)
    write_head(folder, loaded)
    with quiet():
        clip = CLIPModel.from_pretrained(folder).eval()
    theirs = logits(clip, folder, loaded)
    return compared(loaded.zero_shot_logits(), theirs, "transformers' reading of the folder")


def write_model(folder: Path, model: ClipClassifier) -> None:
    """Write configuration, weights, image processor and tokenizer of a classifier without a
    flaw.
    """
    from transformers import CLIPConfig, CLIPModel

    with quiet():
        clip = CLIPModel(CLIPConfig(**config_of(model)))
        clip.load_state_dict(renamed(model.clip.state_dict()))
        clip.save_pretrained(folder)
        _image_processor(model).save_pretrained(folder)
        _write_tokenizer(folder, model)


@torch.no_grad()
def logits(clip: Any, folder: Path, loaded: Loaded) -> Tensor:
    """Logits ``(B, T)`` of a ``CLIPModel`` for the texts of ``loaded``, by the folder's
    tokenizer.
    """
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(
        loaded.texts, padding=True, truncation=True, return_tensors="pt"
    )
    return clip(pixel_values=loaded.normalised(), **tokens).logits_per_image


def _image_processor(model: ClipClassifier) -> Any:
    from transformers import CLIPImageProcessor

    own, side = model.preprocess, model.image_size
    squash = own.resize_mode == "squash"
    return CLIPImageProcessor(
        do_resize=True,
        size={"height": side, "width": side} if squash else {"shortest_edge": side},
        do_center_crop=not squash,
        crop_size={"height": side, "width": side},
        resample={"bilinear": 2, "bicubic": 3}[own.interpolation],  # as Pillow numbers them
        image_mean=list(own.mean),
        image_std=list(own.std),
    )


def _write_tokenizer(folder: Path, model: ClipClassifier) -> None:
    """CLIP's tokenizer from open_clip's vocabulary; ``vocab.json`` and ``merges.txt`` are what
    older readers look for.
    """
    from transformers import CLIPTokenizer

    own: Any = model.tokenizer
    special = {"<start_of_text>": START, "<end_of_text>": END}
    vocabulary = {special.get(token, token): number for token, number in own.encoder.items()}
    merges = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    length = int(own.context_length)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length).save_pretrained(folder)
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    lines = [" ".join(pair) for pair in merges]
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *lines, ""]))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars, advice, and warnings of what transformers and PEFT will change between
    themselves: none of it is for our users.
    """
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
