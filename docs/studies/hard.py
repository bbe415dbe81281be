"""Natural adversarial sets as ImageNet-A has them: the OOD images that a zero-shot model gets
wrong.

    python docs/studies/hard.py runs/zero-shot/zero-shot-s0/eval.json 32 hard.npz

reads the record of an evaluation with ``--suites ood`` of whole sets, and writes their images that
were answered wrongly, at 32 x 32 pixels as the model sees them. The model that made the record has
0 % there by construction. Used by docs/grace-plus.md.
"""

import json
import sys
from pathlib import Path

import numpy as np

from grace_geom.data import resolve
from grace_geom.data.transforms import as_rgb, eval_view
from grace_geom.records.accuracy import outcomes_of

record, side = sys.argv[1], int(sys.argv[2])
target = Path(sys.argv[3]).with_suffix(".npz")
images, labels, classes = [], [], None
with open(record) as file:
    known = json.load(file)["accuracies"]
for found in known:
    data = resolve(found["spec"], "eval")
    right = outcomes_of(found["outcomes"], found["n"])
    if found["suite"] != "ood" or len(data) != found["n"]:
        raise SystemExit(f"{record}: not an evaluation of whole OOD sets ({found['data']})")
    if classes is not None and classes != list(data.class_names):
        raise SystemExit(f"{record}: {found['data']} has other classes than the set before")
    classes = list(data.class_names)
    for i in np.flatnonzero(~right):
        images.append(eval_view(as_rgb(data.fetch(int(i))), side))
        labels.append(data.labels[i])
np.savez(target, images=np.stack(images), labels=np.array(labels))
target.with_suffix(".classes.json").write_text(json.dumps({"class_names": classes}))
print(f"{target}: {len(labels)} images, {len(classes)} classes")
