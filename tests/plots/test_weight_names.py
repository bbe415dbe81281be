"""Names of weights for people, and their order."""

import random

import plotly.graph_objects as go
import pytest

from grace_geom.plots.columns import matrix_axis, shade_blocks
from grace_geom.plots.palette import LIGHT
from grace_geom.plots.weight_names import group_name, in_order, site, weight_name

BLOCK = "visual.transformer.resblocks"
NAMES = {
    f"{BLOCK}.3.attn.in_proj_weight": "block 3, attention in",
    f"{BLOCK}.3.attn.in_proj_bias": "block 3, attention in, bias",
    f"{BLOCK}.3.attn.out_proj.weight": "block 3, attention out",
    f"{BLOCK}.11.mlp.c_fc.weight": "block 11, MLP in",
    f"{BLOCK}.11.mlp.c_proj.weight": "block 11, MLP out",
    f"{BLOCK}.0.ln_2.weight": "block 0, second LayerNorm, gain",
    f"{BLOCK}.0.mlp.c_fc.weight.A": "block 0, MLP in, factor A",
    "visual.conv1.weight": "stem convolution",
    "visual.class_embedding": "class token",
    "visual.positional_embedding": "positions",
    "visual.ln_post.bias": "last LayerNorm, bias",
    "visual.proj": "projection",
    "head.weight": "classifier",
    "transformer.resblocks.2.attn.out_proj.weight": "text block 2, attention out",
    "token_embedding.weight": "text tokens",
    "positional_embedding": "text positions",
    "text_projection": "text projection",
    "visual.trunk.blocks.5.attn.qkv.weight": "block 5, attention in",
    "visual.trunk.stages.2.blocks.7.mlp.fc1.weight": "stage 2, block 7, MLP in",
    "visual.trunk.stages.1.downsample.1.weight": "stage 1, downsample 1",
    "visual.layer4.0.conv2.weight": "stage 4, block 0, conv2",
    "visual.layer1.0.bn1.weight": "stage 1, block 0, bn1, gain",
    "visual.attnpool.q_proj.weight": "attnpool q proj",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_people(name: str):
    assert weight_name(name) == NAMES[name]


def test_matrices_go_from_the_stem_over_the_blocks_to_the_head():
    wanted = [
        "visual.conv1.weight",
        "visual.positional_embedding",
        *(
            f"{BLOCK}.{i}.{kind}"
            for i in (0, 1, 2, 10)
            for kind in (
                "attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight",
                "mlp.c_proj.weight",
            )
        ),
        "visual.proj",
        "head.weight",
        "positional_embedding",
        "transformer.resblocks.0.attn.in_proj_weight",
        "text_projection",
    ]  # fmt: skip
    mixed = list(wanted)
    random.Random(0).shuffle(mixed)
    assert in_order(mixed) == wanted


def test_an_axis_has_little_room():
    assert site(f"{BLOCK}.3.attn.out_proj.weight").brief == "3 attention out"
    assert site("visual.proj").brief == "projection"


def test_the_weights_of_an_analysis_are_a_tower():
    assert group_name("visual") == "image tower"
    assert group_name(r"resblocks\.3") == r"weights named 'resblocks\.3'"


def test_of_many_matrices_an_axis_names_the_blocks():
    kinds = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    names = ["visual.conv1.weight", *(f"{BLOCK}.{i}.{kind}" for i in range(12) for kind in kinds),
             "visual.proj"]  # fmt: skip
    axis = matrix_axis(names)
    assert axis["ticktext"] == ["stem", *map(str, range(12)), "head"]
    assert axis["tickvals"][:3] == [0, 2.5, 6.5] and axis["tickvals"][-1] == 49
    few = matrix_axis(names[:5])
    assert few["ticktext"][:2] == ["stem convolution", "0 attention in"]
    shaded = shade_blocks(go.Figure(), names, LIGHT).layout.shapes
    assert [(s.x0, s.x1) for s in shaded[:2]] == [(0.5, 4.5), (8.5, 12.5)]
