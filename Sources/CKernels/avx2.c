#include "CKernels.h"

#if defined(__x86_64__)
#define WIDTH 8
#define ROWS 6
#define VECTORS 2
#define SET avx2
#define REGISTER "x"
#pragma clang attribute push(__attribute__((target("avx2,fma,prfchw"))), apply_to = function)
#include "generic/kernels.h"
#pragma clang attribute pop
#endif
