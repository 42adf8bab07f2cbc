// Every kernel against plain loops in float64, at every rest that its loops can leave, for every
// instruction set that this machine, or the emulator that runs this program, can run.
//
// Scripts/test-kernels builds and runs it, for arm64 too. No Swift: a cross-compiled C program is
// all that an emulator needs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

// An image that lies within a larger one: around it are as many pixels as a kernel could touch that
// takes a part of a tile for a whole one, and all of them hold `value`.
enum { MARGIN = CK_TILE + 2 };
static ck_image framed(ptrdiff_t side, size_t channels, float value) {
    const ptrdiff_t whole = side + 2 * MARGIN;
    const size_t count = (size_t)(whole * whole) * channels;
    float *memory = floats(count);
    for (size_t i = 0; i < count; i++) memory[i] = value;
    return (ck_image){memory, side, side, (ptrdiff_t)channels, -MARGIN, -MARGIN, whole};
}

// Whether nothing but the image itself was written.
static int frame_holds(const ck_image *image, float value) {
    for (ptrdiff_t y = -MARGIN; y < image->height + MARGIN; y++)
        for (ptrdiff_t x = -MARGIN; x < image->width + MARGIN; x++) {
            if (y >= 0 && x >= 0 && y < image->height && x < image->width) continue;
            for (ptrdiff_t c = 0; c < image->channels; c++)
                if (ck_pixel(image, y, x)[c] != value) return 0;
        }
    return 1;
}

static void test_multiply(const ck_kernels *kernels, size_t rows, size_t k) {
    const size_t panel = kernels->panel, stride = 2 * panel;
    float *a = noises(rows * (k + 3)), *w = noises(k * panel), *bias = noises(panel);
    float *c = floats(rows * stride), *relu = floats(rows * stride);
    for (size_t i = 0; i < rows * stride; i++) c[i] = relu[i] = 7;
    kernels->multiply(a, k + 3, rows, w, k, c, stride);
    kernels->multiply_relu(a, k + 3, rows, w, k, bias, relu, stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < stride; j++) {
            double sum = 0, scale = 0;
            for (size_t i = 0; j < panel && i < k; i++) {
                const double term = (double)a[r * (k + 3) + i] * w[i * panel + j];
                sum += term;
                scale += fabs(term);
            }
            const double limit = 1e-6 * (scale + 1), with_bias = j < panel ? sum + bias[j] : 0;
            const double expected = j < panel ? sum : 7;
            const double expected_relu = j < panel ? (with_bias > 0 ? with_bias : 0) : 7;
            const double error = fabs(c[r * stride + j] - expected);
            const double error_relu = fabs(relu[r * stride + j] - expected_relu);
            expect(error <= limit, "multiply", kernels->name, (long)rows, (long)k, error);
            expect(error_relu <= limit, "multiply_relu", kernels->name, (long)rows, (long)k, error_relu);
        }
    free(a), free(w), free(bias), free(c), free(relu);
}

