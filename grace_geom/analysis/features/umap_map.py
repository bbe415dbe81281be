"""Features of all distributions in a plane that keeps neighbours together (UMAP)."""

from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float
from torch import Tensor

from grace_geom.errors import UserError

MIN_DIST = 0.1
"""How near UMAP may place two images."""


def check_umap() -> None:
    """Refuse where umap-learn is not installed, before anything is measured.

    Raises:
        UserError: Saying how to install it.
    """
    if find_spec("umap") is None:
        raise UserError("--umap needs umap-learn: pip install 'grace_geom[umap]'")


def umap_of(
    sets: Mapping[str, Float[Tensor, " n d"]], neighbours: int, seed: int
) -> dict[str, np.ndarray]:
    """``umap/DIST`` ``(n, 2)`` float32: a UMAP (McInnes et al. 2018) of the ``id`` features by
    cosine distance, and the others placed in it, so that shifts are seen against the structure of
    the checkpoint's own distribution.

    Args:
        sets: Unit features, ``id`` among them.
        neighbours: At most; of fewer images all others are neighbours.
        seed: Of the layout.
    """
    import umap

    few = min(neighbours, len(sets["id"]) - 1)
    mapper = umap.UMAP(
        n_neighbors=few, min_dist=MIN_DIST, metric="cosine", random_state=seed, n_jobs=1
    )
    found = {"id": np.asarray(mapper.fit_transform(sets["id"].numpy()), np.float32)}
    for name, X in sets.items():
        if name != "id":
            found[name] = np.asarray(mapper.transform(X.numpy()), np.float32)
    return {f"umap/{name}": x for name, x in found.items()}
