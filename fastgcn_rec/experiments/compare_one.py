"""One model of a comparison, trained and tested in a process of its own: ``python -m fastgcn_rec.experiments.compare_one TASK THREADS``."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

import numpy as np
import torch

from ..data.spec import DataSpec
from ..ranking.evaluate import evaluate_users
from ..system.archives import save_arrays
from ..system.process import explain
from .contenders import How, contender
from .devices import require_cuda
from .rows import METRICS, Row


def run(data: dict[str, Any], model: str, users: str | None = None, **how: Any) -> Row:
    """One model, in this process.

    data : a DataSpec as values of JSON; model : for :func:`contender`; users : a file for the metrics of each user, "values" [metrics, users] of "users";
    how : fields of :class:`How`
    """
    given = How(**how)
    if given.device != "cpu":
        require_cuda(torch.device(given.device))
    loaded, one = DataSpec.from_dict(data).load(), contender(model)
    before = _reset_peak()
    ranker, seconds = one.make(loaded, given)
    made = time.perf_counter()
    found = evaluate_users(ranker, loaded)
    ranked = time.perf_counter()
    peak = None if before is None else _status("VmHWM") - before
    if users is not None:
        values = np.stack([found.values[name] for name in METRICS])
        save_arrays(users, {"kind": "compared", "format": 1}, {"users": loaded.user_ids[found.users], "values": values})
    means = found.means()
    return Row(one.name, means["recall@20"], means["ndcg@20"], seconds, ranked - made, peak, note=one.note(ranker))


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":")) * 1024


def _reset_peak() -> int | None:
    """The resident size now; the peak counts from here on. None where there is no /proc that does this."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
            control.write("5")
        return _status("VmRSS")
    except OSError:
        return None


def _main(task: str, threads: str) -> int:
    torch.set_num_threads(int(threads))
    try:
        print(json.dumps(dataclasses.asdict(run(**json.loads(task)))))
        return 0
    except Exception as error:
        print(explain(error).replace("\n", " "), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
