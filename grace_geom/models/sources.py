"""Which network ``--model`` means: an open_clip name, one of ours, a repository of the Hub, a
folder in its layout, or a configuration of the user's own.
"""

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import download_pretrained_from_hf

from grace_geom.errors import UserError, first_line, unknown
from grace_geom.models.transformers_names import network_of
from grace_geom.records.places import checkpoint_file

CONFIGS = Path(__file__).parent / "configs"
HUB, FOLDER = "hf-hub:", "local-dir:"
HUB_CONFIG = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
OUTSIDE = "outside-"
"""Beginning of the names under which open_clip knows configurations that it does not bring."""

_written: dict[str, str] = {}
"""What the user wrote for each of them."""


@dataclass(frozen=True)
class NetworkSource:
    """A network, and what lies beside its configuration.

    Attributes:
        name: As the user wrote it.
        known: The name by which open_clip builds it.
        folder: Where its configuration lies; ``None`` for a name.
        preprocess: What its configuration says of preprocessing, by open_clip's names.
        tuned: It comes with weights.
    """

    name: str
    known: str
    folder: Path | None = None
    preprocess: Mapping[str, Any] | None = None
    tuned: bool = False

    def weights(self) -> Path:
        """The file of the weights that it comes with.

        Raises:
            UserError: If there is none, or it cannot be fetched.
        """
        if self.name.startswith(HUB):
            return _fetched(self.name, None)
        assert self.folder is not None
        return checkpoint_file(self.folder)


def register_configs(folder: Path = CONFIGS) -> None:
    """Make our JSON model configurations known to open_clip
    (``open_clip.create_model("tiny-shapes")``).
    """
    missing = [file for file in folder.glob("*.json") if file.stem not in open_clip.list_models()]
    if missing:
        open_clip.add_model_config(folder)


def known_models() -> list[str]:
    """Every name that ``ModelSpec.model`` may have, beside ``hf-hub:``, ``local-dir:``, files."""
    register_configs()
    return [name for name in open_clip.list_models() if not name.startswith(OUTSIDE)]


@contextlib.contextmanager
def needed_again(model: str, what: str) -> Iterator[None]:
    """Whoever reads a network inside, for its pretrained weights, learns how to bring it back.

    Args:
        model: What a run was given as ``--model``.
        what: What needs the weights, for the message.

    Raises:
        UserError: As what is inside; where a folder is gone, or a repository is in no cache, with
            the place where it is looked for.
    """
    try:
        yield
    except UserError as error:
        place, repository = Path(model.removeprefix(FOLDER)), model.removeprefix(HUB)
        if model.startswith(FOLDER) and not place.is_dir():
            way = (
                f"which is not here: put the folder back at {place.absolute()}, or a link to where "
                "it lies now"
            )
        elif model.startswith(HUB) and HUB in str(error):
            way = (
                f"which cannot be fetched here: `hf download {repository}` on a machine with a "
                "network fills the Hub's cache (HF_HOME), and a copy of the cache serves here"
            )
        else:
            raise
        raise UserError(f"{what} needs the pretrained weights, {model}, {way}") from None


def check_model(model: str) -> None:
    """Refuse what ``--model`` cannot mean, without a network and before anything is built.

    Raises:
        UserError: Unknown names, folders and files without a configuration, networks whose
            tokenizer or text tower needs transformers where it is not installed.
    """
    if not model.startswith(HUB):
        usable(model)
    elif not re.fullmatch(r"[\w.-]+/[\w.-]+", model[len(HUB) :]):
        raise UserError(f"--model {model}: expected hf-hub:ORGANISATION/NAME")


def usable(model: str) -> NetworkSource:
    """As :func:`source_of`, of a network that can be built here.

    Raises:
        UserError: Also where it needs transformers, which is not installed.
    """
    source = source_of(model)
    _check_transformers(written(source.known), open_clip.get_model_config(source.known) or {})
    return source


def source_of(model: str) -> NetworkSource:
    """The network of ``--model``; a repository's configuration is fetched, or read from the cache
    of the Hub's client.

    Raises:
        UserError: Unknown names, folders and files without a configuration, and where the Hub
            cannot be reached.
    """
    if model.startswith((HUB, FOLDER)):
        file = _config_of(model)
    elif model.endswith(".json"):
        file = Path(model)
    else:
        if model not in known_models() and model not in _written:
            raise unknown("--model", model, known_models())
        return NetworkSource(model, model)
    config, preprocess = _read(file, model)
    known = register(_with_folders(config, file.parent, model.startswith(FOLDER)), model)
    return NetworkSource(model, known, file.parent, preprocess, model.startswith((HUB, FOLDER)))


