"""Large tables in huge pages: values and bits stay."""

import re
from pathlib import Path

import pytest
import torch

from fastgcn_rec import _C, Graph, TrainStep, propagate, sample_batch
from fastgcn_rec.core import native

MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def huge_kib(address: int) -> int:
    """Of the mapping that holds the address, the KiB that lie in huge pages."""
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds is not None:
            here = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif here and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    raise AssertionError(f"no mapping holds {address}")


@pytest.mark.skipif(not MODE.exists() or "[never]" in MODE.read_text(), reason="this system gives no huge pages")
def test_a_filled_table_lies_in_huge_pages_and_holds_what_it_held():
    table = torch.arange(4 << 20, dtype=torch.float64)  # 32 MiB, which have a mapping of their own
    copy = table.clone()
    agreed = _C.advise_huge_pages(table, table.nbytes, True)
    assert torch.equal(table, copy)
    if not agreed:
        pytest.skip("this system exchanges no pages at once, or has none free")
    assert huge_kib(table.data_ptr() + table.nbytes // 2) >= 20 << 10


@pytest.mark.parametrize("n_bytes", [0, 1, (2 << 20) - 1])
def test_a_stretch_without_a_whole_huge_page_is_left_alone(n_bytes):
    assert not _C.advise_huge_pages(torch.empty(max(n_bytes, 1), dtype=torch.uint8), n_bytes, True)


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
def test_a_step_and_a_hop_have_the_same_bits_in_pages_of_any_size(storage, monkeypatch):
    users, items = torch.randint(0, 6000, (2, 40_000), generator=torch.Generator().manual_seed(0))
    graph = Graph.from_edges(users, items, 6000, 6000)
    found = []
    for least in (1, 1 << 40):
        monkeypatch.setattr(native, "HUGE_BYTES", least)
        table = torch.randn(graph.n_nodes, 64, generator=torch.Generator().manual_seed(1))
        step = TrainStep(graph, table, [0.5, 0.3, 0.2], storage=storage)
        losses = [step(*sample_batch(graph, 64, 1, seed=0, offset=64 * t)) for t in range(3)]
        found.append((torch.stack(losses), table, step.exp_avg, step.exp_avg_sq, propagate(graph, table, [0.5, 0.5])))
    for huge, small in zip(*found, strict=True):
        assert torch.equal(huge, small)
