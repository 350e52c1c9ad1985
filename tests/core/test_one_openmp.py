"""The kernels run on torch's OpenMP threads: two runtimes in one process would each take all cores."""

import subprocess
import sys
from pathlib import Path

import pytest

# Both imported, a kernel shared out to two threads; the runtimes that are then mapped.
_CODE = """
import re, {first}, {second}
import fastgcn_rec.ops as ops
from fastgcn_rec import _C

torch.set_num_threads(2)
table = torch.ones(1 << 20)
before = _C.parallel_regions()
ops.adam_step(table, torch.ones_like(table), torch.zeros_like(table), torch.zeros_like(table), 1)
assert _C.parallel_regions() == before + 1
torch.ones(1 << 22).exp_()
print(*sorted(set(re.findall(r"/\\S*lib(?:g|i)?omp\\S*", open("/proc/self/maps").read()))), sep="\\n")
"""


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="what is mapped stands in /proc")
@pytest.mark.parametrize("first", ["torch", "fastgcn_rec"])
def test_whatever_is_imported_first_one_openmp_runtime_is_loaded(first):
    second = {"torch": "fastgcn_rec", "fastgcn_rec": "torch"}[first]
    code = _CODE.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == 1, done.stdout