// A whole convolution by Winograd, in two uneven pieces. Around the image lies what would spoil every
// sum that it got into, and around the results what must not be written to.
static void test_winograd(const ck_kernels *kernels, ptrdiff_t side, size_t inputs, size_t outputs) {
    const size_t panel = kernels->panel, panels = (outputs + panel - 1) / panel;
    const size_t in = (inputs + panel - 1) / panel * panel, out = panels * panel;
    const size_t tiles = ck_tiles(side) * ck_tiles(side);
    const ck_image image = framed(side, in, NAN);
    for (ptrdiff_t p = 0; p < side * side; p++)
        for (size_t c = 0; c < in; c++)
            ck_pixel(&image, p / side, p % side)[c] = c < inputs ? noise() : 0;
    float *weight = noises(outputs * inputs * 9), *bias = floats(out);
    for (size_t o = 0; o < out; o++) bias[o] = o < outputs ? noise() : 0;

    float *packed = floats(CK_POINTS * panels * inputs * panel);
    for (size_t j = 0; j < panels; j++)
        ck_winograd_pack(weight, outputs, inputs, j * panel, panel, packed + j * inputs * panel,
                         panels * inputs * panel);
    float *v = floats(CK_POINTS * (tiles * in + 16)), *m = floats(CK_POINTS * (tiles * out + 16));
    const ck_image result = framed(side, out, -7), pooled = framed(side / 2, out, -7);
    for (size_t piece = 0; piece < 2; piece++) {
        const size_t first = piece ? tiles / 3 : 0, count = (piece ? tiles : tiles / 3) - first;
        const size_t vs = count * in + 16, ms = count * out + 16;
        kernels->evaluate_tiles(&image, first, count, v, vs);
        for (size_t point = 0; point < CK_POINTS; point++)
            for (size_t j = 0; j < panels; j++)
                kernels->multiply(v + point * vs, in, count,
                                  packed + (point * panels + j) * inputs * panel, inputs,
                                  m + point * ms + j * panel, out);
        kernels->interpolate_tiles(0, m, ms, bias, side, side, first, count, &result);
        kernels->interpolate_tiles(1, m, ms, bias, side, side, first, count, &pooled);
    }

    expect(frame_holds(&result, -7), "winograd outside", kernels->name, side, (long)inputs, 0);
    expect(frame_holds(&pooled, -7), "winograd pooled outside", kernels->name, side, (long)inputs, 0);
    for (ptrdiff_t y = 0; y < side; y++)
        for (ptrdiff_t x = 0; x < side; x++)
            for (size_t o = 0; o < out; o++) {
                double sum = bias[o];
                for (ptrdiff_t ky = 0; o < outputs && ky < 3; ky++)
                    for (ptrdiff_t kx = 0; kx < 3; kx++) {
                        const ptrdiff_t iy = y + ky - 1, ix = x + kx - 1;
                        if (iy < 0 || ix < 0 || iy >= side || ix >= side) continue;
                        for (size_t c = 0; c < inputs; c++)
                            sum += (double)ck_pixel(&image, iy, ix)[c] *
                                   weight[(o * inputs + c) * 9 + (size_t)(ky * 3 + kx)];
                    }
                const double expected = sum > 0 ? sum : 0;
                const double error = fabs(ck_pixel(&result, y, x)[o] - expected);
                expect(error < 2e-5 * (double)(1 + inputs), "winograd", kernels->name, side, (long)inputs, error);
            }
    for (ptrdiff_t y = 0; y < side / 2; y++)
        for (ptrdiff_t x = 0; x < side / 2; x++)
            for (size_t o = 0; o < out; o++) {
                float largest = 0;
                for (int i = 0; i < 4; i++) {
                    const float value = ck_pixel(&result, 2 * y + i / 2, 2 * x + i % 2)[o];
                    if (value > largest) largest = value;
                }
                const double error = fabs(ck_pixel(&pooled, y, x)[o] - largest);
                expect(error < 1e-6, "winograd pooled", kernels->name, side, (long)inputs, error);
            }
    free(image.pixels), free(weight), free(bias), free(packed), free(v), free(m);
    free(result.pixels), free(pooled.pixels);
}

static void test_pack(const ck_kernels *kernels, size_t rows, size_t columns) {
    const size_t panel = kernels->panel, panels = (columns + panel - 1) / panel;
    float *from = noises(rows * (columns + 1)), *to = floats(panels * rows * panel);
    kernels->pack(from, columns + 1, rows, columns, to);
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < panel; j++) {
                const size_t c = p * panel + j;
                const float expected = c < columns ? from[r * (columns + 1) + c] : 0;
                const double error = fabs(to[(p * rows + r) * panel + j] - expected);
                expect(error == 0, "pack", kernels->name, (long)rows, (long)columns, error);
            }
    free(from), free(to);
}

