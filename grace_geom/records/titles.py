"""What settings and numbers are called where people read them: one place for axes, tables and
sentences. Keys stay what records, links and command lines have.
"""

import re

SETTINGS = {
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "clip_norm": "largest gradient norm",
    "max_steps": "steps at most",
    "ema": "moving average of the weights",
    "val_fraction": "held-out share",
    "val_images": "held-out images at most",
    "val_pgd": "PGD steps on held-out images",
    "train_images": "training images",
    "warmup": "warm-up of the learning rate",
    "spd": "selective projection decay",
    "r": "LoRA rank r",
    "lora_alpha": "LoRA alpha",
    "targets": "names of the weights that train",
    "adapter": "what trains",
    "eps": "radius ε of the attack",
    "alpha": "step size α of the attack",
    "attack_steps": "steps of the attack",
    "attack_stop": "loss at which the attack stops",
    "eps_warmup": "warm-up of ε",
    "steps_warmup": "warm-up of the attack's steps",
    "adv_at": "weights under attack",
    "adv_weight": "share of the attacked loss",
    "lar": "loss at perturbed weights",
    "gv": "Gram-volume loss",
    "task": "clean loss",
    "lambda_lar": "factor of the loss at perturbed weights",
    "lambda_gv": "factor of the Gram-volume loss",
    "lambda_anchor": "factor of the anchor",
    "gv_form": "form of the Gram-volume loss",
    "gv_eps": "ridge of the Gram matrix",
    "gv_anchor": "pretrained feature in the Gram matrix",
    "curriculum": "ranks by curvature",
    "rho": "radius ρ of the weight perturbation",
    "absolute": "ρ is absolute",
    "r_max": "highest rank of the perturbation",
    "awp_steps": "ascent steps of the perturbation",
    "awp_lr": "step size of the perturbation",
    "awp_direction": "start of the perturbation",
    "awp_reuse": "first ascent from the attack",
    "awp_m": "images a perturbation",
    "beta": "decay of the curvature's average",
    "refresh_every": "steps between curvatures",
    "percentile": "percentile of the highest rank",
    "low_percentile": "percentile of rank 0",
    "log_cosines": "cosines in the log",
    "pair_with": "text that an image is paired with",
    "lambda_feat": "weight of the feature distances",
    "lambda_logit": "weight of the divergences of answers",
    "lambda_attack": "weight of attention to attacked images",
    "lambda_clean": "weight of the clean term",
    "lambda_original": "weight of the pretrained answer",
    "lambda_cos": "weight of the agreement of features",
    "lambda_kl": "weight of the KL divergence",
    "kl_reduction": "reduction of the KL divergence",
    "scale_factor": "factor on the logit scale",
    "target_ratio": "scale of the target's logits",
    "logit_scale": "scale of the logits",
    "tau": "temperature τ of the cosines",
    "negated": "text that denies a class",
    "strength": "weight of the Dirichlet divergence",
    "curvature_labels": "labels of the curvature",
    "momentum": "momentum of SGD",
    "train_head": "classification head trains",
    "project_head": "classification head is projected",
    "c_low": "smallest C of the probe",
    "c_high": "largest C of the probe",
    "c_values": "values of C of the probe",
    "probe_iterations": "iterations of the probe at most",
    "wise_alpha": "weight of the fine-tuned model",
    "norm": "norm of the projection",
    "radius_lr": "learning rate of the radii",
    "radius_steps": "steps of the radii",
    "mu": "learning rate μ of the projection radii",
    "k": "factor k on positive gradients of the radii",
    "lam": "strength λ of the projection",
    "m": "images of a perturbation's group",
    "eta": "η added to the size of a weight",
    "gamma": "radius γ of the weight perturbation",
    "pretrained": "pretrained weights",
    "pretrained_base": "weights below the pretrained ones",
    "preprocess": "preprocessing",
    "deterministic": "same bits in every run",
    "ood": "sets under shift",
    "templates": "prompt templates",
    "split_seed": "seed of the split",
    "micro_batch": "images of a forward pass",
    "schedule": "schedule of the learning rate",
    "tf32": "TF32 products",
    "bf16_residual": "residual stream in half precision",
    "compile": "compiled attack",
    "grad_checkpoint": "blocks recomputed backwards",
    "eval_every": "epochs between evaluations",
    "eval_at": "steps with a further evaluation",
    "save_every": "steps between checkpoints",
    "keep": "checkpoints that are kept",
    "log_every": "steps between lines of the log",
    "out": "folder of the run",
    "resume": "goes on from a checkpoint",
    "resume_anyway": "goes on with changed images",
    "data_root": "folder of the data sets",
    "download": "missing data sets are fetched",
    "workers": "processes that load data",
    "report_to": "experiment trackers",
    "tensorboard": "TensorBoard",
    "stop_after": "step after which it stops",
}
"""Settings whose keys do not say what they are."""
PLAIN = frozenset(
    {"batch_size", "data", "device", "epochs", "image_size", "method", "model", "optimizer",
     "precision", "preset", "prompt_tokens", "seed", "shuffle_buffer"}
)  # fmt: skip
"""Settings whose keys say with spaces what they are."""


