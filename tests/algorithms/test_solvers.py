import numpy as np
import pytest
import torch
from support import assert_close, on_the_cpu, same_bits_in_any_order
from torch.utils._python_dispatch import TorchDispatchMode

from fastgcn_rec.algorithms import solvers
from fastgcn_rec.core.elementwise import in_pieces, power
from fastgcn_rec.system import available as _available

pytestmark = on_the_cpu
CPU = torch.device("cpu")


def positive(n, dtype=torch.float64):
    x = torch.randn(n, n + 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return (x @ x.T / n + torch.eye(n)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "block"), [(0, 4), (1, 4), (4, 4), (5, 4), (33, 8), (64, 100), (150, 64)])
def test_an_inverse_in_place_in_blocks(dtype, n, block):
    a = positive(n, dtype)
    exact = torch.linalg.inv(a.double())
    assert solvers.invert_(a, block)
    assert_close(a, exact, dtype, 10.0)
    assert torch.equal(a, a.T)


def test_what_is_below_the_diagonal_blocks_is_not_read():
    a = positive(20)
    exact = torch.linalg.inv(a)
    a[8:, :8] = torch.nan
    a[16:, :16] = torch.nan
    assert solvers.invert_(a, 8)
    assert_close(a, exact, terms=10.0)


def test_a_matrix_that_is_not_positive_definite_is_refused():
    a = positive(20)
    a[13, 13] = -1
    assert not solvers.invert_(a, 8)


class Sizes(TorchDispatchMode):
    """The largest matrix that any op of torch.linalg is given."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "linalg" in func.name() or "cholesky" in func.name():
            self.largest = max(self.largest, *args[0].shape[-2:])
        return func(*args, **(kwargs or {}))


def test_a_library_gets_blocks_only():
    """Some parallel LAPACKs crash on large matrices."""
    with Sizes() as sizes:
        assert solvers.invert_(positive(700), 100)
    assert sizes.largest == 100
    with Sizes() as sizes:
        assert solvers.invert_(positive(700, torch.float32))
    assert sizes.largest == 87


def test_the_same_bits_for_any_number_of_threads_and_these_are_left_as_they_were():
    a, b = positive(300), torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def run():
        inverse = a.clone()
        assert solvers.invert_(inverse, 64)
        return inverse, *solvers.eigh(a), solvers.solve(a[None], b[None]), solvers.inverse_factor(a)

    same_bits_in_any_order(run, CPU, (2, 3, 5))
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), solvers.one_thread():
        raise RuntimeError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.3, -0.45])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_and_logarithms_know_no_threads(dtype, exponent):
    """More elements than torch computes on one thread, and a number of them that no share divides."""
    degree = torch.arange(100_003, dtype=dtype) % 977
    same_bits_in_any_order(lambda: (power(degree, exponent), in_pieces(torch.log1p, degree)), CPU, (2, 3, 5))
    np.testing.assert_allclose(power(degree[:5], exponent)[1:], np.arange(1, 5) ** exponent, rtol=1e-6)
    assert power(degree[:1], exponent).tolist() == [0.0]
    assert in_pieces(torch.exp, degree[:0].view(0, 3)).shape == (0, 3)


# --- free memory ----------------------------------------------------------------------------------------------------


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(_available, "_ROOT", tmp_path)
    monkeypatch.setattr(_available, "_address_space", lambda: None)
    tree(tmp_path, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"})
    return tmp_path


def test_the_machine_says_what_is_free(root):
    assert _available.available_memory() == 8000 * 1024


def test_a_container_says_it_too(root):
    own = "sys/fs/cgroup"
    tree(
        root, {"proc/self/cgroup": "0::/a/b\n", f"{own}/memory.max": "5000000\n", f"{own}/memory.current": "3000000\n"}
    )
    assert _available.available_memory() == 2000000
    tree(root, {f"{own}/memory.stat": "anon 7\ninactive_file 1000000\n"})
    assert _available.available_memory() == 3000000
    tree(root, {f"{own}/a/b/memory.max": "max\n", f"{own}/a/b/memory.current": "1\n"})
    assert _available.available_memory() == 3000000
    tree(root, {f"{own}/a/memory.max": "1000\n", f"{own}/a/memory.current": "2000\n"})
    assert _available.available_memory() == 0


def test_cgroups_of_the_first_version(root):
    own = "sys/fs/cgroup/memory/job"
    tree(
        root,
        {"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n", f"{own}/memory.limit_in_bytes": "5000000\n"},
    )
    tree(root, {f"{own}/memory.usage_in_bytes": "3000000\n", f"{own}/memory.stat": "total_inactive_file 500000\n"})
    assert _available.available_memory() == 2500000


def test_a_limit_of_the_address_space_counts(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(_available, "_ROOT", tmp_path)
    monkeypatch.setattr(_available, "_machine", lambda: None)
    assert _available.available_memory() is None
    tree(tmp_path, {"proc/self/statm": "100 50 1 1 0 1 0\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda what: (10**9, 10**9))
    import os

    assert _available.available_memory() == 10**9 - 100 * os.sysconf("SC_PAGE_SIZE")
