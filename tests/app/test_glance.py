"""The facts of a run beside its figure."""

import yaml

from app import glance, store
from grace_geom.records import RunNotes

PLAIN = {"batch_size": 8, "eps": 4 / 255, "alpha": 1 / 255, "attack_steps": 1, "schedule": "cosine"}


def test_what_is_on_record_is_told_and_the_rest_left_out(runs):
    folder = runs / "demo/grace-s0"
    known = yaml.safe_load((folder / "config.yaml").read_text())
    odd = known | PLAIN | {"provenance": {"packages": 3}, "max_steps": 200}
    (folder / "config.yaml").write_text(yaml.safe_dump(odd))
    RunNotes(("final",), "a <b>note</b>").save(folder)
    entry = store.entries(runs)["demo/grace-s0"]
    assert dict(glance.training(entry)) == {
        "Trained": "100 of 200 steps of 8 images in 10 s",
        "Learning rate": "0.001, cosine",
        "Attack": "ε = 4/255, 1 step of 1/255",
        "Tags": "final",
        "Note": "a &lt;b&gt;note&lt;/b&gt;",
    }
    alone = dict(glance.accuracies(entry, None))
    assert alone["Adv"] == "50.0 % [46.0, 54.0]" and list(alone)[:2] == ["HM", "ID"]
