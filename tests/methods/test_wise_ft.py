import torch
from torch.testing import assert_close

from grace_geom.methods.ft import Ft
from grace_geom.methods.wise_ft import WiseFt
from tests.methods.ends import left_by, same_bits
from tests.toys import toy_clip


def test_ends_are_the_base_and_ft_bit_for_bit_head_included():
    tuned, base = left_by(Ft(lr=1e-2)), toy_clip().weights()
    assert {"head.weight", "head.bias"} <= tuned.keys()
    assert same_bits(left_by(WiseFt(lr=1e-2, wise_alpha=1.0)), tuned)
    assert same_bits(left_by(WiseFt(lr=1e-2, wise_alpha=0.0)), {name: base[name] for name in tuned})
    assert not torch.equal(tuned["head.weight"], base["head.weight"])


def test_between_the_ends_it_is_the_weighted_mean():
    tuned, base, some = (
        left_by(Ft(lr=1e-2)),
        toy_clip().weights(),
        left_by(WiseFt(lr=1e-2, wise_alpha=0.3)),
    )
    for name, w in some.items():
        assert_close(w, 0.7 * base[name] + 0.3 * tuned[name])
