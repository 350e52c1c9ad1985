#!/usr/bin/env bash
# What a machine with a CUDA GPU must show, before a deadline and without a network:
#   scripts/gpu_check.sh [STAGE ...]     stages, all of them and in this order by default:
#     probe      the GPU, the versions of what is used, and what is missing
#     build      the module with CUDA and gpu_main: those in $PREBUILT where they load, else built here, beside `check` if that can run
#     check      gpu_main check: every kernel against the CPU's, without Python
#     smoke      every recipe once through the package on the GPU
#     time       gpu_main time: every kernel beside its ceilings; JSON
#     bench      the benchmarks on the GPU beside others; JSON
#     train      time to quality on the GPU (needs the data set gowalla); JSON
#     test       every test on the GPU but the slow ones
#     ncu        what Nsight Compute counts in the kernels that decide
#     sanitize   compute-sanitizer memcheck, racecheck, initcheck and synccheck over gpu_main check --small
# Environment: PYTHON (python3); OUT (build/gpu_check), where gpu_check.log and the JSON go; DEADLINE (360), seconds for all stages; PREBUILT (.gpu), a
# folder with any of _C*.so, gpu_main, gowalla; CUDA_ARCH (90-real); FASTGCN_REC_DATA ($PREBUILT; made-up data where it has no gowalla).
# A stage gets its own limit or what is left of the deadline, then it is killed with its children. One that fails does not stop the others, except that
# nothing runs on a module that was not built. A table comes last; the code is 0 if no stage failed, was cut short or found no time.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."
export PYTHON=${PYTHON:-python3} OUT=${OUT:-build/gpu_check} BUILD=$PWD/build/gpu PREBUILT
PREBUILT=$(realpath -m "${PREBUILT:-.gpu}")
export FASTGCN_REC_DATA=${FASTGCN_REC_DATA:-$PREBUILT}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
if [ "${1:-}" != --stage ]; then
  scripts=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))' 2> /dev/null) || true
  for folder in /usr/local/cuda/bin /usr/local/cuda/compute-sanitizer /opt/nvidia/nsight-compute/*/ "$scripts"; do
    if [ -d "$folder" ]; then PATH=$PATH:$folder; fi
  done
fi
SKIPPED=77
declare -A LIMIT=([probe]=15 [build]=150 [check]=45 [smoke]=45 [time]=60 [bench]=85 [train]=60 [test]=80 [ncu]=45 [sanitize]=70)
ALL=(probe build check smoke time bench train test ncu sanitize)

has() { command -v "$1" > /dev/null; }
skip() { echo "skipped: $*"; exit $SKIPPED; }
within() { local s=$((SECONDS_LEFT - $1)); echo $((s > 1 ? s : 1)); }  # seconds for a part that is to end that much before the stage
has_gowalla() { [ -f "$FASTGCN_REC_DATA/gowalla/train.txt" ]; }

# The program to run; what was built beforehand comes first.
gpu_main() {
  local file
  for file in "$PREBUILT/gpu_main" "$BUILD/gpu_main"; do
    if [ -x "$file" ] && ! ldd "$file" 2>&1 | grep -q "not found"; then echo "$file"; return; fi
  done
  return 1
}

# What a stage is, in a process of its own with $SECONDS_LEFT to run; what it writes goes to $LOG.
stage_probe() {
  local missing=() tool
  if has nvidia-smi; then
    nvidia-smi --format=csv --query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.limit,ecc.mode.current || missing+=("a GPU")
  fi
  echo "$(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg), $(awk '/MemAvailable/ { printf "%d", $2 / 1048576 }' /proc/meminfo) GiB free, $(uname -r), $(ldd --version | head -n 1)"
  for tool in nvidia-smi nvcc g++ cmake ninja "$PYTHON" compute-sanitizer ncu cuobjdump; do
    if has "$tool"; then echo "$tool: $(command -v "$tool"), $("$tool" --version 2>&1 | grep -m 1 -E '[0-9]+\.[0-9]+' || true)"; else missing+=("$tool"); fi
  done
  if ! "$PYTHON" - << 'EOP'; then missing+=("what Python needs"); fi
import importlib.metadata, pathlib, sys, sysconfig

names = "torch numpy scipy tqdm pybind11 cupy-cuda13x torch-geometric triton pytest hypothesis scikit-learn pandas matplotlib pyarrow tensorboard faiss-cpu implicit jax".split()
versions = {}
for name in names:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = None
print(sys.version.replace("\n", " "))
print(", ".join(f"{name} {version}" for name, version in versions.items() if version))
missing = [name for name, version in versions.items() if not version]
if not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
    missing.append("Python.h")
print("missing in Python:", ", ".join(missing) or "nothing")
sys.exit(any(name in missing for name in ("torch", "numpy", "scipy", "tqdm", "pytest", "hypothesis")))
EOP
  echo "built beforehand: $(cd "$PREBUILT" 2> /dev/null && echo * || echo nothing)"
  echo "missing: ${missing[*]:-nothing}"
  [[ " ${missing[*]} " != *" a GPU "* && " ${missing[*]} " != *" nvidia-smi "* && " ${missing[*]} " != *" what Python needs "* ]]
}

loads() {
  "$PYTHON" -c '
import torch
from fastgcn_rec.core import native
from fastgcn_rec.experiments.doctor import examine

lines, right = examine()
print(*lines, sep="\n")
assert right and native.HAS_CUDA and torch.cuda.is_available(), "no GPU in use"'
}

stage_build() {
  local targets=() file
  if ls "$PREBUILT"/_C*.so > /dev/null 2>&1; then
    cp "$PREBUILT"/_C*.so fastgcn_rec/
    if loads; then echo "the module was built beforehand"; else
      echo "what was built beforehand does not load: it is built here"
      for file in "$PREBUILT"/_C*.so; do rm -f "fastgcn_rec/$(basename "$file")"; done
      targets+=(_C)
    fi
  else
    targets+=(_C)
  fi
  gpu_main > /dev/null || targets+=(gpu_main)
  if [ ${#targets[@]} = 0 ]; then return; fi
  has nvcc || { echo "error: no nvcc on PATH"; return 1; }
  cmake -S . -B "$BUILD" -G Ninja -DFGR_CUDA=ON -DFGR_TESTS=ON -DFGR_WERROR=OFF -DFGR_CUDA_ARCHITECTURES="${CUDA_ARCH:-90-real}" \
    -DFGR_VERSION=gpu-check -DPython_EXECUTABLE="$(command -v "$PYTHON")" \
    -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)" > /dev/null
  cmake --build "$BUILD" -j "$(nproc)" --target "${targets[@]}"
  if [[ " ${targets[*]} " == *" _C "* ]]; then
    cmake --install "$BUILD" --prefix fastgcn_rec > /dev/null
    loads
  fi
}

# gpu_main ARGUMENTS, lines as they come.
with_gpu_main() {
  local program
  program=$(gpu_main) || { echo "error: no gpu_main in $PREBUILT or $BUILD"; return 1; }
  stdbuf -oL "$program" "$@"
}

stage_check() { with_gpu_main check --verbose; }

stage_time() {
  if has_gowalla; then set -- --data "$FASTGCN_REC_DATA/gowalla/train.txt"; fi
  with_gpu_main time "$@" --json "$OUT/time.json" --seconds "$(within 5)"
}

# A file for results, named after the date and the GPU.
result() {
  local gpu
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -n 1 | tr 'A-Z ' 'a-z-') || true
  echo "$OUT/$(date +%F)-${gpu:-gpu}$1.json"
}

stage_bench() {
  "$PYTHON" -W ignore -m benchmarks propagate step topk loss adam call ngcf --quick --device cuda \
    --data "$(if has_gowalla; then echo gowalla; else echo synthetic:1000000; fi)" --json "$(result "")"
}

stage_train() {
  has_gowalla || skip "no gowalla in FASTGCN_REC_DATA=$FASTGCN_REC_DATA"
  "$PYTHON" -W ignore -m benchmarks train --device cuda --json "$(result -train)"
}

# pytest OPTIONS, interrupted in time to say what failed. A background job would ignore the interrupt.
pytest() {
  PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 OMP_NUM_THREADS=4 TORCHINDUCTOR_COMPILE_THREADS=1 env --default-signal=INT timeout -s INT -k 2 "$(within 4)" \
    "$PYTHON" -m pytest -q --tb=short -W default -p no:cacheprovider -k cuda "$@"
}

stage_smoke() { pytest $SMOKE; }
SMOKE=tests/experiments/test_device.py

stage_test() {
  local group code failed=0 pids=() files
  files=$(grep -lE '\bdevice\b|cuda' tests/*/test_*.py | grep -v $SMOKE)
  for group in 0 1 2 3; do
    (set +e; pytest --maxfail=20 $(awk "NR % 4 == $group" <<< "$files") 2>&1 | sed -u "s/^/$group: /") & pids+=($!)
  done
  for group in "${!pids[@]}"; do
    code=0
    wait "${pids[$group]}" || code=$?
    if [ $code = 124 ]; then echo "error: group $group was cut short"; fi
    if [ $code != 0 ] && [ $code != 5 ]; then failed=$code; fi  # 5: nothing to run
  done
  return $failed
}

