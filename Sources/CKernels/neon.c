#include "CKernels.h"

#if defined(__aarch64__)
#define WIDTH 4
#define ROWS 6
#define VECTORS 4
#define SET neon
#define REGISTER "w"
#include "generic/kernels.h"
#endif
