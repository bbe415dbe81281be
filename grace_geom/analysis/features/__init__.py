"""From checkpoints and images to features, and from features to the numbers of the feature
analyses.
"""

from grace_geom.analysis.features.adversary import (
    Perturbations,
    adversarial_images,
    perturbed_features,
)
from grace_geom.analysis.features.extract import (
    POOLS,
    Features,
    blocks_of,
    collect,
    paired,
    read_features,
    tapped,
)

__all__ = [
    "POOLS",
    "Features",
    "Perturbations",
    "adversarial_images",
    "blocks_of",
    "collect",
    "paired",
    "perturbed_features",
    "read_features",
    "tapped",
]