# What gpu_main is to time|the kernels to count in|how many launches of theirs.
COUNTED=("hop float32|hop|1" "hop bfloat16|hop|1" "retrieve, all users|retrieve_halves|1" "softmax_loss B=2048 d=64 float32|split_|3")
stage_ncu() {
  has ncu || skip "no ncu on PATH"
  local case only kernels launches failed=0 data=()
  if has_gowalla; then data=(--data "$FASTGCN_REC_DATA/gowalla/train.txt"); fi
  for case in "${COUNTED[@]}"; do
    IFS="|" read -r only kernels launches <<< "$case"
    echo "-- $only"
    timeout -k 2 20 ncu --clock-control none --check-exit-code no --kernel-name "regex:$kernels" -c "$launches" --page details --print-details all \
      --section SpeedOfLight --section MemoryWorkloadAnalysis --section MemoryWorkloadAnalysis_Tables --section SchedulerStats \
      --section WarpStateStats --section InstructionStats --section Occupancy --section LaunchStats \
      "$(gpu_main)" time --only "$only" --seconds 4 "${data[@]}" 2>&1 \
      | awk '{ print; fflush() } /==PROF== Profiling/ { found = 1 } END { exit !found }' || { echo "error: nothing was counted in $only"; failed=1; }
  done
  return $failed
}

