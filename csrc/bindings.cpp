// The Python module fastgcn_rec._C: tensors (their addresses), sizes, a dtype code and a thread count or stream in;
// nothing out. The only file that knows of pybind11, and no file knows torch: whatever has a data_ptr() is a tensor.
// Checks of shapes, dtypes and devices stand in fastgcn_rec/ops and
// fastgcn_rec/core/graph.py.
#include <pthread.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(FGR_EMULATE)
#include <cuda_runtime.h>
#endif

#include "cpu/isa/levels.h"
#include "cpu/parallel.h"
#include "fgr/adam_step.h"
#include "fgr/build.h"
#include "fgr/dense.h"
#include "fgr/events.h"
#include "fgr/half_hop.h"
#include "fgr/huge_pages.h"
#include "fgr/id_table.h"
#include "fgr/l2_loss.h"
#include "fgr/nearest_rows.h"
#include "fgr/neighbor_pool.h"
#include "fgr/pair_loss.h"
#include "fgr/ppr.h"
#include "fgr/ppr_push.h"
#include "fgr/propagate.h"
#include "fgr/random_walk.h"
#include "fgr/retrieve.h"
#include "fgr/ridge_rows.h"
#include "fgr/row_step.h"
#include "fgr/sample.h"
#include "fgr/scatter_rows.h"
#include "fgr/select_negatives.h"
#include "fgr/slim.h"
#include "fgr/softmax_loss.h"
#include "fgr/sparse_inverse.h"
#include "fgr/text_lines.h"
#include "fgr/topk.h"
#include "fgr/train_step.h"

namespace py = pybind11;

namespace fgr {
// Where a tensor lies, which Python hands over as itself (whatever has a data_ptr()), as None (null) or as a number.
struct Address {
  uintptr_t value = 0;
};
}  // namespace fgr

template <>
struct py::detail::type_caster<fgr::Address> {
  PYBIND11_TYPE_CASTER(fgr::Address, const_name("int"));

  bool load(handle source, bool) {
    if (source.is_none()) return true;
    if (PyLong_Check(source.ptr())) return set(source);
    static PyObject* const method = PyUnicode_InternFromString("data_ptr");
    PyObject* const address = PyObject_CallMethodNoArgs(source.ptr(), method);
    if (address != nullptr) return set(reinterpret_steal<object>(address));
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw error_already_set();  // a tensor without memory
    PyErr_Clear();
    return false;
  }

 private:
  bool set(handle number) {
    value.value = PyLong_AsUnsignedLongLong(number.ptr());
    if (PyErr_Occurred() != nullptr) throw error_already_set();
    return true;
  }
};

namespace {

using namespace fgr;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address.value);
}

// For the time of a call: without the GIL, and open to interrupts.
struct Call {
  Call() { cpu::begin_call(); }
  py::gil_scoped_release release;
};

// Python's main thread, which alone runs handlers of signals.
std::atomic<unsigned long> main_thread{0};

// True, with Python's error set, if a signal's handler raised; what handlers else do leaves the call as it is.
bool signal_raised() {
  if (PyThread_get_thread_ident() != main_thread) return false;
  const py::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

void bind_threads(py::module_& m) {
  main_thread = py::cast<unsigned long>(py::module_::import("threading").attr("main_thread")().attr("ident"));
  pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
  cpu::set_poll(&signal_raised);
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const cpu::Interrupted&) {  // Python's error is set
    }
  });
  m.def("advise_huge_pages", [](Address begin, int64_t bytes, bool now) {
    const Call call;
    return cpu::advise_huge_pages(begin.value, begin.value + static_cast<uintptr_t>(bytes), now);
  });
  m.def("parallel_regions", &cpu::parallel_regions);
  m.def("grain", &cpu::grain);
  m.def("set_grain", &cpu::set_grain);
}

