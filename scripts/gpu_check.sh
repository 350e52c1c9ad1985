#!/usr/bin/env bash
# What a machine with a CUDA GPU must show, in under ten minutes and without a network:
#   scripts/gpu_check.sh [STAGE ...]     stages, all of them by default:
#     build      the module with CUDA for this GPU, warnings as errors, with the torch and python3 that are installed
#     test       every test but the slow ones, those on the GPU included
#     sanitize   compute-sanitizer memcheck and racecheck over the op tests, torch's caching allocator off
#     bench      the benchmarks on the GPU; JSON in $OUT or benchmarks/results/
#     train      time to quality on the GPU (needs the data set gowalla: FASTGCN_REC_DATA)
# Environment: PYTHON (python3), OUT (benchmarks/results), CUDA_ARCH (native), FASTGCN_REC_DATA (without it made-up data, and no train).
# A failing stage does not stop the others, except build; the script then fails at the end. Says what was skipped or cut short.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-benchmarks/results}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
data=$([ -d "${FASTGCN_REC_DATA:-/nowhere}/gowalla" ] && echo gowalla || echo synthetic:1000000)
BUILD=build/gpu

build() {
  command -v nvcc > /dev/null || { echo "no nvcc on PATH"; return 1; }
  cmake -S . -B $BUILD -G Ninja -DFGR_CUDA=ON -DFGR_WERROR=ON -DFGR_CUDA_ARCHITECTURES="${CUDA_ARCH:-native}" \
    -DFGR_VERSION=gpu-check -DPython_EXECUTABLE="$(command -v "$PYTHON")" \
    -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)" > /dev/null
  cmake --build $BUILD
  cmake --install $BUILD --prefix fastgcn_rec > /dev/null
  "$PYTHON" -m fastgcn_rec doctor
  "$PYTHON" -c 'from fastgcn_rec.core import native; import torch; assert native.HAS_CUDA and torch.cuda.is_available(), "no GPU in use"'
}

tests() {
  local group code=0
  log=$(mktemp -d)
  trap 'rm -r "$log"' EXIT
  for group in 0 1 2 3; do  # side by side, or they would take most of the ten minutes
    timeout 240 "$PYTHON" -m pytest -q --maxfail=20 -p no:cacheprovider \
      $(ls tests/*/test_*.py | awk "NR % 4 == $group") > "$log/$group" 2>&1 &
  done
  for group in $(jobs -p); do wait "$group" || code=$?; done
  cat "$log"/*
  return $code
}

sanitize() {
  command -v compute-sanitizer > /dev/null || { echo "skipped: no compute-sanitizer on PATH"; return 0; }
  local tool code failed=0
  log=$(mktemp)
  trap 'rm "$log"' EXIT
  for tool in memcheck racecheck; do
    code=0
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 HYPOTHESIS_PROFILE=few timeout 110 compute-sanitizer --tool $tool --error-exitcode 1 \
      --target-processes all "$PYTHON" -m pytest -q -x -p no:cacheprovider -k "cuda and not compile and not opcheck and not gradcheck" \
      tests/negatives $(printf 'tests/ops/test_%s.py ' propagate half_hop dense losses train_step sample adam_step topk random_walk ppr neighbor_pool retrieve) \
      > "$log" 2>&1 || code=$?
    cat "$log"
    if [ $code = 124 ] && ! grep -qE '^=+ (Invalid|Error|ERROR|Race|Program hit)' "$log"; then
      echo "cut short: $tool had reported nothing after its 110 s"
    elif [ $code != 0 ]; then
      failed=$code
    fi
  done
  return $failed
}

# A file for results, named after the date and the GPU.
result() {
  mkdir -p "$OUT"
  echo "$OUT/$(date +%F)-$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))')$1.json"
}

bench() {
  "$PYTHON" -W ignore -m benchmarks propagate step loss sampler adam topk ppr walks --quick --device cuda \
    --data "$data" --json "$(result "")"
}

train() {
  [ "$data" = gowalla ] || { echo "skipped: no gowalla in FASTGCN_REC_DATA=${FASTGCN_REC_DATA:-}"; return 0; }
  "$PYTHON" -W ignore -m benchmarks train --device cuda --json "$(result -train)"
}

for stage in "${@:-all}"; do
  case $stage in
    all) set -- build test sanitize bench train ;;
    build | test | sanitize | bench | train) ;;
    *) echo "gpu_check.sh: no stage '$stage'; there are build, test, sanitize, bench, train" >&2; exit 2 ;;
  esac
done
failed=()
for stage in "$@"; do
  echo "== $stage ($(date +%T))"
  set +e  # and on again within: behind || or if it would stay off
  (set -e; case $stage in test) tests ;; *) "$stage" ;; esac)
  code=$?
  set -e
  [ $code = 0 ] || { failed+=("$stage ($code)"); echo "== $stage failed with code $code"; }
  if [ "$stage" = build ] && [ $code != 0 ]; then break; fi
done
echo "== done ($(date +%T)), failed: ${failed[*]:-none}"
[ ${#failed[@]} = 0 ]
