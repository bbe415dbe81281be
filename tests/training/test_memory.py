"""What a step keeps in memory, what fits, and what happens where it does not."""

import json

import open_clip
import pytest
import torch
from torch.testing import assert_close

from benchmarks import memory as benchmark
from benchmarks.memory import Way
from grace_geom.devices import Precision
from grace_geom.errors import UserError
from grace_geom.evaluation import accuracy
from grace_geom.geometry.gram_volume import volume
from grace_geom.methods import METHODS
from grace_geom.serialise import read_yaml
from grace_geom.training import Plan, Trainer, choose_micro_batch, directory
from grace_geom.training.memory import Memory, kept_by_autograd, measure
from grace_geom.world import World
from tests.pretended_gpu import pretended_gpu
from tests.small_run import small_config, small_run
from tests.toys import CONFIG, register_toy, toy_batch, toy_clip, toy_run


def trainer(name: str = "ft", recompute: bool = False, **plan) -> Trainer:
    settings = {
        "grace": {"attack_steps": 2, "r": 2},
        "grace-gv-off": {"attack_steps": 2, "r": 2, "gv": False},
        "at": {"attack_steps": 2},
        "lora": {"r": 2},
        "lora-at": {"r": 2},
    }
    method, model = METHODS[name.removesuffix("-gv-off")](**settings.get(name, {})), toy_clip()
    model.checkpoint_activations(recompute)
    return Trainer(method, toy_run(method, model), Plan(10, 5, **plan))


def test_what_autograd_keeps_is_counted_once_and_given_back():
    x = torch.randn(10, 100, requires_grad=True)
    W = torch.randn(100, 50)
    own = {W.untyped_storage().data_ptr()}
    with kept_by_autograd(own) as peak:
        h = x.exp()  # keeps its result, 4,000 bytes
        z = (h @ W).square()  # keeps h @ W, 2,000 bytes; W is there anyway
        u = h * h  # keeps h, which is counted already
        (z.sum() + u.sum()).backward()
    assert peak == [6000]
    del h, z, u
    with kept_by_autograd(own) as peak:
        for _ in range(3):  # one graph after the other is not three at once
            x.exp().sum().backward()
    assert peak == [4000]


def test_the_step_is_measured_and_left_as_it_was():
    t = trainer("grace")
    before = (
        t.run.generator.get_state().clone(),
        dict(t.run.state),
        {n: w.clone() for n, w in t.run.params.items()},
    )
    memory = measure(t, 16)
    assert (
        torch.equal(t.run.generator.get_state(), before[0])
        and t.run.state == before[1]
        and t.run.step == 0
    )
    assert all(torch.equal(w, before[2][n]) and w.grad is None for n, w in t.run.params.items())
    weights = sum(p.nbytes for p in t.run.model.clip.parameters())
    assert memory.fixed > weights and memory.image > 0
    assert memory.of(8) - memory.of(4) == pytest.approx(1.25 * 4 * memory.image, abs=2)


def test_an_average_is_one_more_copy_of_what_trains():
    plain, averaged = (measure(trainer("lora", ema=ema), 16).fixed for ema in (0.0, 0.9))
    leaves = sum(w.nbytes for w in trainer("lora").run.params.values())
    assert averaged - plain == leaves > 0


def test_grace_keeps_the_graphs_of_three_images_at_once_others_of_one():
    lora, lora_at, two, three = (
        measure(trainer(n), 16).image for n in ("lora", "lora-at", "grace-gv-off", "grace")
    )
    features = [torch.randn(16, 16, requires_grad=True) for _ in range(3)]
    with kept_by_autograd(set()) as gram:
        volume(features).sum().backward()
    # A pass keeps what a forward with LoRA gradient keeps; what it shares with no other (logits,
    # the products that merge the factors) is little beside it, and never makes a pass cheaper than
    # the cheapest one.
    assert 0.8 * lora <= lora_at <= lora  # the attack's graphs are gone by then
    assert 2 <= two / lora_at < 2.5
    assert 1 <= (three - two - gram[0] / 16) / lora_at < 1.5


def test_recomputing_keeps_less():
    assert measure(trainer("ft", recompute=True), 16).image < 0.6 * measure(trainer("ft"), 16).image


