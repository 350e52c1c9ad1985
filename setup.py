"""The build: CMake makes fastgcn_rec._C; this file calls it. Everything else stands in pyproject.toml.

Environment: FGR_CUDA=AUTO|ON|OFF, FGR_CUDA_ARCHITECTURES (as CMake's CMAKE_CUDA_ARCHITECTURES), FGR_WERROR=ON,
FGR_SANITIZE=address,undefined, CMAKE_ARGS (anything else), CMAKE_BUILD_PARALLEL_LEVEL; FGR_BUILD_DIR is a folder that
builds for several Pythons share, so that the kernels, which know no Python, are compiled once.

Wheels for other machines: ``make wheels``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CMAKE_OPTIONS = ("FGR_CUDA", "FGR_CUDA_ARCHITECTURES", "FGR_WERROR", "FGR_SANITIZE")


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(os.environ.get("FGR_BUILD_DIR") or Path(self.build_temp) / "cmake").resolve()
        build.mkdir(parents=True, exist_ok=True)
        # pip's isolated environments do not outlive a build, but the cache of the last one names their ninja.
        (build / "CMakeCache.txt").unlink(missing_ok=True)
        options = [f"-D{name}={os.environ[name]}" for name in CMAKE_OPTIONS if os.environ.get(name)]
        configure = [
            "cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja",
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DFGR_VERSION={self.distribution.get_version()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *options, *os.environ.get("CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)
        subprocess.run(["cmake", "--install", str(build), "--prefix", str(target)], check=True)


setup(ext_modules=[Extension("fastgcn_rec._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
