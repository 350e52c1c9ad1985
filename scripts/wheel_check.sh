#!/usr/bin/env bash
# Whether a wheel works where nothing can be compiled: scripts/wheel_check.sh WHEEL [PYTHON].
#
# It is installed into an environment of its own (build/wheel-check), with the torch of constraints.txt; there, without a compiler on PATH, its command
# trains and recommends, and the tests run that a build or a package could break.
set -euo pipefail
cd "$(dirname "$0")/.."
WHEEL=$(realpath "$1") PYTHON=${2:-python3}
ENVIRONMENT=${ENVIRONMENT:-build/wheel-check}
[[ -x $ENVIRONMENT/bin/python ]] || "$PYTHON" -m venv "$ENVIRONMENT"
ENVIRONMENT=$(realpath "$ENVIRONMENT")
python=$ENVIRONMENT/bin/python
"$python" -m pip --disable-pip-version-check install --quiet -c constraints.txt "torch==2.13.0" "$WHEEL[test]"
"$python" -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall "$WHEEL"

# The programs of PATH but those that compile and link.
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/run"
IFS=: read -ra folders <<< "$PATH"
for folder in "${folders[@]}"; do
  for program in "$folder"/*; do
    case ${program##*/} in
      cc | c++ | cpp | *gcc* | *g++* | *clang* | nvcc | ld | ld.* | as | cmake | ninja | make | python* | pip*) ;;
      *) [[ -e $work/bin/${program##*/} ]] || ln -s "$program" "$work/bin/" ;;
    esac
  done
done
export PATH="$ENVIRONMENT/bin:$work/bin"
unset PYTHONPATH CC CXX CUDACXX
for compiler in cc gcc g++ c++ clang nvcc; do
  ! command -v "$compiler" > /dev/null || { echo "wheel_check: $compiler is on PATH" >&2; exit 1; }
done

tests=$PWD/tests
cd "$work/run"
fastgcn-rec --version
fastgcn-rec doctor
python -c 'for n in range(400): print(n % 40, (n * n + n // 40) % 30, n, sep=",")' > plays.csv
fastgcn-rec train plays.csv --user 0 --item 1 --time 2 --recipe mf --dim 8 --epochs 2 --out run --quiet
fastgcn-rec recommend run 7 -k 3
cd "$tests"
HYPOTHESIS_PROFILE=few python -m pytest -q -p no:cacheprovider -c ../pyproject.toml --rootdir .. house cli core ops/test_propagate.py models/test_behaviour.py