FINDINGS='Invalid|Uninitialized|Barrier|Program hit|Race reported|Error:|SUMMARY: [1-9]'
stage_sanitize() {
  has compute-sanitizer || skip "no compute-sanitizer on PATH"
  local tool part code failed=0 program pids=()
  local tools=(memcheck initcheck synccheck)
  # racecheck is slow: a process for each op whose threads share memory.
  for part in propagate half_hop dense outer_sum pair_loss softmax_loss scatter adam retrieve topk random_walk ppr train_step build; do
    tools+=("racecheck $part")
  done
  program=$(gpu_main) || { echo "error: no gpu_main in $PREBUILT or $BUILD"; return 1; }
  for tool in "${tools[@]}"; do
    part=()
    if [ "$tool" = initcheck ]; then part=(--unpoisoned); elif [[ $tool == racecheck* ]]; then part=(--only "${tool#* }"); fi
    (set +e; timeout -k 2 "$(within 4)" compute-sanitizer --tool "${tool% *}" --error-exitcode 9 "$program" check --small "${part[@]}" 2>&1 \
      | sed -u "s/^/$tool: /") & pids+=($!)
  done
  for tool in "${!tools[@]}"; do
    code=0
    wait "${pids[$tool]}" || code=$?
    case $code in
      0) ;;
      124 | 137)
        if grep -E "^${tools[$tool]}: =+ " "$LOG" | grep -qE "$FINDINGS"; then failed=9; fi
        echo "cut short: ${tools[$tool]} had not ended after $(within 4) s; what it reported stands above"
        ;;
      *) failed=$code ;;
    esac
  done
  return $failed
}

if [ "${1:-}" = --stage ]; then
  "stage_$2"
  exit
fi

# From here on: the stages one by one.
for stage in "$@"; do
  [ -n "${LIMIT[$stage]:-}" ] || { echo "gpu_check.sh: no stage '$stage'; there are ${ALL[*]}" >&2; exit 2; }
done
[ $# -gt 0 ] || set -- "${ALL[@]}"
mkdir -p "$OUT"
OUT=$(realpath "$OUT")
logs=$(mktemp -d)
milliseconds() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }
last=$(($(milliseconds) + 1000 * ${DEADLINE:-360}))
declare -A pid begun ends shown result seconds

say() { echo "$@" | tee -a "$OUT/gpu_check.log"; }