def register(config: Mapping[str, Any], written: str) -> str:
    """Make a configuration known to open_clip, under a name that only this one has.

    Args:
        config: ``embed_dim``, ``vision_cfg``, ``text_cfg`` ..., as open_clip's own have.
        written: What the user calls it.
    """
    register_configs()
    text = json.dumps(config, sort_keys=True)
    name = OUTSIDE + hashlib.sha256(text.encode()).hexdigest()[:12]
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{name}.json").write_text(text, encoding="utf-8")
            open_clip.add_model_config(Path(folder))
    _written.setdefault(name, written)
    return name


def written(model: str) -> str:
    """What the user called a network that open_clip does not bring; other names as they are."""
    return _written.get(model, model)


def network(model: str) -> dict[str, Any]:
    """The configuration of a network that open_clip does not bring, to be kept in checkpoints;
    empty for one that it knows by name.
    """
    if model in _written or model.startswith((HUB, FOLDER)) or model.endswith(".json"):
        return open_clip.get_model_config(source_of(model).known) or {}
    return {}


def _config_of(model: str) -> Path:
    """The configuration in a repository or a folder: open_clip's, or that of transformers."""
    if model.startswith(HUB):
        return _fetched(model, HUB_CONFIG)
    folder = Path(model[len(FOLDER) :])
    if not folder.is_dir():
        raise UserError(f"--model {model}: there is no folder {folder}")
    for name in (HUB_CONFIG, TRANSFORMERS_CONFIG):
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"--model {model}: the folder has no {HUB_CONFIG}; for weights without one, name their "
        "network with --model NAME and give the folder to --pretrained"
    )


def _fetched(model: str, name: str | None) -> Path:
    """A file of a repository, by open_clip's client; without a name the weights."""
    repository = model[len(HUB) :]
    try:
        return Path(download_pretrained_from_hf(repository, filename=name))
    except Exception as error:  # the client's own, of the network, the file system, or the answer
        what = name or "the weights"
        raise UserError(
            f"--model {model}: {what} cannot be fetched here ({first_line(error)}). Copy the "
            f"repository's files into a folder DIR (hf download {repository} --local-dir DIR) and "
            "give --model local-dir:DIR"
        ) from None


def _read(file: Path, model: str) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Network and preprocessing of a configuration."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"--model {model}: {file} cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"--model {model}: {file} is no JSON in UTF-8") from None
    if isinstance(content, dict) and "model_type" in content and "vision_cfg" not in content:
        return network_of(content, file), None
    config = content.get("model_cfg", content) if isinstance(content, dict) else {}
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    if not isinstance(config, dict) or not all(part in config for part in parts):
        raise UserError(
            f"--model {model}: {file} is no configuration of open_clip: expected "
            f"{', '.join(parts)} (or model_cfg with them)"
        )
    if not all(isinstance(config[part], dict) for part in parts[1:]):
        raise UserError(f"--model {model}: {file}: vision_cfg and text_cfg must be objects")
    own = {k: v for k, v in config.items() if k != "preprocess_cfg"}
    return own, content.get("preprocess_cfg")


def _with_folders(config: dict[str, Any], beside: Path, local: bool) -> dict[str, Any]:
    """Tokenizer and text tower of transformers that lie beside the configuration, by their folder:
    of a ``local-dir:`` the tokenizer always does, as open_clip has it.
    """
    text = dict(config["text_cfg"])
    for key in ("hf_tokenizer_name", "hf_model_name"):
        name = text.get(key)
        if isinstance(name, str) and name and (beside / name).is_dir():
            text[key] = str((beside / name).resolve())
        elif name and local and key == "hf_tokenizer_name":
            text[key] = str(beside.resolve())
    return {**config, "text_cfg": text}


def _check_transformers(model: str, config: Mapping[str, Any]) -> None:
    text = config.get("text_cfg", {})
    wants = text.get("hf_model_name") or text.get("hf_tokenizer_name")
    if not wants and "siglip" in model.lower() and model in open_clip.list_models():
        wants = "SigLIP's"  # open_clip goes by the name
    if wants and find_spec("transformers") is None:
        part = "text tower" if text.get("hf_model_name") else "tokenizer"
        raise UserError(
            f"--model {model}: its {part} ({wants}) is one of transformers, which is not "
            "installed: pip install 'grace_geom[transformers]'"
        )
