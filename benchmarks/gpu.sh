#!/usr/bin/env bash
# Measure what only a GPU can tell, in under nine minutes, into one JSON: bash benchmarks/gpu.sh OUT.json [FLAGS]
#
# Needs one NVIDIA GPU of 80 GB or more (H100, H200) and Python 3.11 or newer with torch 2.9 or newer
# and its torchvision; written for 2.11, and run on no card yet. No network: weights are random or
# shipped. Besides torch and numpy it imports open_clip_torch, timm, ftfy, wcwidth, regex, jaxtyping,
# wadler_lindig, jsonargparse, docstring_parser, typeshed_client, PyYAML, safetensors, scipy, pillow
# and huggingface_hub with what that needs. For a machine without network, on one of the same kind:
#     pip download -d wheels open_clip_torch ftfy jaxtyping 'jsonargparse[signatures]' pyyaml scipy
#     rm wheels/torch-* wheels/nvidia* wheels/triton*
# and there:
#     pip install --no-index --no-deps wheels/*.whl
# transformers and peft (for the peer of the GRACE step) and pytest (for the tests marked gpu) are
# used where they are installed; the JSON says where they are not.
# FLAGS: --parts a,b,c; --minutes 8.8; --peak 989 (dense bf16 TFLOP/s); --dry-run (tiny sizes, on the CPU).
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
out="${1:-gpu.json}"
[ $# -gt 0 ] && shift
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" "$here/benchmarks/gpu.py" --out "$out" "$@"