# All that a stage has left; whoever has that session started in it.
end_session() {
  local found
  for _ in 1 2 3 4 5; do
    found=$(cat /proc/[0-9]*/stat 2> /dev/null | sed 's/^\([0-9]*\) (.*) /\1 /' | awk -v session="$1" '$5 == session && $2 != "Z" { print $1 }') || true
    [ -n "$found" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $found 2> /dev/null || true
    sleep 0.1
  done
}
trap 'for stage in "${!pid[@]}"; do end_session "${pid[$stage]}"; done; rm -rf "$logs"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What a stage has written since the last time.
show() {
  local size
  size=$(stat -c %s "$logs/$1")
  [ "$size" -gt "${shown[$1]}" ] || return 0
  tail -c +$((shown[$1] + 1)) "$logs/$1" | head -c $((size - shown[$1])) | tee -a "$OUT/gpu_check.log" || true
  shown[$1]=$size
}

start() {
  local now left
  now=$(milliseconds)
  left=$(((last - now) / 1000))
  if [ $left -lt 1 ]; then result[$1]="not run: no time left" seconds[$1]=0; return 1; fi
  if [ $left -gt "${LIMIT[$1]}" ]; then left=${LIMIT[$1]}; fi
  say "== $1 ($(date +%T), at most $left s)"
  begun[$1]=$now ends[$1]=$((now + 1000 * left)) shown[$1]=0
  : > "$logs/$1"
  SECONDS_LEFT=$left LOG=$logs/$1 setsid env --default-signal=INT "$BASH" "$self" --stage "$1" < /dev/null >> "$logs/$1" 2>&1 &
  pid[$1]=$!
}

finish() {
  local code=0 cut=
  while kill -0 "${pid[$1]}" 2> /dev/null; do
    show "$1"
    if [ "$(milliseconds)" -ge "${ends[$1]}" ]; then cut=1; break; fi
    sleep 0.1
  done
  end_session "${pid[$1]}"
  seconds[$1]=$((($(milliseconds) - begun[$1] + 500) / 1000))
  show "$1"
  if [ -n "$cut" ]; then result[$1]="cut short"; else
    wait "${pid[$1]}" || code=$?
    case $code in 0) result[$1]=ok ;; "$SKIPPED") result[$1]=skipped ;; *) result[$1]="failed ($code)" ;; esac
  fi
  unset "pid[$1]"
  say "== $1: ${result[$1]}, ${seconds[$1]} s"
}

building=
wait_for_build() {
  if [ -n "$building" ]; then building=; finish build; fi
}
for stage in "$@"; do
  if [ "$stage" = build ]; then
    if start build; then building=1; fi
    continue
  fi
  [[ $stage == check && "$(gpu_main)" == "$PREBUILT"/* ]] || wait_for_build
  case ${result[build]:-ok}:$stage in
    ok:* | *:probe | *:check | *:time | *:ncu | *:sanitize) ;;
    *) result[$stage]="not run: no module" seconds[$stage]=0; continue ;;
  esac
  if start "$stage"; then finish "$stage"; fi
done
wait_for_build

# The line that says what went wrong first.
first_error() {
  grep -m 1 -E '(^|[^a-z_])([Ee]rror|ERROR|[A-Za-z]+Error|FAIL|FAILED|FAILURES|Invalid|Killed|missing|[Ss]egmentation|[Cc]annot|[Uu]nknown)' <(grep -vE '[^0-9]0 (error|hazard|fail)' "$logs/$1") | cut -c 1-150 || true
}
failed=()
say "== $(date +%T)"
say "$(printf '%-10s %7s  %-22s %s' stage seconds result "first error")"
for stage in "$@"; do
  note=
  case ${result[$stage]} in
    ok) ;;
    skipped) note=$(tail -n 1 "$logs/$stage") ;;
    "not run"*) failed+=("$stage") ;;
    failed* | "cut short") note=$(first_error "$stage"); failed+=("$stage") ;;
  esac
  if [ "$stage" = probe ] && [ -f "$logs/probe" ]; then note=$(tail -n 1 "$logs/probe"); fi
  say "$(printf '%-10s %7s  %-22s %s' "$stage" "${seconds[$stage]}" "${result[$stage]}" "$note")"
done
say "== done, failed: ${failed[*]:-none}"
[ ${#failed[@]} = 0 ]
