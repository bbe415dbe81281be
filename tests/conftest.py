"""What every test has at hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from grace_geom.terminal import AREA

os.environ["COLUMNS"] = "100"  # tables are laid out for the terminal, whatever runs the tests
torch.set_num_threads(1)  # tiny models run several times faster so, and two runs give the same bits

TESTS = Path(__file__).resolve().parent
PACKS = TESTS.parents[1] / "shared" / "data"


FIRST = (
    "analysis/test_distributed_analyses.py",
    "app/test_browser.py",
    "app/test_pages.py",
    "study/test_compare.py",
    "analysis/test_weight_analyses.py",
    "analysis/test_feature_analyses.py",
    "analysis/test_unlike_runs.py",
    "test_docs.py",
    "test_readme.py",
)
"""The longest files, each of which one worker has alone: begun first, so that none is left over at
the end, when the other worker has nothing to do any more."""

SLOW = {
    "analysis",
    "app",
    "evaluation",
    "exporting",
    "gpu",
    "pretended_runs",
    "study",
    "tools",
    "training",
    "checkpoint/test_export.py",
    "geometry/test_operators.py",
    "geometry/test_trace.py",
    "methods/test_adversarial.py",
    "methods/test_one_file_one_line.py",
    "methods/test_radii.py",
    "plots/test_compose.py",
    "plots/test_export.py",
    "plots/test_feature_pages.py",
    "plots/test_weight_figures.py",
    "test_benchmark_curvature.py",
    "test_benchmark_features.py",
    "test_imagenet_chain.py",
    "test_packaging.py",
    "test_quick.py",
    "test_readme.py",
    "store/test_shared_command.py",
    "store/test_shared_study.py",
    "test_scale_estimate.py",
}
"""Folders and files whose tests train, evaluate or draw: most of the time, together."""

DISTRIBUTED = {
    "analysis/test_distributed_analyses.py",
    "geometry/test_operators_distributed.py",
    "pretended_gpu/test_groups.py",
    "pretended_runs/test_ranks.py",
    "store/test_shared_study.py",
    "study/test_study_processes.py",
    "test_distributed.py",
}
"""Files whose tests start several processes."""

BROWSER = {"app/test_browser.py"}
"""Files whose tests drive Chromium."""


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist, where it runs, hand out files in the order of the collected tests; by
    itself it begins with those of many tests, and the longest have few.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the file it is in, those that want the image packs by their fixture, and
    nightly ones as slow; put the longest files first, then the other slow ones.
    """
    _mark(items)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    place = str(item.path.relative_to(TESTS))
    if place in FIRST:
        return FIRST.index(place)
    return len(FIRST) + (item.get_closest_marker("slow") is None)


def _mark(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(TESTS)
        names = {str(place), *map(str, place.parents)}
        for mark, places in (("slow", SLOW), ("distributed", DISTRIBUTED), ("browser", BROWSER)):
            if names & places:
                item.add_marker(mark)
        if "packs" in getattr(item, "fixturenames", ()):
            item.add_marker("packs")
        if item.get_closest_marker("nightly"):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def hasty() -> Iterator[None]:
    """No file of a test need survive a power cut: waiting for the disk after each would be a good
    part of the time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn and written, but roughly: for tests to which it counts that they can be.
    Processes that a test forks draw so too.
    """
    monkeypatch.setattr("grace_geom.plots.sheet.TURNS", 2)
    monkeypatch.setattr("grace_geom.plots.export.DPI", 40)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Heads that tests make are not kept in the user's cache, and none is found there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRACE_GEOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def packs() -> Path:
    """The folder of real image packs that may lie beside the checkout; tests that want it are
    skipped without it.
    """
    if not (PACKS / "cifar10_test.npz").is_file():
        pytest.skip(f"the real image packs are not at {PACKS}")
    return PACKS


@pytest.fixture(autouse=True)
def _no_rows_stay(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that fails while rows are drawn takes no other with it."""
    yield
    AREA.leave(0)
