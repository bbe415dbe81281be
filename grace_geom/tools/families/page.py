"""The page of families: Markdown from what was measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import fill

import open_clip

from grace_geom.methods import METHODS
from grace_geom.models import known_models
from grace_geom.tools.families.cells import FamilyRow
from grace_geom.tools.families.small import FAMILIES, Family, family_of

OWN = "tiny-shapes"

HEAD = """# Families of networks

Every name of `open_clip.list_models()` can be `--model`. What works depends on the image tower. One
small random network of each family was tried: every method took a step, every attack attacked, and
what the analyses compute (a Hessian-vector product, pooled features, features at perturbed weights)
was computed.

```bash
python -m grace_geom.tools.families
```

*adapted* is the share of the image tower's weights, of the example, that LoRA and GRACE adapt with
the default `--targets`; the rest is embeddings, norms, biases and projections, and what stands
under [not adapted](#not-adapted). *pool* is what `--pool auto` takes of a block: its class token,
or the mean of its positions. The weight perturbation of `feature_stability` is in the adapted
matrices.
"""


def page(rows: Mapping[str, FamilyRow], shares: Mapping[str, float]) -> str:
    """Markdown for the rows of all families, and the adapted shares of their examples, by the
    family's name.
    """
    members = members_of()
    table = [
        "| family | image tower | names | example | adapted | pool | does not work |",
        "| --- | --- | ---: | --- | ---: | --- | --- |",
        *(line(f, rows[f.name], shares[f.name], len(members[f.name])) for f in FAMILIES),
    ]
    return "\n".join([HEAD, *table, "", *_reasons(rows), *_names(members)])


def line(family: Family, row: FamilyRow, share: float, names: int) -> str:
    """A family's row of the table."""
    refused = ", ".join(f"`{name}`" for name in row.refused) or "–"
    return (
        f"| {family.name} | {family.tower} | {names} | `{family.example}` "
        f"| {100 * share:.0f} % | {row.pool} | {refused} |"
    )


def members_of() -> dict[str, list[str]]:
    """open_clip's names by family."""
    found: dict[str, list[str]] = {family.name: [] for family in FAMILIES}
    for model in known_models():
        if model in open_clip.list_models() and model != OWN and not model.startswith("toy"):
            found[family_of(model).name].append(model)
    return found


def _reasons(rows: Mapping[str, FamilyRow]) -> list[str]:
    """Each refusal once, with the words that a user sees."""
    said: dict[str, str] = {}
    for row in rows.values():
        for name, why in row.refused.items():
            said.setdefault(name, why)
    what = {name: "method" if name in METHODS else "option" for name in said}
    lines = [
        "## Why not",
        "",
        f"All {len(METHODS)} methods, attacks and analyses work but for:",
        "",
    ]
    lines += [_item(f"{what[name]} `{name}`: “{why}”") for name, why in sorted(said.items())]
    return [*lines, "", *NOTES]


NOTES = """## Not adapted

- ResNet, ConvNeXt and MobileCLIP S: the stem. Convolutions of the stages are adapted as matrices of
  their output channels: `A` (r, in, k, k), `B` (out, r, 1, 1).
- MobileCLIP B and ViTamin: the convolutions before the blocks. Swin: the matrices between stages.
  `--targets 'weight$'` adapts every matrix and kernel.

## Input sizes

A ViT of open_clip's own may have `"image_size": [HEIGHT, WIDTH]` in its configuration. `--eps` and
`--image-size` then count pixels of the shorter side. open_clip's ResNet is square only.

## Tokenizers

Names marked * need transformers for their tokenizer, those marked ** also for their text tower:
`pip install 'grace_geom[transformers]'`. Both are fetched from the Hub; without a network see
[Bring your own model](howto/own-model.md).
""".splitlines()


def _names(members: Mapping[str, Sequence[str]]) -> list[str]:
    lines = ["", "## Names", ""]
    for family, names in members.items():
        marked = ", ".join(f"{name}{_mark(name)}" for name in names)
        lines.append(_item(f"{family}: {marked}"))
    total = Counter({family: len(names) for family, names in members.items()}).total()
    return [*lines, "", f"{total} names of open_clip {open_clip.__version__}.", ""]


def _item(text: str) -> str:
    """An item of a list, at most 100 columns wide; names are not cut at their hyphens."""
    return fill(
        text, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _mark(model: str) -> str:
    text = (open_clip.get_model_config(model) or {}).get("text_cfg", {})
    if text.get("hf_model_name"):
        return r"\*\*"
    return r"\*" if text.get("hf_tokenizer_name") else ""