// fn(tag of the storage type) for a dtype code.
template <class T>
struct Tag {
  using type = T;
};
template <class Fn>
auto dispatch(int dtype, const Fn& fn) {
  switch (static_cast<DType>(dtype)) {
    case DType::f32:
      return fn(Tag<float>{});
    case DType::f64:
      return fn(Tag<double>{});
    case DType::bf16:
      return fn(Tag<bf16>{});
  }
  throw std::invalid_argument("unknown dtype code " + std::to_string(dtype));
}
template <class Fn>
void dispatch_dense(int dtype, const Fn& fn) {
  switch (static_cast<DType>(dtype)) {
    case DType::f32:
      return fn(Tag<float>{});
    case DType::f64:
      return fn(Tag<double>{});
    default:
      throw std::invalid_argument("dtype code " + std::to_string(dtype) + " is neither float32 nor float64");
  }
}

// A graph as Python holds it: two CSR halves and a schedule.
struct Graph {
  int64_t n_users, n_items;
  Address indptr, indices, weight, indptr_t, indices_t, weight_t;
  Address split, heavy;  // [2, n_split], [n_heavy]
  int64_t n_split, n_heavy, heavy_degree, part_edges;

  Csr users() const {
    return {at<const int64_t>(indptr), at<const int32_t>(indices), at<const float>(weight), n_users, n_items};
  }
  Csr items() const {
    return {at<const int64_t>(indptr_t), at<const int32_t>(indices_t), at<const float>(weight_t), n_items, n_users};
  }
  Bipartite both() const {
    const int32_t* split_node = at<const int32_t>(split);
    return {users(),
            items(),
            {split_node, split_node + n_split, at<const int32_t>(heavy), n_split, n_heavy, heavy_degree, part_edges}};
  }
  WalkGraph walks(Address alias, Address alias_t) const {
    return {{{at<const int64_t>(indptr), at<const int32_t>(indices), at<const uint64_t>(alias), n_users},
             {at<const int64_t>(indptr_t), at<const int32_t>(indices_t), at<const uint64_t>(alias_t), n_items}}};
  }
};

py::dict build_info() {
  py::dict info;
  py::list levels;
  int n = 0;
  const cpu::Level* const* usable = cpu::usable_levels(&n);
  for (int i = 0; i < n; ++i) levels.append(usable[i]->name);
  info["version"] = FGR_VERSION;
  info["compiler"] = __VERSION__;
  info["isa_levels"] = levels;
#if defined(FGR_WITH_CUDA)
  info["cuda"] = FGR_CUDA_VERSION;
  info["cuda_architectures"] = FGR_CUDA_ARCHS;
#else
  info["cuda"] = py::none();
  info["cuda_architectures"] = "";
#endif
  return info;
}

// fn(tag of the type of ids) for int32 or, if wide, int64.
template <class Fn>
auto with_ids(bool wide, const Fn& fn) {
  return wide ? fn(Tag<int64_t>{}) : fn(Tag<int32_t>{});
}

