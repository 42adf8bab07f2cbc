#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// The weights must come out the same on every machine.
#pragma STDC FP_CONTRACT OFF

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

static size_t rounded_up(size_t x, size_t unit) { return (x + unit - 1) / unit * unit; }

static uint64_t taps_memory_bytes(int source_size, int target_size) {
    uint64_t ints_per_target = 2 + (uint64_t)taps_stride(source_size, target_size);
    return rounded_up((size_t)target_size, TARGETS) * ints_per_target * sizeof(int32_t);
}

static int taps_init(taps *t, int source_size, int target_size) {
    t->stride = taps_stride(source_size, target_size);
    // Those beyond the last target have no weights.
    size_t targets = rounded_up((size_t)target_size, TARGETS);
    t->first = calloc(targets, sizeof(int));
    t->count = calloc(targets, sizeof(int));
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

// The horizontal pass reads whole groups of 4 pixels.
static size_t padded_width(int width) { return rounded_up((size_t)width, 4); }

// libjpeg-turbo writes rows that begin at a multiple of its vectors past the caches, and reading
// them back from memory takes as long as all of the resampling.
enum { MISALIGNMENT = 4 };

static size_t source_row_bytes(int width) {
    return rounded_up(4 * padded_width(width) + MISALIGNMENT, ROW_UNIT);
}

// For vectors that do not straddle cache lines.
static void *zeros(size_t bytes) {
    void *memory = aligned_alloc(ROW_UNIT, rounded_up(bytes, ROW_UNIT));
    return memory ? memset(memory, 0, bytes) : NULL;
}

// The horizontal pass writes whole groups of targets, and 4 bytes more.
static size_t ring_row_bytes(int side) {
    return rounded_up(3 * rounded_up((size_t)side, TARGETS) + 4, ROW_UNIT);
}

// The rows of a target row, the last of which is anywhere in its band.
static int ring_capacity(int height, int side) {
    return (int)rounded_up((size_t)taps_stride(height, side) + BAND - 1, BAND);
}

uint64_t resampler_memory_bytes(int width, int height, int side) {
    return taps_memory_bytes(width, side) + taps_memory_bytes(height, side) +
           BAND * source_row_bytes(width) + padded_width(width) * sizeof(band_column) +
           (uint64_t)ring_capacity(height, side) * ring_row_bytes(side);
}

int resampler_init(resampler *r, const cjpeg_kernels *kernels, int width, int height, int side) {
    memset(r, 0, sizeof *r);
    r->kernels = kernels;
    r->width = width;
    r->height = height;
    r->side = side;
    size_t row_bytes = source_row_bytes(width);
    r->source = zeros(BAND * row_bytes);
    r->columns = zeros(padded_width(width) * sizeof(band_column));
    r->resampled.row_bytes = ring_row_bytes(side);
    r->resampled.capacity = ring_capacity(height, side);
    r->resampled.rows = zeros((size_t)r->resampled.capacity * r->resampled.row_bytes);
    if (!r->source || !r->columns || !r->resampled.rows) {
        return 0;
    }
    for (size_t i = 0; i < BAND; i++) {
        r->rows[i] = r->source + i * row_bytes + MISALIGNMENT;
    }
    return taps_init(&r->horizontal, width, side) && taps_init(&r->vertical, height, side);
}

void resampler_free(resampler *r) {
    taps_free(&r->horizontal);
    taps_free(&r->vertical);
    free(r->source);
    free(r->columns);
    free(r->resampled.rows);
}

uint8_t **resampler_free_rows(resampler *r, int *count) {
    *count = BAND - r->rows_pushed;
    return r->rows + r->rows_pushed;
}

static void resample_band(resampler *r) {
    uint8_t *targets[BAND];
    int slot = (r->next_row - r->rows_pushed) % r->resampled.capacity;
    for (int i = 0; i < BAND; i++) {
        targets[i] = r->resampled.rows + (size_t)(slot + i) * r->resampled.row_bytes;
    }
    r->kernels->gather_columns((const uint8_t *const *)r->rows, padded_width(r->width),
                               r->columns);
    r->kernels->resample_band(&r->horizontal, rounded_up((size_t)r->side, TARGETS), r->columns,
                              targets);
}

void resampler_push(resampler *r, int count, uint8_t *rgb) {
    r->rows_pushed += count;
    r->next_row += count;
    if (r->rows_pushed < BAND && r->next_row < r->height) {
        return;
    }
    resample_band(r);
    r->rows_pushed = 0;

    const taps *t = &r->vertical;
    size_t target_bytes = 3 * (size_t)r->side;
    for (; r->next_target_row < r->side; r->next_target_row++) {
        int target = r->next_target_row;
        if (t->first[target] + t->count[target] > r->next_row) {
            break;
        }
        r->kernels->blend_rows(&r->resampled, t->first[target], t->count[target],
                               t->weights + (size_t)target * (size_t)t->stride, target_bytes,
                               rgb + (size_t)target * target_bytes);
    }
}
