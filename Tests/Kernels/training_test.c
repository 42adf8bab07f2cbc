// The kernels of training against plain loops in float64. What is called a derivative is compared
// with the formula and, where the formula is not a single line, with central differences of the
// forward pass too.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

// Every array of a test lies between two fences, and so does every row of a matrix whose rows lie
// farther apart than they are long. The fences are signalling NaNs: what is computed from them is
// NaN, and is a quiet one, so that writing it back over a fence shows as well.
enum { FENCE = 1024, FENCE_BITS = 0x7fa00001, MAXIMUM_ARRAYS = 16 };

static struct {
    float *memory;
    size_t rows, columns, stride;
} arrays[MAXIMUM_ARRAYS];
static size_t array_count = 0;

// Noise.
static float *matrix(size_t rows, size_t columns, size_t stride) {
    if (array_count == MAXIMUM_ARRAYS) abort();
    const size_t count = FENCE + rows * stride + FENCE;
    const uint32_t bits = FENCE_BITS;
    float *memory = floats(count);
    for (size_t i = 0; i < count; i++) memcpy(memory + i, &bits, sizeof bits);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) memory[FENCE + r * stride + c] = noise();
    arrays[array_count].memory = memory, arrays[array_count].rows = rows;
    arrays[array_count].columns = columns, arrays[array_count].stride = stride;
    array_count += 1;
    return memory + FENCE;
}

static float *array(size_t count) { return matrix(1, count, count); }

static float *copy(const float *x, size_t count) {
    return memcpy(array(count), x, count * sizeof(float));
}

// Ends a test: looks at the fences of its arrays and frees them.
static void end(const char *what, const ck_kernels *kernels, size_t a, size_t b) {
    int whole = 1;
    while (array_count > 0) {
        array_count -= 1;
        const float *memory = arrays[array_count].memory;
        const size_t rows = arrays[array_count].rows, stride = arrays[array_count].stride;
        for (size_t i = 0; i < FENCE + rows * stride + FENCE; i++) {
            const int inside = i >= FENCE && i < FENCE + rows * stride;
            if (inside && (i - FENCE) % stride < arrays[array_count].columns) continue;
            uint32_t bits;
            memcpy(&bits, memory + i, sizeof bits);
            if (bits != FENCE_BITS) whole = 0;
        }
        free(arrays[array_count].memory);
    }
    expect(whole, what, kernels->name, (long)a, (long)b, NAN);
}

static void test_products(const ck_kernels *kernels, size_t rows, size_t k) {
    const size_t panel = kernels->panel, stride = 2 * panel;
    const float *a = matrix(rows, k, k + 3), *transposed = matrix(k, rows, rows + 3);
    const float *w = array(k * panel);
    float *c = matrix(rows, panel, stride), *d = matrix(rows, panel, stride);
    const float *c_before = copy(c, rows * stride);
    const float *d_before = copy(d, rows * stride);
    kernels->multiply_add(a, k + 3, rows, w, k, c, stride);
    kernels->multiply_transposed_add(transposed, rows + 3, rows, w, k, d, stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < panel; j++) {
            const size_t at = r * stride + j;
            double sum = c_before[at], scale = 1, sum_transposed = d_before[at];
            for (size_t i = 0; i < k; i++) {
                sum += (double)a[r * (k + 3) + i] * w[i * panel + j];
                sum_transposed += (double)transposed[i * (rows + 3) + r] * w[i * panel + j];
                scale += fabs(w[i * panel + j]) / 2;
            }
            const double error = fabs(c[at] - sum), error_transposed = fabs(d[at] - sum_transposed);
            expect(error < 1e-6 * scale, "multiply_add", kernels->name, (long)rows, (long)k, error);
            expect(error_transposed < 1e-6 * scale, "multiply_transposed_add", kernels->name,
                   (long)rows, (long)k, error_transposed);
        }
    end("products' fences", kernels, rows, k);
}