def setting(key: str) -> str:
    """What a setting is called: ``lr`` -> ``learning rate``."""
    return SETTINGS.get(key) or key.replace("_", " ")


LOGGED = {
    "val_acc_pgd": "Held-out accuracy under PGD",
    "val_acc": "Held-out accuracy",
    "loss": "Total loss",
    "loss_task": "Task loss: cross-entropy on clean images",
    "loss_lar": "LAR-AWP loss: on attacked images at perturbed weights",
    "loss_gv": "Gram-volume loss",
    "loss_adv": "Adversarial loss: cross-entropy on attacked images",
    "loss_soft": "Cross-entropy with the pretrained answer: of attacked images",
    "loss_dirichlet": "Divergence of Dirichlet distributions: from the pretrained ones",
    "loss_contrastive": "Contrastive loss of images and captions",
    "loss_feat": "Distance of attacked features",
    "loss_logit": "Divergence of attacked answers",
    "loss_kl": "Divergence of attacked from clean answers",
    "loss_clean": "Divergence of clean from attacked answers",
    "loss_original": "Divergence of pretrained from attacked answers",
    "loss_cos": "Cosine of clean and attacked features, negative",
    "loss_fare": "Squared distance to pretrained features: of attacked images",
    "loss_attention_adv": "Attention loss under attack",
    "loss_attention_clean": "Attention loss on clean images",
    "loss_drift": "Squared distance of the weights: from the pretrained ones",
    "gram_volume": "Gram volume",
    "train_acc": "Training accuracy",
    "train_acc_adv": "Training accuracy under attack",
    "train_acc_awp": "Training accuracy, attacked, at perturbed weights",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "images_per_s": "Images a second",
    "cos_id_adv": "Cosine of clean and attacked features",
    "cos_id_awp": "Cosine of clean and perturbed-weight features",
    "cos_adv_awp": "Cosine of attacked and perturbed-weight features",
    "cos_id_base": "Cosine of clean and pretrained features",
    "cos_adv_base": "Cosine of attacked and pretrained features",
    "cos_base_awp": "Cosine of pretrained and perturbed-weight features",
}
"""Logged number -> its name, the number that answers most first."""


def logged(key: str) -> str:
    """What a logged number is called in a sentence: ``loss_task`` -> ``task loss``."""
    title = LOGGED.get(key, "").partition(":")[0] or key.replace("_", " ")
    return title if title[:2].isupper() or title[1:2] == "-" else title[0].lower() + title[1:]


NUMBERS = {
    "parameter_drift/drift": "relative weight drift",
    "parameter_drift/mean_effective_rank": "mean effective rank of the changes",
    "parameter_drift/zero_shot_loss": "zero-shot accuracy lost",
    "parameter_drift/relative": "relative drift of",
    "parameter_drift/norm": "norm of the change of",
    "parameter_drift/effective_rank": "effective rank of the change of",
    "parameter_drift/stable_rank": "stable rank of the change of",
    "hessian_spectrum/lambda_1": "largest Hessian eigenvalue λ₁",
    "hessian_spectrum/lambda_min_1": "smallest Hessian eigenvalue",
    "hessian_spectrum/trace": "trace of the Hessian",
    "hessian_spectrum/frobenius": "Frobenius norm of the Hessian",
    "hessian_spectrum/frobenius/sqrt_d": "Frobenius norm of the Hessian / √d",
    "hessian_spectrum/density/mean_eigenvalue": "mean Hessian eigenvalue",
    "hessian_spectrum/kappa": "mean curvature κ of",
    "hessian_spectrum/block_trace": "trace of the Hessian of",
    "feature_stability/centroid_cosine": "class-centroid cosine ID→",
    "feature_stability/centroid_shift": "class-centroid shift ID→",
    "feature_stability/gram_volume": "Gram volume",
    "feature_stability/cos_id_adv": "cosine of clean and attacked features",
    "feature_stability/cos_id_awp": "cosine of clean and perturbed-weight features",
    "feature_stability/cos_adv_awp": "cosine of attacked and perturbed-weight features",
    "feature_stability/lid": "local intrinsic dimension (LID),",
    "feature_stability/two_nn": "intrinsic dimension (TwoNN),",
    "feature_stability/separation": "separation of the classes,",
    "feature_stability/scatter_within": "scatter within classes,",
    "feature_stability/scatter_between": "scatter between classes,",
    "bound_terms/A": "bound: (A) proximity",
    "bound_terms/B": "bound: (B) sharpness",
    "bound_terms/C": "bound: (C) discrepancy",
    "representation_drift/cka": "CKA with the reference,",
    "representation_drift/procrustes": "Procrustes distance to the reference,",
    "representation_drift/gram_chord": "Gram drift of cosines,",
    "representation_drift/gram_chord_centred": "Gram drift, centred,",
    "representation_drift/gram_angle": "Gram angle of cosines,",
    "representation_drift/gram_angle_centred": "Gram angle, centred,",
    "representation_drift/log_norm_ratio": "log norm ratio of Gram matrices,",
    "representation_drift/log_norm_ratio_centred": "log norm ratio of Gram matrices, centred,",
    "anisotropy/features/effective_rank": "effective rank of features,",
    "anisotropy/features/effective_rank_centred": "effective rank of centred features,",
    "anisotropy/features/participation_ratio": "participation ratio of features,",
    "anisotropy/features/iso_score": "IsoScore of features,",
    "anisotropy/features/mean_cosine": "mean cosine of features,",
    "anisotropy/features/lid": "LID of features,",
    "anisotropy/features/uniformity": "uniformity of features,",
    "robustness_curve/clean": "clean accuracy of the robustness curve",
    "loss_landscape/random/rise": "rise of the loss along a random direction",
    "loss_landscape/eigen/rise": "rise of the loss along the sharpest direction",
    "image_gallery/right_clean": "share of the gallery's images right clean,",
    "image_gallery/right_adv": "share of the gallery's images right attacked,",
    "image_gallery/saliency_correlation": "correlation of clean and attacked saliency,",
}
"""Analysis and key of a number, or how the key begins -> what it is."""
_SETS = {"id": "ID", "ood": "OOD", "adv": "attacked", "clean-adv": "clean against attacked"}
_RISES = {
    "ball": "within ρ =",
    "adaptive": "within the adaptive ball of ρ =",
    "relative": "within relative ρ =",
    "average": "in the mean at σ =",
    "m_sharpness": "of groups of images within ρ =",
}
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_LOSSES = {"ce": "clean loss", "adv-ce": "loss under attack"}