void bind_build(py::module_& m) {
  m.def("bucket_edges", [](bool wide, Address rows, Address cols, Address weight, int64_t n_edges, int64_t n_rows,
                           Address indptr, Address indices, Address out_weight, int threads) {
    const Call call;
    with_ids(wide, [&](auto tag) {
      using I = typename decltype(tag)::type;
      cpu::bucket_edges(at<const I>(rows), at<const I>(cols), at<const float>(weight), n_edges, n_rows,
                        at<int64_t>(indptr), at<int32_t>(indices), at<float>(out_weight), threads);
    });
  });
  m.def("transpose", [](Address indptr, Address indices, Address weight, int64_t n_rows, int64_t n_cols,
                        Address indptr_t, Address indices_t, Address weight_t, int threads) {
    const Call call;
    cpu::transpose({at<const int64_t>(indptr), at<const int32_t>(indices), at<const float>(weight), n_rows, n_cols},
                   at<int64_t>(indptr_t), at<int32_t>(indices_t), at<float>(weight_t), threads);
  });
  m.def("merge_duplicates", [](Address indptr, Address indices, Address weight, int64_t n_rows) {
    const Call call;
    return cpu::merge_duplicates(at<int64_t>(indptr), at<int32_t>(indices), at<float>(weight), n_rows);
  });
  m.def("alias_table", [](Address indptr, Address indices, Address weight, int64_t n_rows, int64_t n_cols,
                          Address alias, int threads) {
    const Call call;
    cpu::alias_table({at<const int64_t>(indptr), at<const int32_t>(indices), at<const float>(weight), n_rows, n_cols},
                     at<uint64_t>(alias), threads);
  });
  m.def("check_csr", [](Address indptr, Address indices, int64_t n_rows, int64_t n_cols, int64_t n_edges) {
    const Call call;
    cpu::check_csr(at<const int64_t>(indptr), at<const int32_t>(indices), n_rows, n_cols, n_edges);
  });
}

// What retrieve is asked, as Python hands it over.
struct RetrievalArgs {
  Address queries, items;
  int64_t n_queries, n_items, dim;
  bool cosine;
  Address subset;
  int64_t n_candidates;
  Address indptr, indices;
  int64_t n_exclude_rows;
  Address rows;
  int64_t k, queries_at_once, items_at_once;

  template <class T>
  Retrieval<T> as() const {
    const Csr exclude{at<const int64_t>(indptr), at<const int32_t>(indices), nullptr, n_exclude_rows, n_items};
    return {at<const T>(queries),
            at<const T>(items),
            n_queries,
            n_items,
            dim,
            cosine,
            at<const int64_t>(subset),
            n_candidates,
            exclude,
            at<const int64_t>(rows),
            k,
            queries_at_once,
            items_at_once};
  }
};

#include "bindings_step.inc"

// On the CPU only; the result holds what only the run can size, Python copies it out.
void bind_push(py::module_& m) {
  using Push = cpu::PprPush;
  py::class_<Push>(m, "PprPush", py::module_local())
      .def(py::init([](const Graph& g, Address inv_degree, Address nodes, int64_t n_sources, double restart,
                       double epsilon, int threads) {
        const Call call;
        return cpu::ppr_push(g.both(), at<const double>(inv_degree), at<const int64_t>(nodes), n_sources, restart,
                             epsilon, threads);
      }))
      .def("n_entries", &Push::n_entries)
      .def("copy", [](const Push& push, Address indptr, Address ids, Address scores) {
        const Call call;
        push.copy(at<int64_t>(indptr), at<int64_t>(ids), at<double>(scores));
      });
}

#include "bindings_args.inc"
#include "bindings_data.inc"
#include "bindings_inverse.inc"
#include "bindings_neighbours.inc"

// The ops of one backend: `Where` is the thread count (cpu) or the stream (cuda), always the last argument.
#define FGR_BACKEND cpu
#define FGR_WHERE int
#define FGR_WHERE_ARG(w) (w)
#define FGR_NAME(op) op "_cpu"
#define FGR_BIND bind_cpu
#include "bindings_ops.inc"
#undef FGR_BIND
#define FGR_BIND bind_rows_cpu
#include "bindings_rows.inc"
#undef FGR_BACKEND
#undef FGR_WHERE
#undef FGR_WHERE_ARG
#undef FGR_NAME
#undef FGR_BIND

#if defined(FGR_WITH_CUDA)
#define FGR_BACKEND cuda
#define FGR_WHERE Address
#define FGR_WHERE_ARG(w) at<void>(w)
#define FGR_NAME(op) op "_cuda"
#define FGR_BIND bind_cuda
#include "bindings_ops.inc"
#undef FGR_BIND
#define FGR_BIND bind_rows_cuda
#include "bindings_rows.inc"