@pytest.mark.parametrize(
    "images, most, pieces",
    [(256, 256, 256), (256, 1000, 256), (256, 100, 86), (10, 3, 3), (7, 1, 1)],
)
def test_pieces_are_equal_and_few(images: int, most: int, pieces: int):
    memory = Memory(fixed=1000, image=80)  # 100 bytes an image with the margin
    assert memory.largest(1000 + 100 * most) == most
    assert choose_micro_batch(memory, images, 1000 + 100 * most) == pieces
    with pytest.raises(UserError, match=r"one image needs .* --grad-checkpoint"):
        choose_micro_batch(memory, images, 1050)


class Small:
    """A device with room for few images, by a method that knows."""

    def __init__(self, t: Trainer, room: int) -> None:
        self.gradients, self.room, self.tried = t.method.gradients, room, []

    def __call__(self, run, batches):
        self.tried.append(len(batches[0]))
        torch.rand(5, generator=run.generator)  # a step that fails has drawn numbers before
        if len(batches[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.gradients(run, batches)


def test_pieces_are_halved_until_they_fit_and_the_step_is_the_one_they_would_have_made():
    tight, free = trainer("at", adapt=True), trainer("at", micro_batch=2)
    tight.method.gradients = small = Small(tight, room=3)
    free.method.gradients = Small(free, room=99)
    for t in (tight, free):
        for seed in range(2):
            t.step_that_fits(toy_batch(8, seed))
    assert small.tried == [8, 4, 2, 2] and tight.plan.micro_batch == 2 and tight.run.step == 2
    for name, w in free.run.params.items():
        assert_close(tight.run.params[name], w, rtol=0, atol=0)


def test_a_step_that_is_made_again_tells_its_records_once():
    t, told = trainer("grace", adapt=True), []
    t.run.emit = lambda stream, record: told.append((stream, record["step"]))
    real = t.method.gradients

    def gradients(run, batches):
        found = real(run, batches)  # the curvature of step 0 is told on the way
        if len(batches[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    t.method.gradients = gradients
    t.step_that_fits(toy_batch(8))
    assert t.plan.micro_batch == 4 and told == [("curvature", 0)]


def test_smaller_pieces_are_no_help_where_the_optimizer_finds_no_room():
    t = trainer("ft", adapt=True)

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    t.optimizer.step = full
    with pytest.raises(UserError, match="step 1: the device has no room for the optimizer's state"):
        t.step_that_fits(toy_batch(8))
    assert t.plan.micro_batch is None


def test_held_out_images_are_attacked_in_pieces_as_steps_are_cut(tmp_path, monkeypatch):
    asked, real = [], directory.evaluate_set

    def counting(*arguments, batch_size, **more):
        asked.append(batch_size)
        return real(*arguments, batch_size=batch_size, **more)

    monkeypatch.setattr(directory, "evaluate_set", counting)
    small_run(tmp_path, "at", micro_batch=3, val_pgd=1, epochs=1)
    assert asked == [3, 3], "clean, and under attack"
    small_run(tmp_path, "ft", epochs=1, out=str(tmp_path / "whole"))
    assert asked[2:] == [8], "where steps are not cut, a whole batch"
    monkeypatch.setattr(directory, "world", lambda: World(0, 4))
    few = directory.Follower(small_config(tmp_path, "ft"), None, None, {}, members={}, quiet=True)
    assert few.pieces() == 2, "a process's share of it"


def test_no_room_between_the_steps_is_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(accuracy, "correctness", full)
    with pytest.raises(
        UserError, match=r"no room for 8 images of val at once: use .*--micro-batch"
    ):
        small_run(tmp_path, "ft", epochs=1)
    monkeypatch.setattr(METHODS["at"], "prepare", full)
    with pytest.raises(UserError, match="no room for what comes before or between the steps"):
        small_run(tmp_path, "at", epochs=1, out=str(tmp_path / "other"))


def test_without_auto_the_flag_is_named():
    t = trainer("ft")
    t.method.gradients = Small(t, room=3)
    with pytest.raises(
        UserError, match="step 1: the device has no room for 8 images at once; use --micro-batch 4"
    ):
        t.step_that_fits(toy_batch(8))


def test_auto_is_a_value_of_the_flag_and_trains(tmp_path, capsys):
    out = small_run(tmp_path, "grace", micro_batch="auto", epochs=1)
    assert read_yaml(out / "config.yaml")["micro_batch"] == "auto"
    assert "--micro-batch auto: 8 of 8 images a forward pass, about" in capsys.readouterr().err
    with pytest.raises(UserError, match="micro"):
        small_config(tmp_path, micro_batch="some")


PLAIN, RECOMPUTE, LEAN = Way(), Way(recompute=True), Way(recompute=True, lean=True)


@pytest.mark.parametrize("method", ["ft", "lora", "at", "grace"])
@pytest.mark.parametrize(
    "precision, way", [("float32", PLAIN), ("float32", RECOMPUTE), ("bf16", PLAIN)]
)
def test_passes_over_shapes_keep_what_real_ones_keep(method: str, precision: Precision, way: Way):
    """Real passes on the same model. What is fixed depends on the ranks, which made-up numbers
    decide; in bf16 the CPU's layer norm keeps means and deviations in float32, which fake tensors
    do not know: 8 bytes a token of width 16.
    """
    name = register_toy()
    real = benchmark.real(name, method, way, precision, 10, "cpu")
    shapes = benchmark.estimate(name, method, way, precision, rules="cpu")
    assert shapes.image == pytest.approx(real.image, rel=1e-3 if precision == "float32" else 0.04)
    assert shapes.fixed == pytest.approx(real.fixed, rel=0.1)


@pytest.mark.parametrize("precision, way", [("bf16", PLAIN), ("bf16", RECOMPUTE), ("bf16", LEAN)])
def test_by_cudas_rules_they_keep_what_a_pretended_gpu_keeps(precision: Precision, way: Way):
    """There, real passes go through CUDA's autocast, on the CPU's kernels: the toy's 5 tokens are
    beyond ``SHORT`` in both.
    """
    name = register_toy()
    shapes = benchmark.estimate(name, "ft", way, precision)
    with pretended_gpu():
        real = benchmark.real(name, "ft", way, precision, 10, "cuda")
    assert shapes.image == pytest.approx(real.image, rel=0.04)


@pytest.mark.nightly
def test_bf16_halves_what_is_recomputed_only_with_the_residual_stream_in_it():
    """Of the inputs of the blocks, which are all that recomputation keeps of a deep network."""
    deep = "ViT-B-32"
    full = benchmark.estimate(deep, "ft", RECOMPUTE, "float32").image
    usual, lean = (benchmark.estimate(deep, "ft", w, "bf16").image for w in (RECOMPUTE, LEAN))
    on_a_cpu = benchmark.estimate(deep, "ft", RECOMPUTE, "bf16", rules="cpu").image
    assert usual > 0.85 * full
    assert lean < 0.55 * full and on_a_cpu < 0.55 * full


def fixed_bytes(visual: float, text: float) -> float:
    """Weights of both towers; those that train take four times their bytes (values, gradients, two
    moments) and two sets of gradients more.
    """
    return 4 * (visual + text) + 4 * 6 * visual


def test_a_model_that_fits_no_machine_is_answered_too(tmp_path):
    """Two billion weights in few layers, which cost few calls. Nothing is allocated or computed."""
    wide = {"layers": 1, "width": 12288, "head_width": 64}
    config = CONFIG | {"vision_cfg": CONFIG["vision_cfg"] | wide}
    (tmp_path / "toy-giant.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    with torch.device("meta"):
        clip = open_clip.CLIP(**config)
    visual, both = (sum(p.numel() for p in m.parameters()) for m in (clip.visual, clip))
    memory = benchmark.estimate("toy-giant", "ft", RECOMPUTE, "bf16")
    assert visual > 1.8e9
    assert memory.fixed == pytest.approx(fixed_bytes(visual, both - visual), rel=0.03)
    assert not torch.empty(1).is_meta and type(torch.empty(1)) is torch.Tensor  # the modes are left
    with pytest.raises(UserError, match="ViT-L-15"):
        benchmark.estimate("ViT-L-15", "ft", PLAIN, "bf16")


@pytest.mark.nightly
def test_the_largest_model_of_open_clip_is_answered():
    memory = benchmark.estimate("ViT-bigG-14", "ft", RECOMPUTE, "bf16")
    assert memory.fixed == pytest.approx(fixed_bytes(1.84e9, 0.69e9), rel=0.03)
