#include "CKernels.h"

#define WIDTH 4
#define ROWS 4
#define VECTORS 2
#define SET portable
#if defined(__aarch64__)
#define REGISTER "w"
#elif defined(__x86_64__)
#define REGISTER "x"
#else
#define REGISTER "m"
#endif
#include "generic/kernels.h"
