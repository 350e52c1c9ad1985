#!/usr/bin/env bash
# nvcc and what the kernels include, in a manylinux_2_28 container: what a wheel with CUDA kernels is built with.
set -euo pipefail
dnf install --assumeyes --quiet dnf-plugins-core
dnf config-manager --add-repo https://developer.download.nvidia.com/compute/cuda/repos/rhel8/x86_64/cuda-rhel8.repo
dnf install --assumeyes --quiet cuda-nvcc-13-0 cuda-cudart-devel-13-0 cuda-cccl-13-0
/usr/local/cuda/bin/nvcc --version
