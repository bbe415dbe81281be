"""The zero-shot head: class names and prompts become one unit vector a class (Radford et al. 2021,
sec. 3.1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from grace_geom.errors import UserError
from grace_geom.weights import Weights

Tokenizer = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class DeferredTokenizer:
    """A tokenizer that is only read when there is a text: a model whose head is known needs none.

    Attributes:
        read: Reads it.
    """

    read: Callable[[], Tokenizer]


class TextTower(nn.Module):
    """The text tower of an open_clip model alone, whatever its layout: tokens -> unit features."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Int[Tensor, " b l"]) -> Float[Tensor, " b d"]:
        """Unit features of tokenised texts."""
        return self.clip.encode_text(tokens, normalize=True)  # type: ignore[operator]


def device_of(clip: nn.Module) -> torch.device:
    """Where a model's weights lie."""
    return next(clip.parameters()).device


def encode_text(
    clip: nn.Module, tokens: Int[Tensor, " b l"], weights: Weights | None = None
) -> Float[Tensor, " b d"]:
    """Unit text features, at the model's own weights but for those of ``weights`` (by their
    open_clip names).
    """
    own = dict(clip.named_parameters())
    given = {
        f"clip.{name}": w
        for name, w in (weights or {}).items()
        if name in own and not name.startswith("visual.")
    }
    return functional_call(TextTower(clip), given, (tokens,))


def text_head(
    clip: nn.Module,
    tokenizer: Tokenizer,
    class_names: Sequence[str],
    templates: Sequence[str],
    batch: int = 1024,
    weights: Weights | None = None,
) -> Float[Tensor, " k d"]:
    """Rows ``T_k``: normalised text embeddings, averaged over the templates and normalised again.

    Args:
        clip: An open_clip model; its text tower is read, never changed.
        tokenizer: Text to token ids, as ``open_clip.get_tokenizer`` returns.
        class_names: K names.
        templates: Prompt templates, each with one ``{}`` for the name.
        batch: Prompts a forward pass.
        weights: Of the text tower, by their open_clip names, where they are not the model's own.

    Returns:
        ``(K, D)`` float32 on the model's device, without the logit scale.

    Raises:
        UserError: If there is no class or no template, or a template has no ``{}``.
    """
    tokens = tokenizer(prompts_of(class_names, templates))
    return mean_of_prompts(clip, tokens, len(class_names), batch, weights)


def prompts_of(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name in every template, the templates of a class side by side.

    Raises:
        UserError: As :func:`text_head`.
    """
    if not class_names or not templates:
        raise UserError("a zero-shot head needs at least one class name and one prompt template")
    for template in templates:
        if "{}" not in template:
            raise UserError(
                f"the prompt template {template!r} has no {{}} where the class name goes"
            )
    return [template.replace("{}", name) for name in class_names for template in templates]


@torch.no_grad()
def mean_of_prompts(
    clip: nn.Module,
    tokens: Int[Tensor, " n l"],
    classes: int,
    batch: int = 1024,
    weights: Weights | None = None,
) -> Float[Tensor, " k d"]:
    """The rows of a head from the token ids of :func:`prompts_of`, encoded on the model's device;
    arguments and result as in :func:`text_head`.
    """
    pieces = [
        encode_text(clip, tokens[i : i + batch].to(device_of(clip)), weights).float()
        for i in range(0, len(tokens), batch)
    ]
    mean = torch.cat(pieces).view(classes, len(tokens) // classes, -1).mean(dim=1)
    return nn.functional.normalize(mean, dim=-1)
