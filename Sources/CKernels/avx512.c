#include "CKernels.h"

#if defined(__x86_64__)
#define WIDTH 16
#define ROWS 6
#define VECTORS 4
#define SET avx512
#define REGISTER "v"
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prfchw"))), apply_to = function)
#include "generic/kernels.h"
#pragma clang attribute pop
#endif
