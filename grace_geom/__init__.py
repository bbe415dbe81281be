"""Robust fine-tuning of vision-language models, and the geometry behind it.

``grace_geom.load("runs/NAME/ckpt.pt")`` gives a plain open_clip model. Importing the package itself
loads nothing: the dashboard reads results without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grace_geom.checkpoint import load

    __version__: str

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from grace_geom.checkpoint import load

        return load
    if name == "__version__":
        from importlib.metadata import version

        return version("grace_geom")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
