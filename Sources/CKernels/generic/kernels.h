#include "vector.h"

#include "multiply.h"
#include "peak.h"
#include "winograd.h"

const ck_kernels NAME(ck_kernels) = {
    .name = TEXT(SET),
    .panel = PANEL,
    .multiply = NAME(multiply),
    .multiply_relu = NAME(multiply_relu),
    .evaluate_tiles = NAME(evaluate_tiles),
    .interpolate_tiles = NAME(interpolate_tiles),
    .peak = NAME(peak),
};
