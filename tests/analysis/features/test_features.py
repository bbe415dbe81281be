"""Collecting features: what a public tool or another got wrong, one test each."""

import json

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from grace_geom.analysis.features import Features, blocks_of, collect, paired, read_features, tapped
from grace_geom.analysis.features.extract import _pooled, through_modules
from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.geometry.cka import cka
from grace_geom.models import ModelSpec, build
from tests.toys import CLASSES, CONFIG, TEMPLATES, toy_batch, toy_clip


def gather(batches: list[Batch], models=None, **options) -> dict[str, Features]:
    return collect(models or {"a": toy_clip()}, batches, images="toy", distribution="id", **options)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def by_hand(model, images: Tensor) -> list[Tensor]:
    """Token features after every block, without hooks."""
    visual = model.clip.visual
    x = visual._embeds((images - model.mean) / model.std)
    found = []
    for block in visual.transformer.resblocks:
        x = block(x)
        found.append(x)
    return found


@torch.no_grad()
def test_features_are_those_of_the_blocks():
    model, batch = toy_clip(), toy_batch(6)
    tokens = by_hand(model, batch.images)
    pools = {
        "cls": lambda x: x[:, 0],
        "mean": lambda x: x[:, 1:].mean(1),
        "tokens": lambda x: x.flatten(1),
    }
    for pool, pick in pools.items():
        found = gather([batch], {"a": model}, pool=pool)["a"]
        assert list(found.layers) == ["block.0", "block.1", "embedding"]
        for i, expected in enumerate(tokens):
            assert_close(found.layers[f"block.{i}"], pick(expected))
        assert_close(found.embedding, model.encode(batch.images))


def test_ragged_batches_give_the_same_rows():
    whole, parts = gather([toy_batch(10)])["a"], gather(toy_batch(10).split(4))["a"]
    assert torch.equal(whole.labels, parts.labels) and len(parts) == 10
    for name, x in whole.layers.items():
        assert_close(parts.layers[name], x, rtol=1e-5, atol=1e-6)


def test_several_models_in_one_pass_each_keep_their_own_features():
    models = {"a": toy_clip(0), "b": toy_clip(1)}
    found = gather([toy_batch(5)], models)
    for name, model in models.items():
        assert_close(found[name].embedding, gather([toy_batch(5)], {"x": model})["x"].embedding)
    assert not torch.allclose(found["a"].embedding, found["b"].embedding)


def test_the_same_model_under_two_names_and_on_two_sets_is_not_one_and_the_same():
    model = toy_clip()
    first, second = (gather([toy_batch(40, seed)], {"a": model})["a"] for seed in (0, 1))
    twice = gather([toy_batch(40)], {"a": model, "b": model})
    assert_close(twice["a"].embedding, twice["b"].embedding)
    # a tool that hooks one module for both sets compares the second with itself and finds exactly 1
    assert abs(cka(first.layers["block.1"], second.layers["block.1"])) < 0.9


def test_hooks_are_gone_afterwards_also_after_a_failure_or_an_abandoned_pass():
    model = toy_clip()
    gather([toy_batch(4)], {"a": model})
    with pytest.raises(RuntimeError):
        gather(
            [Batch(torch.zeros(2, 5, 16, 16), torch.zeros(2, dtype=torch.long), torch.arange(2))],
            {"a": model},
        )
    passing = read_features({"a": model}, toy_batch(8).split(4))
    next(passing)
    assert hooks(model) == 0  # none waits for the next batch either
    passing.close()
    with pytest.raises(UserError):
        gather([toy_batch(4)], {"a": model}, layers="no such layer")
    assert hooks(model) == 0


def test_a_shuffled_loader_is_refused():
    batch = toy_batch(6)
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    shuffled = Batch(batch.images[order], batch.labels[order], batch.index[order])
    with pytest.raises(UserError, match="shuffled loader"):
        gather([shuffled])


def test_a_model_in_training_mode_is_refused():
    model = toy_clip()
    model.clip.visual.transformer.resblocks[1].train()
    with pytest.raises(UserError, match=r"training mode \(at visual.transformer.resblocks.1"):
        gather([toy_batch(4)], {"a": model})


def test_a_misspelt_layer_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"blok.1.*did you mean 'block.1'"):
        gather([toy_batch(4)], layers="blok.1")
    with pytest.raises(UserError, match="--pool 'clss'"):
        gather([toy_batch(4)], pool="clss")
    with pytest.raises(UserError, match="not a regular expression"):
        gather([toy_batch(4)], layers="(")
    assert list(gather([toy_batch(4)], layers=r"\.1$")["a"].layers) == ["block.1", "embedding"]


