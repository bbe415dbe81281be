"""The tests for a real card run on the pretended one, as far as they need no driver: else a fault
of theirs would be found on the card.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT


def test_without_a_card_they_are_skipped_and_say_why():
    words = [
        "-m",
        "pytest",
        "-rs",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        "tests/gpu/test_options.py",
    ]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode in (0, 5), done.stdout
    assert "passed" not in done.stdout and re.search(r"SKIPPED .*GPU", done.stdout), done.stdout


@pytest.mark.nightly
def test_the_tests_marked_gpu_run_on_the_pretended_one():
    words = ["-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PRETEND_GPU": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    passed, skipped = (
        int(re.findall(rf"(\d+) {word}", done.stdout)[-1]) for word in ("passed", "skipped")
    )
    assert passed > 60 and skipped < passed / 3
