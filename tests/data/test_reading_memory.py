"""What a row takes while files become a data set, as the difference of two sizes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

JOB = """
import sys
from fastgcn_rec.data import load_dataset
load_dataset(sys.argv[1], time=sys.argv[2])
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024)
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")


def written(path: Path, rows: int, texts: bool) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rng = np.random.default_rng(rows)
    users, items = rng.integers(0, rows // 100, rows), rng.integers(0, 3000, rows)
    user = pa.array([f"u{n}" for n in users.tolist()]) if texts else pa.array(users)
    parquet.write_table(pa.table({"user": user, "item": items, "at": 1_600_000_000 + np.arange(rows)}), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("texts", "time", "most"), [(False, "at", 25), (False, "", 17), (True, "at", 26)])
def test_a_row_takes_its_codes_its_time_and_little_more(tmp_path, texts, time, most):
    """8 bytes of codes, 8 of a time, 1 of a label, and 8 of what a column is copied to; without times 16. Texts are kept once each.

    Both sizes are of files that are read in many batches: what is held of them grows until then and stays the same after. Arrow's own allocator gives
    pages back by the clock, so that its peaks tell how busy the machine was; the C library's, with a fixed threshold, gives them back at once.
    """
    allocator = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "131072"}
    sizes = 8_000_000, 16_000_000
    peaks = []
    for rows in sizes:
        path = written(tmp_path / f"{rows}.parquet", rows, texts)
        command = [sys.executable, "-c", JOB, str(path), time]
        peaks.append(int(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=allocator).stdout))
    assert (peaks[1] - peaks[0]) / (sizes[1] - sizes[0]) < most