static void test_pack_transposed(const ck_kernels *kernels, size_t rows, size_t columns) {
    const size_t panel = kernels->panel, panels = (columns + panel - 1) / panel;
    const float *from = matrix(columns, rows, rows + 1);
    float *to = array(panels * rows * panel);
    kernels->pack_transposed(from, rows + 1, rows, columns, to);
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < panel; j++) {
                const size_t c = p * panel + j;
                const float expected = c < columns ? from[c * (rows + 1) + r] : 0;
                const double error = fabs(to[(p * rows + r) * panel + j] - expected);
                expect(error == 0, "pack_transposed", kernels->name, (long)rows, (long)columns,
                       error);
            }
    end("pack_transposed's fences", kernels, rows, columns);
}

static void test_slopes(const ck_kernels *kernels, size_t count) {
    static const float values[] = {0, -0.0f, 1, -1, 1e-40f, -1e-40f, 0.999f, 1e30f};
    float *y = array(count), *tanh_x = array(count), *relu_x = array(count);
    for (size_t i = 0; i < count; i += 3) y[i] = values[i % 8];
    const float *x = copy(tanh_x, count);
    memcpy(relu_x, x, count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        if (y[i] <= 0 && i % 2 == 0) relu_x[i] = INFINITY;  // 0 times this would not be 0
    kernels->relu_back(relu_x, y, count);
    for (size_t i = 0; i < count; i++) {
        const double error = fabs(relu_x[i] - (y[i] > 0 ? x[i] : 0));
        expect(error == 0, "relu_back", kernels->name, (long)i, (long)count, error);
    }
    for (size_t i = 0; i < count; i++)
        if (fabsf(y[i]) > 1) y[i] = 1;
    kernels->tanh_back(tanh_x, y, count);
    for (size_t i = 0; i < count; i++) {
        const double error = fabs(tanh_x[i] - x[i] * (1 - (double)y[i] * y[i]));
        expect(error < 1e-7, "tanh_back", kernels->name, (long)i, (long)count, error);
    }
    end("slopes' fences", kernels, count, 0);
}

static void test_column_sums(const ck_kernels *kernels, size_t rows, size_t columns,
                             float shift) {
    const size_t stride = columns + kernels->panel;
    float *x = matrix(rows, columns, stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) x[r * stride + c] += shift;
    float *sum = array(columns);
    const float *before = copy(sum, columns);
    kernels->add_column_sums(x, stride, rows, columns, sum);
    for (size_t c = 0; c < columns; c++) {
        double expected = before[c], scale = 1;
        for (size_t r = 0; r < rows; r++) {
            expected += x[r * stride + c];
            scale += fabs(x[r * stride + c]);
        }
        const double error = fabs(sum[c] - expected);
        expect(error < 1e-6 * scale, "add_column_sums", kernels->name, (long)rows,
               (long)c, error);
    }
    end("add_column_sums' fences", kernels, rows, columns);
}

enum { INPUT, FORGET, CANDIDATE, OUTPUT, GATES };

typedef struct {
    double gates[GATES], cell, hidden;
} lstm_unit;

static lstm_unit plain_lstm(const double z[GATES], double before, int hard) {
    lstm_unit unit;
    for (int g = 0; g < GATES; g++) unit.gates[g] = g == CANDIDATE ? tanh(z[g]) : gate(z[g], hard);
    unit.cell = unit.gates[FORGET] * before + unit.gates[INPUT] * unit.gates[CANDIDATE];
    unit.hidden = unit.gates[OUTPUT] * tanh(unit.cell);
    return unit;
}

static void test_lstm_gates(const ck_kernels *kernels, size_t width, int first, int hard) {
    static const float extremes[] = {100, -100, 1e30f, -1e30f};
    float *gates = array(GATES * width), *bias = array(GATES * width), *before = array(width);
    float *cell = array(width), *hidden = array(width);
    for (size_t i = 0; i < GATES * width; i++)
        gates[i] = i % 7 == 3 ? extremes[i / 7 % 4] : 10 * gates[i];
    for (size_t i = 0; i < width; i++) before[i] *= 4;
    const float *z = copy(gates, GATES * width);
    kernels->lstm_gates(gates, bias, first ? 0 : before, cell, hidden, width, hard);

    const float *values = copy(gates, GATES * width);
    float *hidden_back = array(width), *cell_back = array(width);
    const float *later = copy(cell_back, width);
    kernels->lstm_gates_back(gates, first ? 0 : before, cell, hidden_back, cell_back, width, hard);

    for (size_t j = 0; j < width; j++) {
        // Of what is inside the gates, and last the cell before.
        double x[GATES + 1];
        for (size_t g = 0; g < GATES; g++) x[g] = (double)z[g * width + j] + bias[g * width + j];
        x[GATES] = first ? 0 : before[j];
        const lstm_unit unit = plain_lstm(x, x[GATES], hard);
        double error = fabs(cell[j] - unit.cell) + fabs(hidden[j] - unit.hidden);
        for (size_t g = 0; g < GATES; g++) error += fabs(values[g * width + j] - unit.gates[g]);
        expect(error < 4e-6, "lstm_gates", kernels->name, (long)j, hard, error);

        // The formula, at the values that the kernel was given.
        const double i = values[j], f = values[width + j], g = values[2 * width + j];
        const double o = values[3 * width + j], t = tanh(cell[j]);
        const double c = later[j] + hidden_back[j] * o * (1 - t * t);
        double formula[GATES + 1] = {c * g, c * x[GATES], c * i * (1 - g * g), hidden_back[j] * t,
                                     c * f};
        for (size_t n = 0; n <= GATES; n++) {
            const float back = n < GATES ? gates[n * width + j] : cell_back[j];
            if (n < GATES && n != CANDIDATE) {
                const double y = values[n * width + j];
                formula[n] *= hard ? (y > 0 && y < 1 ? 0.2 : 0) : y * (1 - y);
            }
            const double error_formula = fabs(back - formula[n]);
            expect(error_formula < 1e-6, "lstm_gates_back", kernels->name, (long)n, hard,
                   error_formula);

            // Central differences, except at the corners of hard gates.
            if (hard && n < GATES && fabs(fabs(x[n]) - 2.5) < 1e-3) continue;
            const double step = 1e-4, at = x[n];
            double loss[2];
            for (int side = 0; side < 2; side++) {
                x[n] = side ? at + step : at - step;
                const lstm_unit moved = plain_lstm(x, x[GATES], hard);
                loss[side] = hidden_back[j] * moved.hidden + later[j] * moved.cell;
            }
            x[n] = at;
            const double error_difference = fabs(back - (loss[1] - loss[0]) / (2 * step));
            expect(error_difference < 2e-6, "lstm_gates_back by differences", kernels->name,
                   (long)n, hard, error_difference);
        }
    }
    end("lstm_gates' fences", kernels, width, (size_t)hard);
}

// A hard gate has no slope where it is 0 or 1, and has one as near to that as can be.
static void test_hard_corners(const ck_kernels *kernels) {
    const size_t width = kernels->panel;
    const float values[] = {0, 1, 1e-30f, 0x1.fffffep-1f};
    float *gates = array(GATES * width), *before = array(width), *cell = array(width);
    float *hidden_back = array(width), *cell_back = array(width);
    for (size_t i = 0; i < GATES * width; i++)
        if (i / width != CANDIDATE) gates[i] = values[i % 4];
    kernels->lstm_gates_back(gates, before, cell, hidden_back, cell_back, width, 1);
    for (size_t i = 0; i < GATES * width; i++)
        if (i / width != CANDIDATE)
            expect((gates[i] != 0) == (i % 4 > 1), "corners of hard gates", kernels->name,
                   (long)(i / width), (long)(i % 4), gates[i]);
    end("hard gates' fences", kernels, width, 1);
}

// summary_back . summary of the states (rows, width), of x (rows, width) that is inside gated, and
// of the factor, one after the other.
static double attention_loss(const double *parameters, size_t rows, size_t width,
                             const float *summary_back) {
    const double *states = parameters, *x = states + rows * width, *factor = x + rows * width;
    double loss = 0, total = 0;
    for (size_t r = 0; r < rows; r++) {
        double energy = 0, dot = 0;
        for (size_t j = 0; j < width; j++) {
            energy += factor[j] * tanh(x[r * width + j]);
            dot += states[r * width + j] * summary_back[j];
        }
        loss += exp(energy) * dot;
        total += exp(energy);
    }
    return loss / total;
}

// All states have a part in common: that often as large as the noise that tells them apart.
static void test_attend_back(const ck_kernels *kernels, size_t rows, size_t width,
                             int differences, float common) {
    const size_t size = rows * width, count = 2 * size + width;
    const float *factor = array(width), *summary_back = array(width);
    float *states = array(size), *gated = array(size), *weights = array(rows);
    float *energies_back = array(rows), *states_back = array(size);
    float *gated_back = array(size), *factor_back = array(width);
    double *parameters = malloc(count * sizeof(double)), *formula = malloc(count * sizeof(double));
    double *energies = malloc(rows * sizeof(double));
    if (!parameters || !formula || !energies) exit(2);
    for (size_t i = 0; i < size; i++)
        states[i] += summary_back[i % width] > 0 ? common : -common;
    double total = 0;
    for (size_t r = 0; r < rows; r++) {
        energies[r] = 0;
        for (size_t j = r * width; j < (r + 1) * width; j++) {
            parameters[j] = states[j], parameters[size + j] = 3 * gated[j];
            gated[j] = (float)tanh(parameters[size + j]);
            energies[r] += factor[j - r * width] * tanh(parameters[size + j]);
        }
        total += exp(energies[r]);
    }
    for (size_t j = 0; j < width; j++) parameters[2 * size + j] = factor[j];
    for (size_t r = 0; r < rows; r++) weights[r] = (float)(exp(energies[r]) / total);

    kernels->attend_back(states, gated, rows, width, weights, factor, summary_back, energies_back,
                         states_back, gated_back, factor_back);
    float *factor_alone = array(width), *energies_alone = array(rows);
    kernels->attend_factor_back(states, gated, rows, width, weights, summary_back, energies_alone,
                                factor_alone);

    // By the energies, and from them by all else.
    double mean = 0, sum = 0, scale = 1;
    for (size_t r = 0; r < rows; r++) {
        double dot = 0;
        for (size_t j = 0; j < width; j++) dot += (double)states[r * width + j] * summary_back[j];
        energies[r] = dot;
        mean += weights[r] * dot;
        sum += weights[r];
    }
    mean /= sum;
    for (size_t r = 0; r < rows; r++) scale = fmax(scale, fabs(energies[r] - mean));
    for (size_t j = 0; j < width; j++) formula[2 * size + j] = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < width; j++) {
            const size_t at = r * width + j;
            const double back = weights[r] * (energies[r] - mean), y = gated[at];
            formula[at] = (double)weights[r] * summary_back[j];
            formula[size + at] = back * factor[j] * (1 - y * y);
            formula[2 * size + j] += back * y;
        }
    for (size_t n = 0; n < count; n++) {
        const float back = n < size       ? states_back[n]
                           : n < 2 * size ? gated_back[n - size]
                                          : factor_back[n - 2 * size];
        const double row = n < 2 * size ? weights[n % size / width] : 1;
        const double error = fabs(back - formula[n]);
        expect(error < 2e-6 * row * scale, "attend_back", kernels->name, (long)rows, (long)n,
               error);
        if (n >= 2 * size) {
            const double error_alone = fabs(factor_alone[n - 2 * size] - formula[n]);
            expect(error_alone < 2e-6 * scale, "attend_factor_back", kernels->name, (long)rows,
                   (long)n, error_alone);
        }
        if (n % 7 != rows % 7 || !differences) continue;
        const double step = 1e-4, value = parameters[n];
        parameters[n] = value + step;
        const double above = attention_loss(parameters, rows, width, summary_back);
        parameters[n] = value - step;
        const double below = attention_loss(parameters, rows, width, summary_back);
        parameters[n] = value;
        const double error_difference = fabs(back - (above - below) / (2 * step));
        expect(error_difference < 4e-6 * scale, "attend_back by differences", kernels->name,
               (long)rows, (long)n, error_difference);
    }
    free(parameters), free(formula), free(energies);
    end("attend_back's fences", kernels, rows, width);
}

