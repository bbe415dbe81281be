"""The zero-shot head is made where the model lives, once a job, and kept by its content."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from grace_geom import distributed
from grace_geom.devices import tf32
from grace_geom.models import ClipClassifier, ModelSpec, build, head_cache, text_head, tokenizer_of
from grace_geom.models import head as head_module
from grace_geom.world import World
from tests.pretended_gpu import pretended_gpu
from tests.toys import CLASSES, register_toy

MANY = tuple(f"photo {i} of a {{}}" for i in range(100))
"""With three classes, 300 prompts: more than a head that is not kept has."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path))
    return tmp_path / "heads"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """How many prompts went through a text tower at once, and where."""
    real, found = head_module.encode_text, []

    def encode(clip, tokens: Tensor, weights=None) -> Tensor:
        found.append((len(tokens), tokens.device.type))
        return real(clip, tokens, weights)

    for module in (head_module, head_cache):
        monkeypatch.setattr(module, "encode_text", encode)
    return found


def made(seed: int = 0, templates: tuple[str, ...] = MANY, **where) -> ClipClassifier:
    return build(ModelSpec(register_toy(), "random", seed), CLASSES, templates, **where)


def test_a_kept_head_is_the_one_that_would_be_made_bit_for_bit(
    encoded: list[tuple[int, str]], cache: Path
) -> None:
    first = made()
    assert encoded == [(1, "cpu"), (300, "cpu")] and len(list(cache.iterdir())) == 1
    again = made()
    assert encoded[2:] == [(1, "cpu")], "the first prompt alone: it is part of the name"
    plain = text_head(first.clip, tokenizer_of(register_toy()), CLASSES, MANY)
    assert torch.equal(again.head["head.weight"], first.head["head.weight"])
    assert torch.equal(again.head["head.weight"], first.logit_scale * plain)


def test_other_weights_prompts_or_classes_have_a_head_of_their_own(cache: Path) -> None:
    heads = [made(), made(seed=1), made(templates=(*MANY[:-1], "a {}"))]
    heads.append(heads[0].with_head([*CLASSES[:-1], "dot"], MANY))
    read = tokenizer_of(register_toy())
    first, last = (set(read([t.format(CLASSES[0])])[0].tolist()) for t in (MANY[0], MANY[-1]))
    changed = made()
    with torch.no_grad():  # of a word that is not in the first prompt
        changed.clip.token_embedding.weight[min(last - first)] += 1
    heads.append(changed.with_head(CLASSES, MANY))
    assert len(list(cache.iterdir())) == 5
    weights = [m.head["head.weight"] for m in heads]
    assert all(not torch.equal(weights[0], w) for w in weights[1:])


@pytest.mark.parametrize("damage", ["cut", "turned"])
def test_a_damaged_head_is_said_and_made_anew(
    damage: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = made().head["head.weight"]
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content[: 40 if damage == "cut" else None])
    assert torch.equal(made().head["head.weight"], right)
    assert f"{file} is damaged: its head is made anew" in capsys.readouterr().err
    made()
    assert "damaged" not in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_costs_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRACE_GEOM_CACHE", str(tmp_path / "file"))
    head_cache._tell.cache_clear()
    assert made().head["head.weight"].shape == (3, 16)
    assert "the zero-shot head is not kept for the next run" in capsys.readouterr().err


def test_few_prompts_are_not_kept(cache: Path, encoded: list[tuple[int, str]]) -> None:
    made(templates=("a {}",))
    assert encoded == [(3, "cpu")] and not cache.exists()


def test_prompts_are_encoded_on_the_gpu_where_the_model_lives(
    encoded: list[tuple[int, str]],
) -> None:
    with pretended_gpu() as seen:
        model = made(device="cuda")
        assert {device for _, device in encoded} == {"cuda"} and not seen.mixed
        assert {w.device.type for w in model.weights().values()} == {"cuda"}
        assert model.mean.is_cuda
        encoded.clear()
        made(device="cuda")
        assert encoded == [(1, "cuda")]


def test_one_process_of_a_job_encodes_and_sends_the_head(
    encoded: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Tensor]] = []

    def of_first(value):
        if distributed.world().rank == 0:
            sent.append(value)
        return sent[0]

    monkeypatch.setattr(distributed, "of_first", of_first)
    found = []
    for rank in range(2):
        here = World(rank, 2, rank)
        monkeypatch.setattr(distributed, "world", lambda here=here: here)
        monkeypatch.setattr(distributed, "first", lambda here=here: here.rank == 0)
        found.append(made(templates=("a {}", "the {}"), together=True))
    assert encoded == [(6, "cpu")] and len(sent) == 1
    assert all(torch.equal(found[1].head[name], w) for name, w in found[0].head.items())
    monkeypatch.setattr(distributed, "of_first", lambda value: pytest.fail("nobody else is here"))
    made(templates=("a {}", "the {}"))


def test_what_another_number_of_threads_or_tf32_may_round_otherwise_is_kept_apart(cache: Path):
    """On the CPU runs are the same bit for bit with the same number of threads."""
    made()
    usual = torch.get_num_threads()
    torch.set_num_threads(usual + 1)
    try:
        made()
    finally:
        torch.set_num_threads(usual)
    assert len(list(cache.iterdir())) == 2
    with tf32(True):
        made()
    assert len(list(cache.iterdir())) == 2, "the CPU has no TF32"
    with pretended_gpu():
        for allowed in (False, True):
            with tf32(allowed):
                made(device="cuda")
    assert len(list(cache.iterdir())) == 4
