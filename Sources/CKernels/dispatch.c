#include "CKernels.h"

#include <string.h>

extern const ck_kernels ck_kernels_avx512, ck_kernels_avx2, ck_kernels_neon, ck_kernels_portable;

#if defined(__x86_64__)
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

const ck_kernels *ck_kernels_at(size_t index) {
    const ck_kernels *best_first[3];
    size_t count = 0;
#if defined(__x86_64__)
    if (has_avx512() && has_avx2()) best_first[count++] = &ck_kernels_avx512;
    if (has_avx2()) best_first[count++] = &ck_kernels_avx2;
#elif defined(__aarch64__)
    best_first[count++] = &ck_kernels_neon;  // part of every 64-bit ARM
#endif
    best_first[count++] = &ck_kernels_portable;
    return index < count ? best_first[index] : 0;
}