// Steps as the paper writes them. The gradients are of all sizes, down to those that only epsilon
// keeps from full steps, and some are 0 at first or for ever.
static void test_adam(const ck_kernels *kernels, size_t count, double epsilon) {
    const double rate = 0.01, scale = 0.25;
    ck_adam step = {.gradient_scale = (float)scale, .beta1 = 0.9f, .beta2 = 0.999f,
                    .epsilon = (float)epsilon};
    float *x = array(count), *gradient = array(count);
    float *mean = array(count), *square = array(count);
    double *expected = calloc(3 * count, sizeof(double));
    if (!expected) exit(2);
    for (size_t i = 0; i < count; i++) expected[i] = x[i], mean[i] = square[i] = 0;
    for (int t = 1; t <= 12; t++) {
        const double correction1 = 1 - pow(step.beta1, t), correction2 = 1 - pow(step.beta2, t);
        step.rate = (float)(rate / correction1), step.root_scale = (float)(1 / sqrt(correction2));
        for (size_t i = 0; i < count; i++) {
            const float size = (float)pow(10, (double)(i % 13) - 9);
            gradient[i] = i % 13 == 7 || (i % 13 == 8 && t < 4) ? 0 : size * (noise() + 0.2f);
        }
        kernels->adam(x, gradient, mean, square, count, &step);
        for (size_t i = 0; i < count; i++) {
            double *p = expected + i, *m = expected + count + i, *v = expected + 2 * count + i;
            const double g = scale * gradient[i];
            *m = step.beta1 * *m + (1 - (double)step.beta1) * g;
            *v = step.beta2 * *v + (1 - (double)step.beta2) * g * g;
            *p -= rate * (*m / correction1) / (sqrt(*v / correction2) + step.epsilon);
            // A mean may be the small rest of larger gradients; a square is a sum of squares.
            const double error = fabs(x[i] - *p);
            const double error_mean = fabs(mean[i] - *m) / (sqrt(*v) + 1e-30);
            const double error_square = fabs(square[i] - *v) / (*v + 1e-30);
            expect(error < 1e-7 * t, "adam", kernels->name, t, (long)i, error);
            expect(error_mean < 3e-6, "adam's mean", kernels->name, t, (long)i, error_mean);
            expect(error_square < 3e-6, "adam's square", kernels->name, t, (long)i,
                   error_square);
        }
    }
    free(expected);
    end("adam's fences", kernels, count, 0);
}

