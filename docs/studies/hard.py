"""Natural adversarial sets as ImageNet-A has them: the OOD images that a zero-shot model gets
wrong.

    python docs/studies/hard.py runs/zero-shot/zero-shot-s0/eval.json 32 hard.npz

reads the record of an evaluation with ``--suites ood`` of whole sets, and writes their images that
were answered wrongly, at 32 x 32 pixels as the model sees them.
"""

import json
import sys

import numpy as np

from grace_geom.data import resolve
from grace_geom.data.transforms import as_rgb, eval_view
from grace_geom.records.accuracy import outcomes_of

record, side, target = sys.argv[1:]
images, labels = [], []
with open(record) as file:
    known = json.load(file)["accuracies"]
for found in known:
    data = resolve(found["spec"], "eval")
    right = outcomes_of(found["outcomes"], found["n"])
    assert found["suite"] == "ood" and len(data) == found["n"]
    for i in np.flatnonzero(~right):
        images.append(eval_view(as_rgb(data.fetch(int(i))), int(side)))
        labels.append(data.labels[i])
    classes = list(data.class_names)
np.savez(target, images=np.stack(images), labels=np.array(labels))
with open(target.replace(".npz", ".classes.json"), "w") as file:
    json.dump({"class_names": classes}, file)
print(f"{target}: {len(labels)} images, {len(classes)} classes")