def number(analysis: str, key: str) -> str:
    """What a number of an analysis is called, no two alike.

    Args:
        analysis: Its name.
        key: Of the number: ``cka/id/block.3``.
    """
    if analysis == "sharpness" and (said := _rise(key)):
        return said
    if analysis == "robustness_curve" and (said := _under_attack(key)):
        return said
    if analysis == "hessian_spectrum" and (found := re.fullmatch(r"lambda_(\d+)", key)):
        known = NUMBERS.get(f"{analysis}/{key}")
        return known or f"Hessian eigenvalue λ{found[1].translate(_BELOW)}"
    parts = key.split("/")
    if analysis == "anisotropy" and parts[0] == "features" and len(parts) > 2:
        parts = ["features", parts[2], parts[1], *parts[3:]]
    for n in range(len(parts), 0, -1):
        title = NUMBERS.get("/".join([analysis, *parts[:n]]))
        if title is not None:
            rest = " ".join(_part(part) for part in parts[n:])
            return f"{title}{'' if title.endswith('→') else ' '}{rest}".rstrip(" ,→")
    return f"{' '.join(map(_part, parts))}, {analysis.replace('_', ' ')}"


ANALYSES = {
    "hessian_spectrum": "the Hessian's spectrum",
    "sharpness": "sharpness",
    "loss_landscape": "the loss landscape",
    "parameter_drift": "the drift of the weights",
    "representation_drift": "the drift of the representation",
    "feature_stability": "the stability of features",
    "anisotropy": "the anisotropy of features",
    "robustness_curve": "accuracy against the radius",
    "image_gallery": "the gallery of images",
    "bound_terms": "the bound",
}


def analysis(name: str) -> str:
    """What an analysis finds, for a sentence: ``the drift of the weights``."""
    return ANALYSES.get(name, name.replace("_", " "))


WEIGHTS = {r"^visual\.": "image tower", r"(attn|mlp)\..*weight$": "attention and MLP matrices"}


def weights(pattern: str) -> str:
    """Which weights a usual pattern of their names means; any other pattern stays as it is."""
    return WEIGHTS.get(pattern, pattern)


def distribution(name: str) -> str:
    """What a set of images is called: ``id`` -> ``ID``; a data set by its own name."""
    return _SETS.get(name, name)


def _part(part: str) -> str:
    """A distribution, a layer or another word of a key."""
    known = _SETS.get(part) or part.replace("block.", "block ").replace("stage.", "stage ")
    return known if "visual" in known or "weight" in known else known.replace("_", " ")


def _rise(key: str) -> str:
    loss, _, rest = key.partition("/")
    kind, *size = rest.split("/")
    if loss in _LOSSES and kind == "loss":
        return f"{_LOSSES[loss]} at the checkpoint"
    if loss not in _LOSSES or kind not in _RISES or not size:
        return ""
    return f"rise of the {_LOSSES[loss]} {_RISES[kind]} {'/'.join(size)}"


def _under_attack(key: str) -> str:
    head, _, rest = key.partition("/")
    if head == "transfer":
        return f"accuracy on the attacked images of {rest}"
    if head == "check":
        return f"accuracy in the check {rest}"
    return f"accuracy under {head.upper()}, ε = {rest}, robustness curve" if rest else ""
