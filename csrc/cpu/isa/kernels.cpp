// Compiled once per level with other -march flags (FGR_ISA_LEVEL). Everything here has internal linkage and no standard
// library function is instantiated, so that the linker can never hand a caller code of a higher level.
#include "cpu/isa/adam.h"
#include "cpu/isa/dense.h"
#include "cpu/isa/hop.h"
#include "cpu/isa/random.h"
#include "cpu/isa/ridge.h"

namespace {

template <class T>
constexpr fgr::cpu::Kernels<T> sparse_table{&hop<T, T>,     &hop<T, acc_t<T>>, &adam_hop<T>,      &dot<T>,
                                            &panel_dots<T>, &axpy<T>,          &weighted_rows<T>, &pack<T>};
template <class A>
constexpr fgr::cpu::DenseKernels<A> dense_table{&gemm<A>, &row_dots<A>, &exp_row, &not_below<A>, &adam<A>};

}  // namespace

#define FGR_CONCAT_(a, b) a##b
#define FGR_CONCAT(a, b) FGR_CONCAT_(a, b)
#define FGR_STRING_(a) #a
#define FGR_STRING(a) FGR_STRING_(a)

namespace fgr::cpu {

const Level& FGR_CONCAT(level_, FGR_ISA_LEVEL)() {
  static constexpr Level table{
      FGR_STRING(FGR_ISA_LEVEL), sparse_table<float>, sparse_table<double>, sparse_table<bf16>,
      dense_table<float>,        dense_table<double>, &random_pairs,        {&ridge, &subtract_scores},
      &permutation_steps};
  return table;
}

}  // namespace fgr::cpu
