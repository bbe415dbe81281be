"""A straightforward GRACE step on transformers and peft, for comparison: adapters as hooks, nothing
merged.

It computes what ours computes (the same attack, one ascent on factors of rank r_max for every
matrix, the same three passes and loss), as one would write it from the paper: LoRA stays a module
that adds to its layer's output, the perturbation is a forward hook on each layer, and clean,
adversarial and perturbed images are three passes.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.methods.grace import Grace
from grace_geom.models import ClipClassifier

TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


class Peer:
    """The image tower of the same shape with random weights, LoRA by peft, and one whole optimiser
    step.

    Args:
        model: Gives the shape, the head and the mean/std.
        batch: Images and labels.
        grace: The settings.

    Raises:
        ImportError: Without transformers and peft.
    """

    def __init__(self, model: ClipClassifier, batch: Batch, grace: Grace) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        assert model.shape is not None
        weights = model.weights()
        width = weights["visual.conv1.weight"].shape[0]
        shape: dict[str, Any] = dict(  # noqa: C408
            hidden_size=width,
            intermediate_size=weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            projection_dim=weights["visual.proj"].shape[1],
            num_hidden_layers=model.shape.layers,
            num_attention_heads=model.shape.heads,
            image_size=model.image_size,
            patch_size=model.shape.patch,
            hidden_act="quick_gelu" if model.shape.quick_gelu else "gelu",
            attn_implementation="sdpa",
        )
        lora = LoraConfig(
            r=grace.r, lora_alpha=round(grace.scale * grace.r), target_modules=TARGETS
        )
        self.tower = get_peft_model(
            CLIPVisionModelWithProjection(CLIPVisionConfig(**shape)), lora
        ).to(model.device)
        self.head, self.mean, self.std = model.head["head.weight"], model.mean, model.std
        self.batch, self.grace = batch, grace
        self.layers = [m for n, m in self.tower.named_modules() if n.rpartition(".")[2] in TARGETS]
        trained = [p for p in self.tower.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def features(self, x: Tensor) -> Tensor:
        """Unit features of images in [0, 1]."""
        z = self.tower(pixel_values=(x - self.mean) / self.std).image_embeds  # type: ignore[operator]
        return F.normalize(z, dim=-1)

    def loss(self, x: Tensor) -> Tensor:
        """Cross-entropy of images with the labels of the batch."""
        return F.cross_entropy(self.features(x) @ self.head.T, self.batch.labels)

    def attack(self) -> Tensor:
        """PGD, one forward and one backward pass to the input a step."""
        x, g = self.batch.images, self.grace
        adv = (x + g.eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        for _ in range(g.attack_steps):
            adv.requires_grad_()
            (grad,) = torch.autograd.grad(self.loss(adv), adv)
            adv = (adv.detach() + g.alpha * grad.sign()).clamp(x - g.eps, x + g.eps).clamp(0, 1)
        return adv

    @contextlib.contextmanager
    def perturbed(self, factors: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
        """Every layer's output plus ``x A' B'`` of its factors, by hooks."""

        def hook(B: Tensor, A: Tensor):
            return lambda module, inputs, output: output + inputs[0] @ A.T @ B.T

        handles = [
            m.register_forward_hook(hook(B, A))
            for m, (B, A) in zip(self.layers, factors, strict=True)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def perturbation(self, adv: Tensor) -> list[tuple[Tensor, Tensor]]:
        """One normalised ascent step from B = 0 on factors of every layer."""
        factors = []
        for layer in self.layers:
            W: Tensor = layer.base_layer.weight if hasattr(layer, "base_layer") else layer.weight  # type: ignore[assignment, union-attr]
            A = torch.randn(self.grace.r_max, W.shape[1], device=W.device) / W.shape[1] ** 0.5
            factors.append((W.new_zeros(W.shape[0], self.grace.r_max).requires_grad_(), A))
        with self.perturbed(factors):
            gradients = torch.autograd.grad(self.loss(adv), [B for B, _ in factors])
        radius = [self.grace.rho * self._norm(layer) for layer in self.layers]
        return [
            (r * g / (g @ A).norm().clamp_min(1e-12), A)
            for g, (_, A), r in zip(gradients, factors, radius, strict=True)
        ]

    @staticmethod
    def _norm(layer: nn.Module) -> Tensor:
        W: Tensor = layer.base_layer.weight if hasattr(layer, "base_layer") else layer.weight  # type: ignore[assignment, union-attr]
        return W.norm()

    def step(self) -> None:
        """One optimiser step, outside a curvature refresh."""
        self.optimizer.zero_grad(set_to_none=True)
        adv = self.attack()
        delta = self.perturbation(adv)
        f_id, f_adv = self.features(self.batch.images), self.features(adv)
        with self.perturbed(delta):
            f_awp = self.features(adv)
        G = torch.stack([f_id, f_adv, f_awp], dim=1)
        gram = G @ G.mT + self.grace.gv_eps * torch.eye(3, device=G.device)
        volume = gram.det().clamp_min(0).sqrt().mean()
        task, lar = (F.cross_entropy(f @ self.head.T, self.batch.labels) for f in (f_id, f_awp))
        (task + self.grace.lambda_lar * lar + self.grace.lambda_gv * volume).backward()
        self.optimizer.step()
