#include "kernels.h"

#define SET portable
#include "generic/kernels.h"
