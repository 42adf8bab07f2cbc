#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// The weights must come out the same on every machine.
#pragma STDC FP_CONTRACT OFF

enum { FRACTION_BITS = 22 };

static const int32_t ONE_HALF = 1 << (FRACTION_BITS - 1);

static double triangle(double x) {
    double distance = fabs(x);
    return distance < 1.0 ? 1.0 - distance : 0.0;
}

static double half_width(int source_size, int target_size) {
    double scale = (double)source_size / target_size;
    return scale > 1.0 ? scale : 1.0;
}

static int taps_stride(int source_size, int target_size) {
    return 2 * (int)ceil(half_width(source_size, target_size)) + 1;
}

static uint64_t taps_memory_bytes(int source_size, int target_size) {
    uint64_t ints_per_target = 2 + (uint64_t)taps_stride(source_size, target_size);
    return (uint64_t)target_size * ints_per_target * sizeof(int32_t);
}

static int taps_init(taps *t, int source_size, int target_size) {
    t->stride = taps_stride(source_size, target_size);
    t->first = malloc((size_t)target_size * sizeof(int));
    t->count = malloc((size_t)target_size * sizeof(int));
    t->weights = malloc((size_t)target_size * (size_t)t->stride * sizeof(int32_t));
    double *exact = malloc((size_t)t->stride * sizeof(double));
    if (!t->first || !t->count || !t->weights || !exact) {
        free(exact);
        return 0;
    }

    double scale = (double)source_size / target_size;
    double support = half_width(source_size, target_size);
    double inverse_support = 1.0 / support;
    for (int target = 0; target < target_size; target++) {
        double center = (target + 0.5) * scale;
        int first = (int)(center - support + 0.5);
        if (first < 0) {
            first = 0;
        }
        int end = (int)(center + support + 0.5);
        if (end > source_size) {
            end = source_size;
        }
        int count = end - first;

        double total = 0.0;
        for (int i = 0; i < count; i++) {
            exact[i] = triangle((i + first - center + 0.5) * inverse_support);
            total += exact[i];
        }
        int32_t *weights = t->weights + (size_t)target * (size_t)t->stride;
        for (int i = 0; i < count; i++) {
            double weight = total != 0.0 ? exact[i] / total : exact[i];
            weights[i] = (int32_t)(0.5 + weight * (1 << FRACTION_BITS));
        }
        t->first[target] = first;
        t->count[target] = count;
    }
    free(exact);
    return 1;
}

static void taps_free(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weights);
}

uint64_t resampler_memory_bytes(int width, int height, int side) {
    uint64_t row = 3 * (uint64_t)side;
    return taps_memory_bytes(width, side) + taps_memory_bytes(height, side) + row +
           row * (uint64_t)side * sizeof(int32_t);
}

int resampler_init(resampler *r, int width, int height, int side) {
    memset(r, 0, sizeof *r);
    r->side = side;
    size_t row = 3 * (size_t)side;
    r->row = malloc(row);
    r->sums = malloc(row * (size_t)side * sizeof(int32_t));
    if (!r->row || !r->sums) {
        return 0;
    }
    for (size_t i = 0; i < row * (size_t)side; i++) {
        r->sums[i] = ONE_HALF;
    }
    return taps_init(&r->horizontal, width, side) && taps_init(&r->vertical, height, side);
}

void resampler_free(resampler *r) {
    taps_free(&r->horizontal);
    taps_free(&r->vertical);
    free(r->row);
    free(r->sums);
}

// Thousands of weights, each rounded up, can exceed 1 together.
static inline uint8_t rounded(int32_t sum) {
    int32_t value = sum >> FRACTION_BITS;
    return value > 255 ? 255 : (uint8_t)value;
}

static void resample_row(const taps *t, int side, const uint8_t *rgbx, uint8_t *restrict row) {
    for (int x = 0; x < side; x++) {
        const uint8_t *pixel = rgbx + 4 * (size_t)t->first[x];
        const int32_t *weights = t->weights + (size_t)x * (size_t)t->stride;
        int count = t->count[x];
        int32_t red = ONE_HALF, green = ONE_HALF, blue = ONE_HALF;
        for (int i = 0; i < count; i++, pixel += 4) {
            red += pixel[0] * weights[i];
            green += pixel[1] * weights[i];
            blue += pixel[2] * weights[i];
        }
        row[3 * x] = rounded(red);
        row[3 * x + 1] = rounded(green);
        row[3 * x + 2] = rounded(blue);
    }
}

static void add_row(int32_t *restrict sums, const uint8_t *restrict row, int32_t weight,
                    size_t count) {
    for (size_t i = 0; i < count; i++) {
        sums[i] += row[i] * weight;
    }
}

// The vertical pass is turned inside out: rather than gathering the source rows of a target row,
// each source row is added to the target rows that it belongs to. Integer sums do not depend on
// their order.
void resampler_push(resampler *r, const uint8_t *rgbx, uint8_t *rgb) {
    size_t row_size = 3 * (size_t)r->side;
    int source = r->next_row++;
    resample_row(&r->horizontal, r->side, rgbx, r->row);

    const taps *t = &r->vertical;
    for (int target = r->first_open_row; target < r->side && t->first[target] <= source;
         target++) {
        int tap = source - t->first[target];
        if (tap >= t->count[target]) {
            continue;
        }
        int32_t *sums = r->sums + (size_t)target * row_size;
        add_row(sums, r->row, t->weights[(size_t)target * (size_t)t->stride + (size_t)tap],
                row_size);
        if (tap == t->count[target] - 1) {
            for (size_t i = 0; i < row_size; i++) {
                rgb[(size_t)target * row_size + i] = rounded(sums[i]);
            }
            if (target == r->first_open_row) {
                r->first_open_row++;
            }
        }
    }
}
