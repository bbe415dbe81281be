"""GRACE (Chopra et al. 2026, arXiv 2603.27139, Algorithm 1): LoRA + LAR-AWP + Gram-volume
alignment.

The authors published no code; the equations are theirs. Choices where the paper is silent are
fields, and their help texts say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom import distributed
from grace_geom.attacks import weight_perturbation
from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.geometry import gram_volume
from grace_geom.geometry.mean_loss import own_gradient
from grace_geom.methods import curvature, directions
from grace_geom.methods.adapters import WHOLE, Adapted
from grace_geom.methods.adversary import Adversary, Attack, Attacked
from grace_geom.methods.base import Coupled, Losses, Run, check_order, share_right
from grace_geom.methods.last_step import last_step
from grace_geom.methods.sam import grouped
from grace_geom.weights import Weights, detach

WHOLE_LR = {"shapes": 0.0027}
"""Learning rates by data set where whole matrices train."""


@dataclass
class Grace(Adversary, Adapted):
    """``L = L_task + lambda_lar L_LAR-AWP + lambda_gv L_GV`` (Eq. 4) over LoRA factors.

    The perturbation is one for all images of a step, found from the mean loss over its pieces where
    the batch is cut into some: a step costs the same and gives the same gradient however it is cut.
    With both weights 0 nothing of the adversarial branch is computed, and the run is LoRA's, bit
    for bit. Preset ``cheap`` (ours) makes a step in 15 passes, five steps of fine-tuning, instead
    of 32, where a backward pass to the weights counts two and one to the images one; the
    curvature's three passes every K steps come on top of both. It lies over a data set's recipe.

    With ``--adapter full`` (ours) the same matrices train whole, with ``--adapter tower`` (ours)
    every tensor of the image tower, with the same ascent and curvature over the same matrices; lr
    and weight decay are then 3e-5 and 0.1 unless given (on ``shapes`` 0.0027, the rate of ``at``,
    and 0.1; not searched). No rank limits how far weights move then: term (A) of
    the bound is left to weight decay.

    Attributes:
        lambda_lar: Weight of the cross-entropy at perturbed weights and images (ours: 1).
        lambda_gv: Weight of the Gram volume (ours: 1).
        lar: Use the term L_LAR-AWP; ``off`` keeps the perturbed feature of the Gram volume
            (ablation).
        gv: Use the term L_GV (ablation).
        task: Use the clean cross-entropy L_task (``off``: control, ours).
        adv_at: Weights at which L_LAR-AWP takes the cross-entropy of attacked images:
            ``perturbed``, the paper's; ``current``, those of the step; ``both``, half of
            ``lambda_lar`` at each (controls, ours). With ``current`` and ``--gv off`` no weight is
            perturbed, and the loss is twice that of ``lora-mix-at``.
        curriculum: Choose ranks by curvature; ``off`` gives every matrix r_max (ablation).
        rho: Radius of the weight perturbation, relative to ||W||_F (ours: relative).
        absolute: Interpret ``rho`` as an absolute radius.
        r_max: Maximum rank of a matrix's perturbation.
        awp_steps: Number of ascent steps, T_AWP (ours: 1).
        awp_lr: Ascent step size, as a fraction of the radius (ours: 1).
        percentile: Matrices with a curvature score at or above this percentile get rank r_max.
        low_percentile: Matrices with a curvature score below this percentile get rank 0.
        beta: Decay of the moving average of the curvature.
        refresh_every: Steps between curvature updates, K, capped so that a run has at least 20
            updates (ours: the cap).
        curvature_labels: Labels for the curvature estimate: ``true``, the data's; ``sampled`` from
            the model's predictions as in Sophia, which gives an unbiased Gauss-Newton diagonal.
        gv_form: Alignment loss: ``volume``, the paper's; ``spread``, 1 - lambda_max(G)/m (ours).
        gv_eps: Ridge added to the Gram matrix (ours: 1e-6).
        awp_direction: Initial rows A of a perturbation: ``random``, the paper's; ``sketch``,
            leading directions of the previous step's gradient (ours).
        awp_reuse: Take the ascent's first gradient from the last PGD step, alpha away from x_adv;
            saves two thirds of its cost (ours).
        gv_anchor: Add the pretrained feature of the clean image as a fourth vector (ours).
        awp_m: Images per weight perturbation, however the step is cut into micro-batches
            (m-sharpness, Foret et al. 2021); ``None``: one perturbation for the whole step, the
            paper's. With several processes, each forms groups from its own images.
        log_cosines: Log the Gram volume and the cosines of the three features even where L_GV is no
            term, for one forward pass of the attacked images more (ours).
    """

    name: ClassVar[str] = "grace"
    tables: ClassVar[tuple[int, ...]] = (6, 7, 8)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.006, "eps_warmup": 0.2}}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cheap": {
            "gv": False,
            "log_cosines": False,
            "awp_reuse": True,
            "attack_steps": 4,
            "alpha": 2 / 255,
        }
    }
    deciding: ClassVar[tuple[str, ...]] = ("adapter",)
    ablations: ClassVar[tuple[str, ...]] = ("lar=off", "gv=off:curriculum=off", "gv=off")

    lambda_lar: float = bounded(1.0, least=0)
    lambda_gv: float = bounded(1.0, least=0)
    lar: bool = True
    gv: bool = True
    task: bool = True
    adv_at: Literal["perturbed", "current", "both"] = "perturbed"
    curriculum: bool = True
    rho: float = bounded(0.005, least=0)
    absolute: bool = False
    r_max: int = bounded(4, least=0)
    awp_steps: int = bounded(1, least=0)
    awp_lr: float = bounded(1.0, least=0)
    percentile: float = bounded(80.0, least=0, most=100)
    low_percentile: float = bounded(20.0, least=0, most=100)
    beta: float = bounded(0.9, least=0, most=1)
    refresh_every: int = bounded(1000, least=1)
    curvature_labels: Literal["true", "sampled"] = "true"
    gv_form: Literal["volume", "spread"] = "volume"
    gv_eps: float = bounded(1e-6, least=0)
    gv_anchor: bool = False
    awp_direction: Literal["random", "sketch"] = "random"
    awp_reuse: bool = False
    awp_m: int | None = bounded(None, least=1)
    log_cosines: bool = True

    @classmethod
    def settings_on(cls, data: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Whole matrices have rates, and a weight decay, of their own."""
        usual = super().settings_on(data, given)
        if given.get("adapter") not in WHOLE:
            return usual
        return {**usual, "lr": WHOLE_LR.get(data, 3e-5), "weight_decay": 0.1}

    def check(self) -> None:
        """The percentiles are in order; a gradient is reused only where an attack makes one; what
        trains and what is perturbed is there.

        Raises:
            UserError: Otherwise.
        """
        check_order(self, "low_percentile", "percentile")
        if not self.task and not self.uses_lar:
            raise UserError(
                "--task off leaves no cross-entropy to train with: leave --lar on and --lambda-lar "
                "above 0"
            )
        if self.adv_at != "perturbed" and not self.uses_lar:
            raise UserError(
                f"--adv-at {self.adv_at} is about L_LAR-AWP, which is off: leave --lar on"
            )
        idle = {"--awp-reuse": self.awp_reuse, "--awp-m": self.awp_m is not None}
        for flag in [flag for flag, given in idle.items() if given and not self.perturbs]:
            raise UserError(
                f"{flag} is about the weight perturbation, which nothing uses here: take "
                "--adv-at perturbed or both, or --gv on"
            )
        if self.awp_reuse and self.attack_steps == 0:
            raise UserError(
                "--awp-reuse takes the gradient of the last PGD step: --attack-steps must be at "
                "least 1"
            )

    @property
    def uses_lar(self) -> bool:
        """Whether the loss has the term L_LAR-AWP."""
        return self.lar and self.lambda_lar != 0

    @property
    def uses_gv(self) -> bool:
        """Whether the loss has the term L_GV."""
        return self.gv and self.lambda_gv != 0

    @property
    def perturbs(self) -> bool:
        """Whether a term of the loss sees perturbed weights."""
        return self.uses_gv or (self.uses_lar and self.adv_at != "current")

    def refresh_period(self, total_steps: int) -> int:
        """K, capped so that a run of ``total_steps`` refreshes at least 20 times."""
        return max(1, min(self.refresh_every, total_steps // 20))

    def state_flaw(self, run: Run, state: Mapping[str, Any], step: int) -> str:
        """Curvature and rank of every matrix, and directions where there are some."""
        if not step or not self.perturbs:
            return ""
        return curvature.state_flaw(self.matrices(run.params), state, self.r_max)

    def refresh(self, run: Run, batches: Sequence[Batch]) -> None:
        """Line 2 of Algorithm 1: refresh curvature and ranks every K steps, first at step 0."""
        if run.step % self.refresh_period(run.total_steps):
            return
        with torch.no_grad():
            weights = detach(self.weights(run.model, run.params))
        names = list(self.matrices(run.params))

        def loss(weights: Weights, batch: Batch) -> Tensor:
            logits = run.model(batch.images, weights)
            return F.cross_entropy(logits, self._curvature_labels(logits, batch, run.generator))

        new = curvature.gauss_newton_diagonal(loss, weights, names, batches)
        run.state["h"] = curvature.moving_average(run.state.get("h", {}), new, self.beta)
        score = curvature.scores(run.state["h"])
        ranks = curvature.rank_curriculum(score, self.r_max, self.percentile, self.low_percentile)
        run.state["ranks"] = ranks if self.curriculum else dict.fromkeys(ranks, self.r_max)
        matrices = {
            name: {"score": score[name], "rank": run.state["ranks"][name]} for name in names
        }
        run.emit("curvature", {"step": run.step, "matrices": matrices})

    def _curvature_labels(self, logits: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        if self.curvature_labels == "true":
            return batch.labels
        return torch.multinomial(logits.detach().softmax(dim=-1), 1, generator=generator).squeeze(1)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Lines 2, 4 and 5 of Algorithm 1 for the whole step, then the loss of every piece at the
        same perturbation.
        """
        if not (self.uses_lar or self.uses_gv):
            return super().gradients(run, batches)
        if self.perturbs:
            self.refresh(run, batches)
        with torch.no_grad():
            fixed = detach(self.weights(run.model, run.params))
        attacked = [
            piece
            for group in grouped(batches, self.awp_m)
            for piece in self.attacked(run, fixed, group)
        ]
        return super().gradients(run, attacked)

    @property
    def coupled(self) -> Coupled | None:
        """With ``awp_m``: groups of that many images, which processes must not split."""
        if self.awp_m is None:
            return None
        return Coupled(
            self.awp_m,
            f"a process has {{share}} images of a step, no multiple of --awp-m {self.awp_m}: some "
            "perturbations are of fewer",
        )

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``task`` on clean images, ``lar`` at perturbed weights and images, ``gv`` of features.

        A batch that no step has attacked yet is attacked and gets a perturbation of its own.
        """
        if not (self.uses_lar or self.uses_gv):
            return super().losses(run, weights, batch)
        if not isinstance(batch, Attacked):
            (batch,) = self.attacked(run, detach(weights), [batch])
        features = self._features(run, weights, batch)
        logits = {name: run.model.logits(f, weights) for name, f in features.items()}
        vectors = list(features.values())
        terms = {}
        if self.task:
            terms["task"] = F.cross_entropy(logits["id"], batch.labels)
        if self.uses_lar:
            at = {"perturbed": ["awp"], "current": ["adv"], "both": ["adv", "awp"]}[self.adv_at]
            found = [F.cross_entropy(logits[name], batch.labels) for name in at]
            terms["lar"] = self.lambda_lar * torch.stack(found).mean()
        if self.uses_gv:
            terms["gv"] = self.lambda_gv * self.feature_term(vectors).to(logits["id"])
        seen = dict(batch.observed)
        if {"adv", "awp"} <= features.keys():
            with torch.no_grad():
                seen["gram_volume"] = gram_volume.volume(vectors, self.gv_eps).mean()
        seen |= gram_volume.cosines(features)
        seen["train_acc"] = share_right(logits["id"], batch.labels)
        harder = "awp" if self.perturbs else "adv"
        seen[f"train_acc_{harder}"] = share_right(logits[harder], batch.labels)
        return Losses(terms, seen)

    def attacked(self, run: Run, fixed: Weights, batches: Sequence[Batch]) -> list[Attacked]:
        """Steps 1 and 2 of Algorithm 1: attacked images of every piece, and one perturbation for
        all of them.
        """
        found, first = self._attack(run, fixed, batches)
        perturb: Callable[[Weights], Weights] = dict  # weights as they are
        if self.perturbs:
            images = [attack.of(batch) for attack, batch in zip(found, batches, strict=True)]
            delta = self.perturbation(run, fixed, images, first)
            perturb = partial(weight_perturbation.perturb, factors=delta)
        return [
            Attacked.from_attack(batch, attack, perturb)
            for batch, attack in zip(batches, found, strict=True)
        ]

    def _attack(
        self, run: Run, fixed: Weights, batches: Sequence[Batch]
    ) -> tuple[list[Attack], Weights | None]:
        """The attack of every piece and, where it is reused, this process's weight gradient of the
        last PGD step.
        """
        if not self.awp_reuse:
            return [self.attack(run, fixed, batch) for batch in batches], None
        sums: list[list[Tensor]] = [[] for _ in batches]
        found = [self.attack(run, fixed, *each) for each in zip(batches, repeat(1), sums)]
        names = [name for name, rank in run.state["ranks"].items() if rank > 0]
        total = {name: torch.zeros_like(fixed[name]) for name in names}
        for i, (b, before) in enumerate(zip(batches, found, strict=True)):

            def loss(x: Tensor, weights: Weights, b: Batch = b) -> Tensor:
                return self.maximised(run, weights, b)(x)

            x_adv, g = last_step(
                loss,
                before.images,
                b.images,
                fixed,
                names,
                self.reach(run),
                self.attack_stop,
                sums[i],
            )
            found[i] = before._replace(images=x_adv)
            total = {name: total[name] + g[name] for name in names}
        return found, total

    def perturbation(
        self, run: Run, fixed: Weights, images: Sequence[Batch], first: Weights | None = None
    ) -> weight_perturbation.Factors:
        """T_AWP ascent steps on fresh low-rank factors at attacked images, under the ranks.

        Args:
            run: Its state holds the ranks, and the directions of the step before.
            fixed: Effective weights.
            images: Attacked images of all pieces: the ascent is on their mean loss.
            first: This process's gradient for the first step, up to a factor, where it is known
                already.
        """
        delta = weight_perturbation.draw(
            fixed, run.state["ranks"], run.generator, run.state.get("directions")
        )
        radius = weight_perturbation.radii(
            {name: fixed[name] for name in delta}, self.rho, self.absolute
        )
        known = [first] if first is not None else []
        # A perturbation of a group of images is of one process's alone.
        mean = partial(distributed.mean, wait=False)
        shared = mean if self.awp_m is None else lambda tensors: None

        def loss(weights: Weights, batch: Batch) -> Tensor:
            return F.cross_entropy(run.model(batch.images, weights), batch.labels)

        def gradient(weights: Weights) -> Weights:
            """The first one is known; the sketch of directions learns from every one."""
            G = known.pop() if known else own_gradient(loss, weights, delta, images)
            if self.awp_direction == "sketch":  # needs all of the gradient, the ascent does not
                shared(list(G.values()))
                distributed.heard_of_all()  # LAPACK will wait for the device
                before = run.state.get("directions", {})
                run.state["directions"] = directions.improve(before, G, self.r_max, run.generator)
            return G

        return weight_perturbation.ascend(
            gradient, fixed, delta, radius, self.awp_steps, self.awp_lr, shared
        )

    def feature_term(self, features: Sequence[Tensor]) -> Tensor:
        """L_GV: the batch mean of the volume, or of the spread."""
        if self.gv_form == "spread":
            return gram_volume.spread(features).mean()
        return gram_volume.volume(features, self.gv_eps).mean()

    def _features(self, run: Run, weights: Weights, batch: Attacked) -> dict[str, Tensor]:
        """Normalised features of the clean images and of the attacked ones at the weights of the
        step and at the perturbed ones: with a gradient those that a term uses, without one those
        for the log alone, or left out.
        """
        model, x, x_adv = run.model, batch.images, batch.x_adv
        learns = {
            "id": self.task or self.uses_gv,
            "adv": self.uses_gv or self.adv_at != "perturbed",
        }
        if learns["id"] and learns["adv"]:
            clean, adv = model.features(torch.cat([x, x_adv]), weights).chunk(2)
            features = {"id": clean, "adv": adv}
        else:
            features = {}
            for name, images in (("id", x), ("adv", x_adv)):
                if name == "adv" and not learns[name] and not self.log_cosines:
                    continue
                with torch.set_grad_enabled(learns[name] and torch.is_grad_enabled()):
                    features[name] = model.features(images, weights)
        if self.uses_gv and self.gv_anchor:
            with torch.no_grad():
                features["base"] = model.features(x)
        if self.perturbs:
            features["awp"] = model.features(x_adv, batch.perturb(weights))
        return features
