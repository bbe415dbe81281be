"""Libraries that only some formats need: asked for before anything is built."""

import importlib.util

from grace_geom.errors import UserError

EXTRAS = {
    "transformers": ("transformers",),
    "peft": ("peft", "transformers"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "hub": ("huggingface_hub",),
}
"""Modules by the name of the extra of this package that installs them."""


def need(extra: str, what: str) -> None:
    """Refuse what cannot be done here, with the line that mends it.

    Args:
        extra: A key of ``EXTRAS``.
        what: The flag that asks for it, such as ``--format onnx``.

    Raises:
        UserError: If a module is missing.
    """
    absent = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(
            f"{what} needs {' and '.join(absent)}, not installed here: "
            f"pip install 'grace_geom[{extra}]'"
        )