static void test_columns(const ck_kernels *kernels, size_t rows) {
    const size_t columns = 3 * kernels->panel;
    float *x = noises(rows * columns), *factor = noises(columns), *scaled = noises(rows * columns);
    float *mean = floats(columns), *sum = floats(columns);
    memcpy(scaled, x, rows * columns * sizeof(float));
    memcpy(sum, factor, columns * sizeof(float));
    kernels->scale_columns(scaled, factor, rows, columns);
    kernels->column_means(x, rows, columns, mean);
    kernels->add_scaled(sum, x, 3, columns);
    for (size_t c = 0; c < columns; c++) {
        double total = 0;
        for (size_t r = 0; r < rows; r++) {
            total += x[r * columns + c];
            const double error = fabs(scaled[r * columns + c] - (double)x[r * columns + c] * factor[c]);
            expect(error < 1e-7, "scale_columns", kernels->name, (long)r, (long)c, error);
        }
        const double error = fabs(mean[c] - total / (double)rows);
        expect(error < 1e-6, "column_means", kernels->name, (long)rows, (long)c, error);
        const double error_sum = fabs(sum[c] - (factor[c] + 3.0 * x[c]));
        expect(error_sum < 1e-6, "add_scaled", kernels->name, (long)c, 0, error_sum);
    }
    free(x), free(factor), free(scaled), free(mean), free(sum);
}

static void test_dots(const ck_kernels *kernels, size_t a_rows, size_t b_rows) {
    const size_t k = 2 * kernels->panel, stride = b_rows + 1;
    float *a = noises(a_rows * k), *b = noises(b_rows * k), *c = floats(a_rows * stride);
    kernels->dots(a, a_rows, b, b_rows, k, c, stride);
    for (size_t i = 0; i < a_rows; i++)
        for (size_t j = 0; j < b_rows; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++) sum += (double)a[i * k + l] * b[j * k + l];
            const double error = fabs(c[i * stride + j] - sum);
            expect(error < 1e-5, "dots", kernels->name, (long)a_rows, (long)b_rows, error);
        }
    free(a), free(b), free(c);
}

// What is beyond the count is neither read nor written, but for the zeros that fill the panel up.
static void test_quantize(const ck_kernels *kernels, size_t count, float size) {
    const size_t filled = (count + kernels->panel - 1) / kernels->panel * kernels->panel;
    float *x = noises(count + 1), *back = floats(filled + kernels->panel);
    int8_t *kept = malloc(count + 2);
    if (!kept) exit(2);
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        x[i] *= size;
        largest = fmax(largest, fabs(x[i]));
    }
    x[count] = INFINITY, kept[0] = kept[count + 1] = -128;
    for (size_t i = 0; i < filled + kernels->panel; i++) back[i] = 7;
    const float scale = ck_quantize(x, count, kept + 1);
    kernels->dequantize(kept + 1, scale, count, back);
    expect(fabs(scale - largest / 127) <= 1e-7 * scale, "ck_quantize's scale", kernels->name,
           (long)count, 0, scale);
    expect(kept[0] == -128 && kept[count + 1] == -128, "ck_quantize's fences", kernels->name,
           (long)count, 0, 0);
    int top = 0;
    for (size_t i = 0; i < count; i++) {
        const int value = kept[i + 1];
        const double error = fabs(value * (double)scale - x[i]);
        top = abs(value) > top ? abs(value) : top;
        expect(error <= 0.5001 * scale, "ck_quantize", kernels->name, (long)count, (long)i, error);
        expect(back[i] == (float)value * scale, "dequantize", kernels->name, (long)count, (long)i,
               back[i]);
    }
    expect(top == (size > 0 && count > 0 ? 127 : 0), "ck_quantize's range", kernels->name,
           (long)count, top, 0);
    for (size_t i = count; i < filled + kernels->panel; i++)
        expect(back[i] == (i < filled ? 0 : 7), "dequantize's fences", kernels->name, (long)count,
               (long)i, back[i]);
    free(x), free(back), free(kept);
}

