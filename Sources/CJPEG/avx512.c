#include "kernels.h"

#if defined(__x86_64__)
#define SET avx512
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2"))), apply_to = function)
#include "generic/kernels.h"
#pragma clang attribute pop
#endif
