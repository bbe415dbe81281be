"""Attacks whose gradients are compiled or replayed from a CUDA graph: the same images, or why not,
said once.
"""

import pytest
import torch
from torch.testing import assert_close

from grace_geom.attacks.pgd import input_gradient
from grace_geom.methods import METHODS
from grace_geom.methods.fast_attack import FastAttack, Graph, cross_entropy
from grace_geom.training import train_run
from tests.pretended_gpu import pretended_gpu
from tests.small_run import lines, small_config
from tests.toys import toy_batch, toy_clip, toy_run


def replayed(work):
    """A capture without a GPU: the work is done at each replay, in the memory of the first call."""
    result = work().clone()

    def replay() -> None:
        result.copy_(work())

    return replay, result


def attacked(name: str, fast: FastAttack, steps: int = 2, **settings) -> list[torch.Tensor]:
    """The images that the attacks of a few optimiser steps find, at weights that move."""
    method = METHODS[name](attack_steps=3, lr=1e-2, **settings)
    run = toy_run(method)
    run.fast = fast
    optimizer, found = method.make_optimizer(run.params), []
    for seed in range(steps):
        batch = toy_batch(8, seed)
        found.append(method.attack(run, method.weights(run.model, run.params), batch).images)
        optimizer.zero_grad()
        method.gradients(run, [batch])
        optimizer.step()
    return found


@pytest.fixture
def told() -> list[dict]:
    return []


def test_the_compiled_function_is_what_the_attack_climbs(told):
    """With a compiler that changes the function, so that its gradient can be told."""
    flipped = FastAttack("attack", told.append, compiler=lambda function: lambda x: -function(x))
    same = FastAttack("attack", compiler=lambda function: function)
    (usual,), (one,), (other,) = (attacked("at", f, 1) for f in (FastAttack(), same, flipped))
    assert torch.equal(one, usual) and not torch.equal(other, usual)
    assert told == [{"asked": "attack", "used": "attack", "reason": ""}]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["at", "trades"])
def test_a_compiled_attack_finds_the_same_images(told, name: str):
    """Of every method, whatever its attack raises; here without code generation."""

    def compiler(function):
        return torch.compile(function, backend="aot_eager")

    fast = FastAttack("attack", told.append, compiler=compiler)
    for one, other in zip(attacked(name, fast), attacked(name, FastAttack()), strict=True):
        # A sign may change where a gradient is all rounding, as those of trades' first step are.
        assert ((one - other).abs() > 1e-6).float().mean() < 1e-3
    assert told == [{"asked": "attack", "used": "attack", "reason": ""}]


def test_a_compiler_that_fails_is_told_and_left(told):
    calls = []

    def compiler(function):
        def broken(x):
            calls.append(1)
            raise RuntimeError("no C++ compiler\nand a long trace")

        return broken

    fast = FastAttack("attack", told.append, compiler=compiler)
    for one, other in zip(attacked("at", fast), attacked("at", FastAttack()), strict=True):
        assert_close(one, other, rtol=0, atol=0)
    reason = "torch.compile failed: no C++ compiler"
    assert told == [{"asked": "attack", "used": "off", "reason": reason}]
    assert len(calls) == 1 and fast.mode == "off"


def test_a_compiler_that_fails_later_is_told_too(told):
    """As it may at the last batch, whose other shape is compiled anew."""
    calls = []

    def compiler(function):
        def works_twice(x):
            calls.append(1)
            if len(calls) > 2:
                raise RuntimeError("no room in /tmp")
            return function(x)

        return works_twice

    fast = FastAttack("attack", told.append, compiler=compiler)
    for one, other in zip(attacked("at", fast), attacked("at", FastAttack()), strict=True):
        assert torch.equal(one, other)
    assert told == [
        {"asked": "attack", "used": "attack", "reason": ""},
        {"asked": "attack", "used": "off", "reason": "torch.compile failed: no room in /tmp"},
    ]
    assert len(calls) == 3 and fast.mode == "off"


def test_an_end_without_any_attack_is_told(told):
    fast = FastAttack("attack", told.append)
    fast.end()
    fast.end()
    FastAttack("off", told.append).end()
    assert told == [{"asked": "attack", "used": "off", "reason": "the run made no attack"}]
    used = FastAttack("attack", told.append, compiler=lambda function: function)
    attacked("at", used, 1)
    used.end()
    assert told[1:] == [{"asked": "attack", "used": "attack", "reason": ""}]


