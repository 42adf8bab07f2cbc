#include "vector.h"

#include "functions.h"

#include "elementwise.h"
#include "lstm.h"
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
    .pack = NAME(pack),
    .tanh = NAME(tanh),
    .softmax = NAME(softmax),
    .add_scaled = NAME(add_scaled),
    .scale_columns = NAME(scale_columns),
    .column_means = NAME(column_means),
    .dots = NAME(dots),
    .lstm = NAME(lstm),
};