// Halves go to the even neighbour, with either sign.
static void test_quantize_ties(void) {
    const float x[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 0};
    const int expected[] = {127, 0, 2, 2, 0, -2, -126, 0};
    int8_t kept[8];
    expect(ck_quantize(x, 8, kept) == 1, "ck_quantize's scale of ties", "any", 0, 0, 0);
    for (int i = 0; i < 8; i++)
        expect(kept[i] == expected[i], "ck_quantize's ties", "any", i, kept[i], x[i]);
    const float small[] = {0x1p-120f, 0};
    expect(ck_quantize(small, 2, kept) == 0 && kept[0] == 0, "ck_quantize of next to nothing",
           "any", 0, kept[0], 0);
}

static void test_functions(const ck_kernels *kernels) {
    const size_t count = 64 * kernels->panel;
    float *x = floats(count), *tangent = floats(count), *softmax = floats(count);
    for (size_t i = 0; i < count; i++) x[i] = tangent[i] = softmax[i] = 40 * noise();
    kernels->tanh(tangent, count);
    kernels->softmax(softmax, count);
    double total = 0;
    for (size_t i = 0; i < count; i++) total += exp(x[i]);
    for (size_t i = 0; i < count; i++) {
        const double error = fabs(tangent[i] - tanh(x[i]));
        const double error_softmax = fabs(softmax[i] / (exp(x[i]) / total) - 1);
        expect(error < 3e-7, "tanh", kernels->name, (long)i, 0, error);
        expect(error_softmax < 1e-5, "softmax", kernels->name, (long)i, 0, error_softmax);
    }
    free(x), free(tangent), free(softmax);
}

static void test_lstm(const ck_kernels *kernels, size_t k, int hard) {
    const size_t panel = kernels->panel;
    float *input = noises(4 * panel), *bias = noises(4 * panel), *previous = noises(k + 1);
    float *recurrent = noises(k * 4 * panel + 1), *cell = noises(panel), *before = floats(panel);
    float *hidden = floats(panel);
    memcpy(before, cell, panel * sizeof(float));
    kernels->lstm(input, bias, previous, k, recurrent, cell, hidden, hard);
    for (size_t u = 0; u < panel; u++) {
        double z[4];
        for (size_t g = 0; g < 4; g++) {
            z[g] = (double)input[g * panel + u] + bias[g * panel + u];
            for (size_t i = 0; i < k; i++)
                z[g] += (double)previous[i] * recurrent[(i * 4 + g) * panel + u];
        }
        const double c = gate(z[1], hard) * before[u] + gate(z[0], hard) * tanh(z[2]);
        const double error = fabs(cell[u] - c) + fabs(hidden[u] - gate(z[3], hard) * tanh(c));
        expect(error < 5e-6, "lstm", kernels->name, (long)k, hard, error);
    }
    free(input), free(bias), free(previous), free(recurrent), free(cell), free(before), free(hidden);
}

int main(void) {
    for (size_t i = 0; ck_kernels_at(i); i++) {
        const ck_kernels *kernels = ck_kernels_at(i);
        const int before = failures;
        for (size_t rows = 1; rows <= 30; rows++)
            for (size_t k = 1; k <= 70; k++) test_multiply(kernels, rows, k);
        test_multiply(kernels, 13, 512);
        for (ptrdiff_t side = 1; side <= 20; side++) test_winograd(kernels, side, 3, 5);
        for (size_t channels = 1; channels <= 70; channels += 3) test_winograd(kernels, 13, channels, 71 - channels);
        for (size_t columns = 1; columns <= 150; columns += 7) test_pack(kernels, columns % 5 + 1, columns);
        for (size_t rows = 1; rows <= 9; rows++) {
            test_columns(kernels, rows);
            for (size_t others = 1; others <= 9; others++) test_dots(kernels, rows, others);
        }
        for (size_t count = 0; count <= 150; count++) {
            test_quantize(kernels, count, 2);
            test_quantize(kernels, count, 1e-20f);
            test_quantize(kernels, count, 0);
        }
        test_quantize_ties();
        test_functions(kernels);
        for (size_t k = 0; k <= 40; k++) test_lstm(kernels, k, (int)(k % 2));
        test_training(kernels);
        printf("%s: %s\n", kernels->name, failures == before ? "all kernels agree" : "FAILED");
    }
    return failures != 0;
}
