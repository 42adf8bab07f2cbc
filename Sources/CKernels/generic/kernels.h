#include "vector.h"

#include "functions.h"

#include "elementwise.h"
#include "lstm.h"
#include "multiply.h"
#include "peak.h"
#include "training.h"
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
    .multiply_add = NAME(multiply_add),
    .multiply_transposed_add = NAME(multiply_transposed_add),
    .pack_transposed = NAME(pack_transposed),
    .tanh_back = NAME(tanh_back),
    .relu_back = NAME(relu_back),
    .add_column_sums = NAME(add_column_sums),
    .lstm_gates = NAME(lstm_gates),
    .lstm_gates_back = NAME(lstm_gates_back),
    .attend_back = NAME(attend_back),
    .attend_factor_back = NAME(attend_factor_back),
    .dequantize = NAME(dequantize),
    .adam = NAME(adam),
};