void test_training(const ck_kernels *kernels) {
    const size_t panel = kernels->panel;
    for (size_t rows = 0; rows <= 30; rows++)
        for (size_t k = 0; k <= 140; k += rows % 7 == 0 || k < 3 ? 1 : 9)
            test_products(kernels, rows, k);
    test_products(kernels, 13, 512);
    for (size_t columns = 1; columns <= 150; columns += 7)
        for (size_t rows = 0; rows <= 35; rows++) test_pack_transposed(kernels, rows, columns);
    for (size_t rows = 0; rows <= 9; rows++)
        for (size_t panels = 1; panels <= 3; panels++)
            test_column_sums(kernels, rows, panels * panel, 0);
    test_column_sums(kernels, 1000, panel, 0);
    test_column_sums(kernels, 10000, panel, 1);
    for (size_t panels = 1; panels <= 5; panels++) {
        const size_t count = panels * panel;
        test_slopes(kernels, count);
        test_adam(kernels, count, 1e-8);
        test_adam(kernels, count, 0.1);
        for (int first = 0; first < 2; first++)
            for (int hard = 0; hard < 2; hard++) test_lstm_gates(kernels, count, first, hard);
    }
    test_hard_corners(kernels);
    for (size_t rows = 1; rows <= 9; rows++)
        for (size_t panels = 1; panels <= 3; panels++)
            test_attend_back(kernels, rows, panels * panel, 1, 0);
    test_attend_back(kernels, 0, panel, 0, 0);
    test_attend_back(kernels, 196, 2 * panel, 0, 0);
    test_attend_back(kernels, 196, 2 * panel, 0, 100);
}
