"""Whether a run is being written, has stalled or is finished."""

import pytest

from app.progress import duration, progress, total_steps

ROWS = [{"step": s, "loss": 1 / s, "seconds": 2.0 * s} for s in range(1, 11)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_steps": 7}, 7),
        ({"epochs": 2, "batch_size": 10, "provenance": {"data": {"train": {"images": 55}}}}, 10),
        (
            {
                "epochs": 2,
                "max_steps": 3,
                "batch_size": 10,
                "provenance": {"data": {"train": {"images": 55}}},
            },
            3,
        ),
        ({}, None),
        ({"max_steps": "many"}, None),
        ({"provenance": None}, None),
    ],
)
def test_length_of_a_run(settings, expected):
    assert total_steps(settings) == expected


def test_a_run_is_running_then_stalled_then_finished():
    running = progress(ROWS, {"max_steps": 20}, silent=3)
    assert (running.state, running.step, running.left) == ("running", 10, 20.0)
    assert progress(ROWS, {"max_steps": 20}, silent=1000).state == "stalled"
    assert progress(ROWS, {"max_steps": 10}, silent=1000).state == "finished"
    assert progress([], {"max_steps": 10}, silent=0).state == "no record"
    slow = [{"step": s, "seconds": 300.0 * s} for s in range(1, 5)]
    assert (
        progress(slow, {"max_steps": 10}, silent=1000).state == "running"
    )  # its records are five minutes apart


def test_durations():
    assert [duration(s) for s in (None, 5, 65, 7260, 200_000)] == [
        "",
        "5 s",
        "1 min 5 s",
        "2 h 1 min",
        "2 days",
    ]
