"""Which network and which weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Which network, and where its pretrained weights come from.

    Attributes:
        model: An open_clip name (``ViT-B-32``) or one of ours (``tiny-shapes``);
            ``hf-hub:ORG/NAME``, ``local-dir:DIR`` or a JSON configuration.
        pretrained: A weight file, a folder with one, an open_clip tag (``openai``), ``random`` for
            no weights at all, or ``shipped`` or ``None`` for the weights that come with one of our
            own models, a repository or a folder.
        seed: Only used by ``random``.
        preprocess: What ``--preprocess`` says over the weights' own preprocessing; ``None``:
            nothing.
        base: Weight file, folder or tag of what ``pretrained`` lacks: the text tower of an image
            tower alone, or the weights below low-rank factors.
    """

    model: str = "tiny-shapes"
    pretrained: str | None = None
    seed: int = 0
    preprocess: str | None = None
    base: str | None = None
