#!/usr/bin/env bash
# All that only a GPU can show, for one that is lent for 15 minutes: bash benchmarks/borrowed_gpu.sh [folder for what is
# printed]. From the repository's folder; python3 has torch with CUDA, transformers, jaxtyping, scikit-learn, pandas,
# pyarrow, pytest and hypothesis. No part of it needs the network, dvc, ruamel.yaml, sae-lens or sae-bench. The limits
# keep it below ten minutes; what comes first matters most.
set -uo pipefail
out=${1:-.}
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE
python3 -c 'import torch, transformers as t; print(torch.cuda.get_device_name(), torch.__version__, t.__version__)' || exit
# Whether everything runs, on tiny models.
timeout 90 python3 -m benchmarks.gpu --small | tee "$out/gpu_small.md"
# Whether the numbers are those of the CPU. -W: other versions of libraries may warn of other things.
timeout 180 python3 -m pytest -q -m gpu -p no:cacheprovider -W default --maxfail 20 \
  $(grep -rl --include='test_*.py' 'mark\.gpu' tests) 2>&1 | tee "$out/gpu_tests.txt"
# How fast it is: core and sparse probing first, then the other evals, those of the larger model first.
timeout 160 python3 -m benchmarks.gpu --parts core sparse_probing --limit 130 | tee "$out/gpu_main.md"
timeout 140 python3 -m benchmarks.gpu --shapes gemma-2-2b-shaped pythia-70m-shaped --tf32 on --limit 110 \
  --parts scr tpp absorption ravel unlearning dashboards sensitivity autointerp | tee "$out/gpu_rest.md"