// How a device builds a graph, which is not how the CPU does.
void bind_build_cuda(py::module_& m) {
  m.def("sort_edges_workspace_bytes_cuda", &cuda::sort_edges_workspace_bytes);
  m.def("sort_edges_cuda", [](bool wide, Address rows, Address cols, Address weight, int64_t n_edges, int64_t n_rows,
                              int64_t n_cols, Address kept, Address workspace, Address stream) {
    const Call call;
    return with_ids(wide, [&](auto tag) {
      using I = typename decltype(tag)::type;
      return cuda::sort_edges(at<const I>(rows), at<const I>(cols), at<const float>(weight), n_edges, n_rows, n_cols,
                              at<int64_t>(kept), at<void>(workspace), at<void>(stream));
    });
  });
  m.def("csr_of_sorted_cuda", [](int64_t n_edges, int64_t kept, int half, int64_t n_rows, int64_t n_cols,
                                 Address indptr, Address indices, Address weight, Address workspace, Address stream) {
    const Call call;
    cuda::csr_of_sorted(n_edges, kept, half, n_rows, n_cols, at<int64_t>(indptr), at<int32_t>(indices),
                        at<float>(weight), at<void>(workspace), at<void>(stream));
  });
  m.def("transpose_cuda", [](Address indptr, Address indices, Address weight, int64_t n_rows, int64_t n_cols,
                             int64_t n_edges, Address indptr_t, Address indices_t, Address weight_t, Address workspace,
                             Address stream) {
    const Call call;
    cuda::transpose({at<const int64_t>(indptr), at<const int32_t>(indices), at<const float>(weight), n_rows, n_cols},
                    n_edges, at<int64_t>(indptr_t), at<int32_t>(indices_t), at<float>(weight_t), at<void>(workspace),
                    at<void>(stream));
  });
}
#endif

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::class_<Graph>(m, "Graph", py::module_local())
      .def(py::init([](int64_t n_users, int64_t n_items, Address indptr, Address indices, Address weight,
                       Address indptr_t, Address indices_t, Address weight_t, Address split, int64_t n_split,
                       Address heavy, int64_t n_heavy, int64_t heavy_degree, int64_t part_edges) {
        return Graph{n_users,  n_items, indptr, indices, weight,  indptr_t,     indices_t,
                     weight_t, split,   heavy,  n_split, n_heavy, heavy_degree, part_edges};
      }));
  bind_step(m);
  py::class_<RetrievalArgs>(m, "Retrieval", py::module_local())
      .def(py::init([](Address queries, Address items, int64_t n_queries, int64_t n_items, int64_t dim, bool cosine,
                       Address subset, int64_t n_candidates, Address indptr, Address indices, int64_t n_exclude_rows,
                       Address rows, int64_t k, int64_t queries_at_once, int64_t items_at_once) {
        return RetrievalArgs{queries,      items,  n_queries, n_items,        dim,  cosine, subset,
                             n_candidates, indptr, indices,   n_exclude_rows, rows, k,      queries_at_once,
                             items_at_once};
      }));
  m.def("build_info", &build_info);
  m.def("isa_level", [] { return cpu::level().name; });
  m.def("select_isa_level", [](const std::string& name) { cpu::select_level(name.c_str()); });
  m.def("l2_loss_workspace_bytes", &l2_loss_workspace_bytes);
  m.def("select_negatives_workspace_bytes", &select_negatives_workspace_bytes);
  bind_threads(m);
  bind_build(m);
  bind_push(m);
  bind_neighbours(m);
  bind_events(m);
  bind_inverse(m);
  bind_cpu(m);
  bind_rows_cpu(m);
#if defined(FGR_WITH_CUDA)
  bind_cuda(m);
  bind_rows_cuda(m);
  bind_build_cuda(m);
#endif
#if defined(FGR_EMULATE)
  m.def("set_thread_order", &emu::set_thread_order);
#endif
}
