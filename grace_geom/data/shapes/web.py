"""Pictures with captions for the pretraining: all styles, a stream of their own that no set
shares."""

import numpy as np

from grace_geom.data.shapes.captions import Sloppiness, captions
from grace_geom.data.shapes.draws import Draws, Ints
from grace_geom.data.shapes.sets import VERSION, Images, render_rules, scene_of

_STREAM = "web"


def captioned(
    indices: Ints, seed: int = 0, sloppy: Sloppiness | None = None
) -> tuple[Images, list[str]]:
    """Pictures ``(n, 32, 32, 3)`` uint8 and a caption for each, by number."""
    indices = np.asarray(indices, dtype=np.int64)
    scene = scene_of("web", _STREAM, indices, seed)
    words = captions(scene, Draws(f"{VERSION}/{_STREAM}", seed, indices), sloppy or Sloppiness())
    return render_rules("web", _STREAM, indices, seed, {}), words
