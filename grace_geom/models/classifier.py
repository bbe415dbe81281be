"""A CLIP image tower and a text head as one classifier, called at any dictionary of weights."""

import contextlib
import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from grace_geom.errors import UserError
from grace_geom.models.head import DeferredTokenizer, Tokenizer, device_of, encode_text, text_head
from grace_geom.models.head_cache import kept_text_head
from grace_geom.models.preprocessing import preprocess_of, set_preprocess
from grace_geom.models.resizing import resized
from grace_geom.models.spec import ModelSpec
from grace_geom.models.vit import VitShape, attentions, shape_of, vit
from grace_geom.preprocess import Preprocess
from grace_geom.weights import Weights

TOWER = "visual."
PROMPT = "visual.prompt"
"""Learned tokens ``(p, width)`` beside the patches: a weight that a plain open_clip tower does not
have.
"""


class ClipClassifier(nn.Module):
    """``x in [0, 1] -> normalise -> phi_W -> f = phi / |phi| -> f (s T)' + b``.

    Mean/std normalisation is inside, so an attack's epsilon always means pixels. The model itself
    is frozen; what varies is handed in as ``weights``: tensors by their open_clip state-dict name
    (``visual....``), and ``head.weight`` = s T ``(K, D)``, ``head.bias`` ``(K,)``. Names that are
    not handed in keep their own value. A class-token ViT also understands ``visual.prompt``,
    learned tokens that a plain tower lacks; a model that was opened with some has them in
    ``prompt``.

    ``preprocess`` says how pictures become ``x``: for :func:`grace_geom.data.loader`.

    Args:
        clip: An open_clip model with ``visual``, ``encode_text`` and ``logit_scale``, on the device
            where the classifier shall live: the zero-shot head is made there.
        tokenizer: Its tokenizer, or how it is read once there is a text.
        class_names: K class names in label order.
        templates: Prompt templates of the zero-shot head.
        head: ``head.weight`` and ``head.bias`` where they are known; by default the zero-shot head.
    """

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Tokenizer | DeferredTokenizer,
        class_names: Sequence[str],
        templates: Sequence[str],
        head: Weights | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.autocast_dtype: torch.dtype | None = None
        self.spec: ModelSpec | None = None
        self.origin = ""
        self.preprocess = preprocess_of(clip)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.preprocess, name)).view(1, -1, 1, 1)
            self.register_buffer(name, values.to(device_of(clip)), persistent=False)
        self.shape = shape_of(clip.visual)  # type: ignore[arg-type]
        self.recompute = self.lean_norms = False
        self.prompt: Tensor | None = None
        # the exponent on a GPU, its state when it was read, its exponential
        self._scale: tuple[Tensor, tuple[object, ...], float] | None = None
        self._set_head(class_names, templates, head)

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids.

        Raises:
            UserError: If it cannot be read here.
        """
        if isinstance(self._tokenizer, DeferredTokenizer):
            self._tokenizer = self._tokenizer.read()
        return self._tokenizer

    def _set_head(
        self, class_names: Sequence[str], templates: Sequence[str], head: Weights | None
    ) -> None:
        self.class_names, self.templates = tuple(class_names), tuple(templates)
        head = head or self._zero_shot()
        self.head = {name: w.to(self.mean.device, self.mean.dtype) for name, w in head.items()}  # type: ignore[arg-type]

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)  # keep the head with the module in `.to(...)` and `.double()`
        self.head = {name: fn(w) for name, w in self.head.items()}
        self.prompt = None if self.prompt is None else fn(self.prompt)
        return self

    def with_head(
        self, class_names: Sequence[str], templates: Sequence[str], head: Weights | None = None
    ) -> "ClipClassifier":
        """The same towers (shared, not copied) with another head: of these classes, or the given
        tensors.
        """
        other = copy.copy(self)
        other._set_head(class_names, templates, head)
        return other

    @property
    def image_size(self) -> int:
        """Shorter side of the tower's input, in pixels."""
        return min(self.preprocess.size)

    def read_as(self, preprocess: Preprocess) -> None:
        """Take pictures as other weights do: those that a record tells of."""
        self.preprocess = preprocess
        set_preprocess(self.clip, preprocess)
        with torch.no_grad():
            for name in ("mean", "std"):
                buffer: Tensor = getattr(self, name)
                buffer.copy_(torch.tensor(getattr(preprocess, name)).view_as(buffer))

    @property
    def logit_scale(self) -> float:
        """s, the inverse temperature of the pretrained model, frozen.

        A GPU is asked once, for the host would wait for it, and again after the parameter was
        written in place or replaced. A write to its ``.data`` in place leaves no trace: there it is
        not seen.
        """
        stored: Tensor = self.clip.logit_scale  # type: ignore[assignment]
        if stored.device.type == "cpu" or stored.is_inference():  # free, or it counts no writes
            return stored.exp().item()
        written = stored._version, stored.data_ptr(), stored.dtype
        kept = self._scale
        if kept is None or kept[0] is not stored or kept[1] != written:
            self._scale = kept = stored, written, stored.exp().item()
        return kept[2]

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.mean.device  # type: ignore[return-value]

    def weights(self) -> Weights:
        """Every weight of the image tower and of the head, by name; shared memory, no gradients."""
        tower = {TOWER + name: w.detach() for name, w in self.clip.visual.named_parameters()}  # type: ignore[union-attr]
        return tower | ({} if self.prompt is None else {PROMPT: self.prompt}) | self.head

    def checkpoint_activations(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations (no second
        derivatives).

        Raises:
            UserError: If the image tower is not a plain class-token ViT.
        """
        if enable:
            self.plain_vit("--grad-checkpoint needs", ": use --micro-batch")
        self.recompute = enable

    def keep_residual_low(self, enable: bool = True) -> None:
        """Under autocast, keep the residual stream in half precision on a GPU too: about half of
        the activations' memory (no second derivatives).

        Raises:
            UserError: If the image tower is not a plain class-token ViT.
        """
        if enable:
            self.plain_vit("--bf16-residual needs", ": use --grad-checkpoint or --micro-batch")
        self.lean_norms = enable

    def plain_vit(self, needs: str, mend: str = "") -> VitShape:
        """The shape of the image tower, for what works on a plain class-token ViT only.

        Args:
            needs: The beginning of the refusal: what was asked, and its verb.
            mend: Its end.

        Raises:
            UserError: If the image tower is another one.
        """
        if self.shape is None:
            raise UserError(
                f"{needs} a plain open_clip ViT, not this {type(self.clip.visual).__name__}{mend}"
            )
        return self.shape

    def encode(
        self, images: Float[Tensor, " b c h w"], weights: Weights | None = None
    ) -> Float[Tensor, " b d"]:
        """phi_W(x): un-normalised embeddings, float32 (or the images' float64).

        Images of another size than the tower's are resized inside (bicubic), so that an attack acts
        on the pixels it is given.
        """
        return self._embed(images, weights, tokens=False)

    def tokens(
        self, images: Float[Tensor, " b c h w"], weights: Weights | None = None
    ) -> Float[Tensor, " b n d"]:
        """Embeddings of the class token (what :meth:`encode` gives) and of every patch, all by the
        same projection.

        Raises:
            ValueError: If the image tower is not a plain class-token ViT.
        """
        if self.shape is None:
            raise ValueError("only a plain class-token ViT shows its patch tokens")
        return self._embed(images, weights, tokens=True)

    def attentions(
        self, images: Float[Tensor, " b c h w"], weights: Weights | None = None
    ) -> Float[Tensor, " b l n n"]:
        """What each token attends to in each block of a plain class-token ViT, the mean over heads;
        see :func:`.vit.attentions`.

        Raises:
            UserError: If the image tower is another one.
        """
        shape = self.plain_vit("attention rollout needs")
        x, given = self._given(images, weights)
        visual: nn.Module = self.clip.visual  # type: ignore[assignment]
        with self._precision(x.device.type):
            found = attentions(shape, dict(visual.named_parameters()) | given, x)
        return found.to(images.dtype)

    def _given(self, images: Tensor, weights: Weights | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Images as the tower takes them, and what stands in the place of its own weights."""
        x = images
        if x.shape[-2:] != self.preprocess.size:
            x = resized(x, self.preprocess.size)
        x = (x - self.mean) / self.std  # type: ignore[operator]
        given = {} if self.prompt is None else {"prompt": self.prompt}
        given |= {n[len(TOWER) :]: w for n, w in (weights or {}).items() if n.startswith(TOWER)}
        return x, given

    def _embed(self, images: Tensor, weights: Weights | None, *, tokens: bool) -> Tensor:
        x, given = self._given(images, weights)
        visual: nn.Module = self.clip.visual  # type: ignore[assignment]
        with self._precision(x.device.type):
            if self.shape is not None:
                out = vit(
                    self.shape,
                    dict(visual.named_parameters()) | given,
                    x,
                    self.recompute,
                    tokens,
                    self.lean_norms,
                )
            else:
                if x.device.type == "cuda":  # the order in which tensor cores read convolutions
                    x = x.contiguous(memory_format=torch.channels_last)
                out = functional_call(visual, given, (x,))
        out = out[0] if isinstance(out, tuple) else out  # towers that also return tokens
        return out.to(x.dtype)

    def features(
        self, images: Float[Tensor, " b c h w"], weights: Weights | None = None
    ) -> Float[Tensor, " b d"]:
        """f = phi_W(x) / |phi_W(x)|."""
        return F.normalize(self.encode(images, weights), dim=-1)

    def logits(
        self, features: Float[Tensor, " b d"], weights: Weights | None = None
    ) -> Float[Tensor, " b k"]:
        """f (s T)' + b, with the head of ``weights`` where it has one."""
        head = (
            self.head
            if weights is None
            else {**self.head, **{k: weights[k] for k in self.head if k in weights}}
        )
        return F.linear(features, head["head.weight"], head["head.bias"])

    def forward(
        self, images: Float[Tensor, " b c h w"], weights: Weights | None = None
    ) -> Float[Tensor, " b k"]:
        """Logits ``(B, K)`` at the given weights."""
        return self.logits(self.features(images, weights), weights)

    def text_features(
        self, texts: Sequence[str], weights: Weights | None = None
    ) -> Float[Tensor, " b d"]:
        """Unit features of sentences, with the text tower's weights of ``weights`` where it has
        some.
        """
        tokens = self.tokenizer(list(texts)).to(self.device)
        with self._precision(self.device.type):
            return encode_text(self.clip, tokens, weights).to(self.mean.dtype)  # type: ignore[arg-type]

    def text_head(self, weights: Weights) -> Weights:
        """The head s T of this model's classes, made again from the text tower and logit scale of
        ``weights``; its bias is SigLIP's logit bias, or 0.
        """
        T = text_head(self.clip, self.tokenizer, self.class_names, self.templates, weights=weights)
        return self._scaled(T, weights)

    def _zero_shot(self) -> Weights:
        """:meth:`text_head` at the model's own weights, from the cache where it lies there."""
        own = kept_text_head(self.clip, self.tokenizer, self.class_names, self.templates)
        return self._scaled(own, {})

    def _scaled(self, T: Tensor, weights: Weights) -> Weights:
        scale = (
            weights["logit_scale"].detach().exp().item()
            if "logit_scale" in weights
            else self.logit_scale
        )
        own = weights.get("logit_bias", getattr(self.clip, "logit_bias", None))
        bias = 0.0 if own is None else own.detach().item()
        return {"head.weight": scale * T, "head.bias": T.new_full((len(T),), bias)}

    def _precision(self, device: str) -> contextlib.AbstractContextManager[object]:
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        # The weight cache must be off: it would keep the first cast of a perturbed weight for the
        # next call.
        return torch.autocast(device, dtype=self.autocast_dtype, cache_enabled=False)
