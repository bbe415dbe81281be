"""Settings as plain types and YAML: what configuration files, run directories and checkpoints
hold."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grace_geom.errors import UserError, nearest


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        UserError: If it is missing, not YAML, or something else than a mapping.
    """
    path = Path(path)
    if not path.is_file():
        near = (
            nearest(path.name, [p.name for p in path.parent.glob("*.y*ml")])
            if path.parent.is_dir()
            else ""
        )
        raise UserError(
            f"no such file: {path}; {near}".removesuffix("; valid: ").removesuffix("; ")
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())[:160]}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(
            f"{path} must hold settings as 'name: value' lines, not a {type(content).__name__}"
        )
    return content


def to_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order; reading it back gives the same numbers."""
    return yaml.safe_dump(
        plain(values), sort_keys=False, default_flow_style=False, allow_unicode=True
    )


def plain(value: Any) -> Any:
    """Dataclasses, paths, tuples and number types as the plain types that YAML, JSON and
    ``torch.save`` know.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bool, str)) or value is None:
        return value
    return (
        int(value)
        if isinstance(value, int)
        else float(value)
        if isinstance(value, float)
        else value
    )