def test_a_graph_is_captured_once_a_shape_and_finds_the_same_images(told):
    """Weights and labels change from step to step; the graph has its own copies."""
    captures = []

    def capture(work):
        captures.append(work)
        return replayed(work)

    with pretended_gpu():
        fast, found = FastAttack("graphs", told.append, capture=capture), {}
        for label, how in {"graphs": fast, "off": FastAttack()}.items():
            method = METHODS["at"](attack_steps=3, lr=1e-2)
            run = toy_run(method, toy_clip().to("cuda"))
            run.generator, run.fast = torch.Generator("cuda").manual_seed(0), how
            optimizer, found[label] = method.make_optimizer(run.params), []
            for seed, n in enumerate((8, 8, 4)):
                batch = toy_batch(n, seed).to("cuda")
                optimizer.zero_grad()
                method.gradients(run, [batch])
                optimizer.step()
                weights = method.weights(run.model, run.params)
                found[label].append(method.attack(run, weights, batch).images.cpu())
    assert len(captures) == 2
    assert told == [{"asked": "graphs", "used": "graphs", "reason": ""}]
    for one, other in zip(found["graphs"], found["off"], strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_a_graph_reads_the_weights_and_labels_of_the_step():
    model, a, b = toy_clip(), toy_batch(6, 0), toy_batch(6, 1)
    first = {name: w.clone() for name, w in model.weights().items()}
    second = {name: 1.1 * w for name, w in first.items()}
    graph = Graph(model, cross_entropy, first, a, replayed)
    for weights, batch in ((first, a), (second, b), (first, b)):
        found = graph.at(weights, batch)(batch.images)
        expected = input_gradient(
            lambda x, w=weights, y=batch.labels: cross_entropy(model, w, y, x), batch.images
        )
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "name, settings, reason",
    [
        ("at", {}, "CUDA graphs need a CUDA device"),
        ("at", {"attack_stop": 9.0}, "--attack-stop leaves fewer images from step to step"),
    ],
)
def test_without_a_graph_the_reason_is_told_once(told, name, settings, reason):
    fast = FastAttack("graphs", told.append)
    for one, other in zip(
        attacked(name, fast, **settings), attacked(name, FastAttack(), **settings), strict=True
    ):
        assert_close(one, other, rtol=0, atol=0)
    assert told == [{"asked": "graphs", "used": "off", "reason": reason}]


@pytest.mark.parametrize(
    "error", [RuntimeError("operation not permitted when stream is capturing"), None]
)
def test_an_attack_that_no_graph_can_hold_goes_on_without(told, error):
    def capture(work):
        raise error

    name = "at" if error else "trades"  # whose attack holds the answers to clean images
    with pretended_gpu():
        method = METHODS[name](attack_steps=2)
        run = toy_run(method, toy_clip().to("cuda"))
        run.generator = torch.Generator("cuda").manual_seed(0)
        run.fast = FastAttack("graphs", told.append, capture=capture)
        method.gradients(run, [toy_batch().to("cuda")])
    (record,) = told
    assert record["used"] == "off"
    assert ("not permitted" if error else "more than weights and labels") in record["reason"]


def test_no_room_for_a_graph_is_no_reason_to_go_on(told):
    def capture(work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pretended_gpu():
        method = METHODS["at"](attack_steps=2)
        run = toy_run(method, toy_clip().to("cuda"))
        run.generator = torch.Generator("cuda").manual_seed(0)
        run.fast = FastAttack("graphs", told.append, capture=capture)
        with pytest.raises(torch.OutOfMemoryError):  # the trainer halves the batch
            method.gradients(run, [toy_batch().to("cuda")])
    assert not told


@pytest.mark.parametrize(
    "method, reason", [("at", "CUDA graphs need a CUDA device"), ("ft", "ft has no attack")]
)
def test_a_run_says_and_records_what_became_of_the_flag(tmp_path, capsys, method, reason):
    out = train_run(small_config(tmp_path, method, epochs=1, compile="graphs"), quiet=True)
    (record,) = lines(out / "compile.jsonl")
    assert record == {"step": 0, "asked": "graphs", "used": "off", "reason": reason}
    told = f"warning: --compile graphs: going on without: {reason}\n"
    assert capsys.readouterr().err.count(told) == 1


def test_a_run_of_a_method_that_leaves_its_attack_out_says_so(tmp_path, capsys):
    config = small_config(tmp_path, "mix-at", epochs=1, compile="graphs", adv_weight=0.0)
    out = train_run(config, quiet=True)
    (record,) = lines(out / "compile.jsonl")
    assert (record["used"], record["reason"]) == ("off", "the run made no attack")
    told = "warning: --compile graphs: going on without: the run made no attack\n"
    assert told in capsys.readouterr().err
