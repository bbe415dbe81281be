"""What a training says about itself."""

from grace_geom.training.sentences import held_out


def test_held_out_accuracy_comes_with_its_number_of_images():
    clean = {"step": 10, "val_acc": 0.7134, "val_n": 500}
    assert held_out(clean) == "held-out accuracy 71.3 % (n = 500)"
    attacked = clean | {"val_acc_pgd": 0.12, "val_pgd_n": 200}
    assert held_out(attacked).endswith("% (n = 500), under PGD 12.0 % (n = 200)")
