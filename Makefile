# make demo   train on ml-100k and show what comes out        make test    all tests but the slow ones
# make check  what a contributor runs before a commit         make clean   remove builds and environments
# make site   the documents and the API as a site, in build/site
# make pictures  the pictures of the documents, of the floors and of benchmarks/results as they are
# Each makes the virtual environment .venv and installs what it needs; running it again is quick.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CUDA_ARCH ?= 90
SOURCES := $(shell find csrc -type f) CMakeLists.txt setup.py pyproject.toml constraints.txt MANIFEST.in
PACKAGE := $(shell find fastgcn_rec -name '*.py' -o -name '*.pyi')
INSTALL := -m pip --disable-pip-version-check install --quiet
PIP := $(BIN)/python $(INSTALL) -c constraints.txt
# A development build has CUDA where there is a GPU, for one architecture; a release build (plain pip) wherever nvcc is, for all of them.
FGR_CUDA ?= $(shell nvidia-smi -L 2> /dev/null | grep -q GPU && echo AUTO || echo OFF)
BUILD_ENV := FGR_CUDA=$(FGR_CUDA) FGR_CUDA_ARCHITECTURES=$(CUDA_ARCH)
, := ,

.PHONY: demo test check check-python check-slow check-cpp check-fuzz check-cpu-only check-lowest check-cuda check-arm check-emulated site check-site pictures wheels clean
.DELETE_ON_ERROR:

$(VENV)/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "torch==2.13.0"
	$(BUILD_ENV) $(PIP) -e ".[test]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -c 'import importlib.metadata as m; print(*(r.split(";")[0] for r in m.requires("fastgcn_rec") if "extra == \"dev\"" in r and "fastgcn" not in r), sep="\n")' > $(VENV)/dev.txt
	$(PIP) -r $(VENV)/dev.txt  # not -e ".[dev]", which would build again
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -c 'import importlib.metadata as m; print(*(r.split(";")[0] for r in m.requires("fastgcn_rec") if "extra == \"docs\"" in r), sep="\n")' > $(VENV)/docs.txt
	$(PIP) -r $(VENV)/docs.txt
	touch $@

demo: $(VENV)/.installed
	$(BIN)/fastgcn-rec demo --out runs/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q

# Two at a time, since most of them keep one core busy; the longest first, in an environment that is whole before. `make --keep-going test check` is what CI runs.
check: check-emulated check-slow check-cpp check-lowest check-cpu-only check-python check-fuzz check-site check-cuda check-arm
ifneq ($(filter check,$(MAKECMDGOALS)),)
MAKEFLAGS += -j2 --output-sync=target
$(VENV)/.installed-docs: | $(VENV)/.installed-dev
test check-slow: | $(VENV)/.installed-docs
endif

check-python: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	find csrc \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \) -print0 | xargs -0 $(BIN)/clang-format --dry-run -Werror
	$(BIN)/python -m pytest -q --doctest-modules fastgcn_rec

# The documents and the docstrings as a site. A page that is in no menu and a reference that leads nowhere end the build.
SITE := build/site
site: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(SITE)

# The site, every link of the pages as they were built, and the tutorials, run anew.
check-site: site
	$(BIN)/python scripts/site/notebooks.py --check
	$(BIN)/python scripts/site/check_links.py $(SITE)

# docs/architecture.svg and docs/benchmarks.png; tests/house/test_pictures.py says when they are stale.
pictures: $(VENV)/.installed
	$(BIN)/python scripts/site/architecture.py
	$(BIN)/python -m benchmarks report --picture

# What takes many seconds and says nothing of the package that `make test` does not: every level of instructions, the benchmarks.
check-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m slow

# $(call sanitized,folder,sanitizers,options): a build with all warnings errors. $(PYTHON_MODULE): options to build the module for Python.
sanitized = $(BIN)/cmake -S . -B $(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DFGR_SANITIZE=$(2) -DFGR_WERROR=ON \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo $(3) > /dev/null && env -u MAKEFLAGS $(BIN)/cmake --build $(1)
PYTHON_MODULE = -DFGR_VERSION=sanitized -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) -DPython_EXECUTABLE=$(abspath $(BIN)/python)
# libstdc++ is loaded with the sanitizer, which else misses where exceptions of other modules are thrown.
SANITIZED_PYTHON = ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" $(BIN)/python