def test_half_precision_models_give_float32_features_near_the_true_ones():
    model, batch = toy_clip(), toy_batch(16)
    exact = gather([batch], {"a": model})["a"]
    model.autocast_dtype = torch.bfloat16
    half = gather([batch], {"a": model})["a"]
    for name, x in half.layers.items():
        assert x.dtype == torch.float32
        assert_close(x, exact.layers[name], rtol=0.05, atol=0.05 * x.abs().max().item())


class Wrapped(nn.Module):
    """A block whose output is a tuple or a dictionary; what follows takes it apart again."""

    def __init__(self, block: nn.Module, wrap) -> None:
        super().__init__()
        self.block, self.wrap = block, wrap

    def forward(self, x: Tensor, attn_mask: Tensor | None = None):
        return self.wrap(self.block(x, attn_mask=attn_mask))


@pytest.mark.parametrize("wrap", [lambda x: (x, None), lambda x: {"hidden": x, "more": 1}])
def test_tuple_and_dictionary_outputs_give_their_hidden_state(wrap):
    model, batch = toy_clip(), toy_batch(5)
    expected = gather([batch], {"a": model})["a"].layers["block.1"]
    blocks, last = (
        model.clip.visual.transformer.resblocks,
        model.clip.visual.transformer.resblocks[1],
    )
    blocks[1] = Wrapped(last, wrap).eval()
    pool = model.clip.visual._pool
    model.clip.visual._pool = lambda x: pool(
        next(iter(x.values())) if isinstance(x, dict) else x[0]
    )
    assert_close(gather([batch], {"a": model})["a"].layers["block.1"], expected)


def test_a_module_that_writes_into_what_it_is_given_spoils_nothing():
    model, batch = toy_clip(), toy_batch(5)
    expected = gather([batch], {"a": model})["a"].layers["block.0"]
    blocks = model.clip.visual.transformer.resblocks
    first = blocks[0]

    class Overwriting(nn.Module):
        """As an in-place activation does."""

        def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
            return x.mul_(0.0)

    blocks[1] = Overwriting().eval()
    found = gather([batch], {"a": model})["a"].layers
    assert blocks[0] is first and found["block.1"].abs().max() == 0
    assert_close(found["block.0"], expected)


def test_no_images_is_an_error():
    with pytest.raises(UserError, match="no images"):
        gather([])


def test_different_images_are_refused_with_the_reason():
    a = gather([toy_batch(4)])["a"]
    b = collect({"a": toy_clip()}, [toy_batch(4, 1)], images="other", distribution="sketch")["a"]
    paired(a, a)
    with pytest.raises(
        UserError, match=r"id and sketch are different images.*not paired.*centroids"
    ):
        paired(a, b)


def test_taps_see_the_latest_call_only():
    model, batch = toy_clip(), toy_batch(4)
    with tapped(blocks_of(model)) as outputs, torch.no_grad():
        through_modules(model)(batch.images)
        first = outputs["block.0"]
        through_modules(model)(1 - batch.images)
        assert not torch.allclose(outputs["block.0"], first)
    outputs.clear()
    through_modules(model)(batch.images)
    assert not outputs


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    file = tmp_path_factory.mktemp("resnet") / "small.json"
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
    file.write_text(json.dumps({**CONFIG, "vision_cfg": vision}))
    return build(ModelSpec(str(file), "random"), CLASSES, TEMPLATES)


@torch.no_grad()
def test_without_a_class_token_positions_are_averaged_unless_one_is_asked_for(resnet):
    batch = toy_batch(3)
    found = gather([batch], {"a": resnet}, pool="auto")["a"]
    visual = resnet.clip.visual
    x = torch.nn.functional.interpolate(batch.images, (32, 32), mode="bicubic", antialias=True)
    x = visual.stem((x - resnet.mean) / resnet.std)
    for i in range(1, 5):
        x = getattr(visual, f"layer{i}")(x)
        assert_close(found.layers[f"stage.{i}"], x.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"no CLS token: use --pool mean"):
        gather([batch], {"a": resnet}, pool="cls")
    own = gather([batch], pool="auto")["a"]
    for name, x in gather([batch], pool="cls")["a"].layers.items():
        assert torch.equal(own.layers[name], x)


@torch.no_grad()
def test_maps_with_channels_last_are_averaged_over_positions():
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=8, depths=(1, 1), num_heads=(1, 2),
        window_size=4,
    ).eval()  # fmt: skip
    model = toy_clip()
    visual = nn.Module()
    visual.trunk = swin
    model.clip.visual = visual
    x = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert_close(_pooled(x, model, "mean", 2), x.mean(dim=(1, 2)))
    assert list(blocks_of(model)) == ["block.0", "block.1"]
