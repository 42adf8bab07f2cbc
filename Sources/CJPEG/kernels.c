#include "kernels.h"

extern const cjpeg_kernels cjpeg_kernels_avx512, cjpeg_kernels_avx2, cjpeg_kernels_neon,
    cjpeg_kernels_portable;

#if defined(__x86_64__)
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const cjpeg_kernels *cjpeg_kernels_at(size_t index) {
    const cjpeg_kernels *best_first[3];
    size_t count = 0;
#if defined(__x86_64__)
    if (has_avx512()) best_first[count++] = &cjpeg_kernels_avx512;
    if (has_avx2()) best_first[count++] = &cjpeg_kernels_avx2;
#elif defined(__aarch64__)
    best_first[count++] = &cjpeg_kernels_neon;  // part of every 64-bit ARM
#endif
    best_first[count++] = &cjpeg_kernels_portable;
    return index < count ? best_first[index] : 0;
}

const char *cjpeg_kernels_name(const cjpeg_kernels *kernels) { return kernels->name; }