# The CPU's part under AddressSanitizer and UndefinedBehaviorSanitizer: C++ tests and the module.
.PHONY: sanitized-cpu
sanitized-cpu: $(VENV)/.installed-dev
	$(call sanitized,build/sanitize,address$(,)undefined,-DFGR_CUDA=OFF -DFGR_TESTS=ON $(PYTHON_MODULE))

# C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer, then under ThreadSanitizer, which cannot place its memory where some
# kernels put other things at random.
check-cpp: sanitized-cpu
	build/sanitize/fgr_tests
	$(call sanitized,build/threads,thread,-DFGR_CUDA=OFF -DFGR_PYTHON=OFF -DFGR_TESTS=ON)
	$$(setarch -R true 2> /dev/null && echo setarch -R) build/threads/fgr_tests

# Damaged files, random arguments and small and large calls on the CPU's module under AddressSanitizer and UndefinedBehaviorSanitizer.
check-fuzz: sanitized-cpu
	FASTGCN_REC_MODULE=$$(ls $(abspath build/sanitize)/_C*.so) HYPOTHESIS_PROFILE=few $(SANITIZED_PYTHON) -m pytest -q -rfE tests/core/test_threads.py $(wildcard tests/*/test_fuzz_*.py)

# Every CUDA kernel, run on the CPU (csrc/emu) under AddressSanitizer and UndefinedBehaviorSanitizer, with the lines that ran. Whole trainings
# would take minutes and run no line that steps do not.
EMULATED := build/emulated
check-emulated: $(VENV)/.installed-dev
	$(call sanitized,$(EMULATED),address$(,)undefined,-DFGR_EMULATE=ON -DFGR_COVERAGE=ON -DFGR_TESTS=ON $(PYTHON_MODULE))
	find $(EMULATED) -name '*.gcda' -delete
	$(EMULATED)/gpu_main check --small
	$(EMULATED)/gpu_main time --seconds 600 --json $(EMULATED)/times.json && $(BIN)/python -m json.tool $(EMULATED)/times.json > /dev/null
	FASTGCN_REC_EMULATED=$$(ls $(abspath $(EMULATED))/_C*.so) $(SANITIZED_PYTHON) -m pytest -q -rfE -k "not it_learns" $(addprefix tests/,$(addprefix ops/test_,propagate.py half_hop.py dense.py losses.py sample.py adam_step.py topk.py retrieve.py train_step.py columns.py train_step_columns.py row_hops.py row_step.py row_batch.py random_walk.py neighbor_pool.py gather_rows.py ppr.py emulator.py gpu_main.py) core/test_build.py \
	  ranking/test_evaluate.py negatives/test_negatives.py negatives/test_by_score.py algorithms/test_pagerank.py models/test_ngcf.py models/test_lightgcn_options.py training/test_captured_native.py)
	@# gcovr takes counts beyond 2^32 for a fault of gcov's; the inner loop of a product is run more often
	$(BIN)/gcovr --root . --filter csrc/cuda/ --merge-lines --fail-under-line 90 --gcov-ignore-parse-errors=suspicious_hits.warn_once_per_file $(EMULATED)

# The source distribution, which must hold all that git tracks but dot files, and the wheel without CUDA that is built from it in isolation.
DIST := build/dist
$(DIST)/.built: $(VENV)/.installed-dev $(PACKAGE) $(shell find tests docs benchmarks scripts examples -type f -not -path '*/__pycache__/*')
	rm -rf $(DIST) && mkdir -p $(DIST)/source
	$(BIN)/python -m build --sdist --no-isolation --outdir $(DIST) . > $(DIST)/sdist.log 2>&1 || (cat $(DIST)/sdist.log; exit 1)
	tar -xzf $(DIST)/*.tar.gz -C $(DIST)/source --strip-components 1
	@! git ls-files | grep -v '^\.' | (cd $(DIST)/source && xargs ls -d 2>&1 > /dev/null) | grep . || (echo "not in the source distribution"; exit 1)
	FGR_CUDA=OFF FGR_WERROR=ON $(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir $(DIST) $(DIST)/*.tar.gz
	touch $@

# That wheel in an environment of its own, and there the tests of the source distribution that a build or a package could break.
check-cpu-only: $(DIST)/.built
	test -x $(VENV)-cpu/bin/python || $(PYTHON) -m venv $(VENV)-cpu
	$(VENV)-cpu/bin/python $(INSTALL) -c constraints.txt "torch==2.13.0" "$$(echo $(DIST)/*.whl)[test]"
	$(VENV)-cpu/bin/python $(INSTALL) --no-deps --force-reinstall $(DIST)/*.whl
	$(VENV)-cpu/bin/fastgcn-rec doctor | grep -q "CUDA: off: built without it"
	cd $(DIST)/source/tests && HYPOTHESIS_PROFILE=few $(abspath $(VENV)-cpu/bin/python) -m pytest -q -c ../pyproject.toml --rootdir .. house cli core ops/test_propagate.py models/test_behaviour.py

# The same with the lowest versions that pyproject.toml allows; those of NumPy and SciPy exist for Python 3.10 and 3.11. Old packages may warn;
# threads and interrupts do not depend on them.
check-lowest: $(DIST)/.built
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  set -ex; \
	  test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest; \
	  $(VENV)-lowest/bin/python $(INSTALL) -c constraints-lowest.txt torch "$$(echo $(DIST)/*.whl)[test]"; \
	  $(VENV)-lowest/bin/python $(INSTALL) --no-deps --force-reinstall $(DIST)/*.whl; \
	  cd $(DIST)/source/tests; \
	  HYPOTHESIS_PROFILE=few $(abspath $(VENV)-lowest/bin/python) -m pytest -q -c ../pyproject.toml --rootdir .. -W default -k "not compile and not opcheck and not gradcheck" \
	    $(addprefix --ignore ,models/test_same_bits.py core/test_threads.py core/test_fork_interrupt.py training/test_stopping.py) .; \
	else echo "check-lowest: nothing to run here (Python 3.12 or newer)"; fi

# The CUDA backend and gpu_main, which checks and times it on a machine with a GPU, with all warnings errors, where nvcc is; no GPU is needed.
check-cuda: $(VENV)/.installed-dev
	@if command -v nvcc > /dev/null && ls csrc/cuda/*.cu > /dev/null 2>&1; then \
	  $(BIN)/cmake -S . -B build/cuda -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DFGR_CUDA=ON -DFGR_PYTHON=ON -DFGR_TESTS=ON \
	    -DFGR_WERROR=ON -DFGR_CUDA_ARCHITECTURES=$(CUDA_ARCH) -DFGR_VERSION=cuda \
	    -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) -DPython_EXECUTABLE=$(abspath $(BIN)/python) > /dev/null && \
	  env -u MAKEFLAGS $(BIN)/cmake --build build/cuda && cd build/cuda && \
	  $(abspath $(BIN)/python) -c 'import _C; print("CUDA", _C.build_info()["cuda"], "is linked and loads without a GPU")'; \
	else echo "check-cuda: nothing to build here (no nvcc)"; fi

# The CPU's kernels for 64-bit ARM (NEON), with all warnings errors, and their C++ tests by an emulator, where a cross compiler and qemu-user are.
check-arm: $(VENV)/.installed-dev
	@if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null; then \
	  $(BIN)/cmake -S . -B build/arm -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DFGR_CUDA=OFF -DFGR_PYTHON=OFF -DFGR_TESTS=ON -DFGR_WERROR=ON \
	    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ > /dev/null && \
	  env -u MAKEFLAGS $(BIN)/cmake --build build/arm && qemu-aarch64 -L /usr/aarch64-linux-gnu build/arm/fgr_tests; \
	else echo "check-arm: nothing to run here (no g++-aarch64-linux-gnu and qemu-user)"; fi

# Wheels for other machines in build/wheels, without CUDA kernels and, where nvcc is, with those of a release; scripts/wheels.sh says what can be chosen.
wheels:
	scripts/wheels.sh

clean:
	rm -rf build $(VENV) $(VENV)-cpu $(VENV)-lowest fastgcn_rec/*.so
