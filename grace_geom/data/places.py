"""Where the images of a set lie: file names, for people."""

from typing import Any

import numpy as np

from grace_geom.data.base import ImageSet, Picked
from grace_geom.data.pictures import Files
from grace_geom.data.shards import Shards


def file_names(image_set: ImageSet) -> list[str]:
    """Of each image its file below the folder, or its member of a tar; empty for images that lie in
    an array, and for readers that do not tell.
    """
    reader: Any = image_set.fetch
    positions = np.arange(len(image_set))
    while not isinstance(reader, (Files, Shards)):
        if isinstance(reader, Picked):
            positions = reader.positions[positions]
        elif not hasattr(reader, "inner"):
            return [""] * len(image_set)
        reader = reader.inner
    return [reader.names[i] for i in positions.tolist()]
