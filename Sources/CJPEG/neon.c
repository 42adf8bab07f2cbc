#include "kernels.h"

#if defined(__aarch64__)
#define SET neon
#include "generic/kernels.h"
#endif
