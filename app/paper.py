"""The rows of the paper's Table 6 (arXiv 2603.27139): CLIP ViT-B/32 fine-tuned on ImageNet-1K,
top-1 accuracy in %.
"""

TABLE6 = {
    "CLIP zero-shot": (63.35, 57.44, 8.82, 20.46),
    "Vanilla FT": (74.86, 56.59, 8.95, 21.01),
    "WiSE-FT": (70.20, 58.05, 9.04, 21.11),
    "TeCoA": (52.54, 37.96, 17.48, 29.24),
    "PMG-AFT": (58.20, 43.40, 19.57, 32.85),
    "GRACE": (74.21, 57.01, 22.44, 39.69),
}
"""Method -> ID, mean OOD, mean adversarial, harmonic mean of the three."""

COLUMNS = ("ID", "OOD'", "Adv'", "HM'")
"""Columns of a run's summary that stand beside them."""
