// What the other kernels are compared with.

#include "kernels.h"

static void gather_columns(const uint8_t *const rows[BAND], size_t columns, band_column *band) {
    for (size_t x = 0; x < columns; x++) {
        for (size_t y = 0; y < BAND; y++) {
            memcpy(band[x].values + 4 * y, rows[y] + 4 * x, 4);
        }
    }
}

static int32_t one_half(void) { return 1 << (FRACTION_BITS - 1); }

static uint8_t rounded(int32_t sum) {
    int32_t value = sum >> FRACTION_BITS;
    return value > 255 ? 255 : (uint8_t)value;
}

static void resample_band(const taps *taps, size_t targets, const band_column *band,
                          uint8_t *const rows[BAND]) {
    for (size_t target = 0; target < targets; target++) {
        const band_column *columns = band + taps->first[target];
        const int32_t *weights = taps->weights + target * (size_t)taps->stride;
        for (size_t y = 0; y < BAND; y++) {
            for (size_t channel = 0; channel < 3; channel++) {
                int32_t sum = one_half();
                for (int tap = 0; tap < taps->count[target]; tap++) {
                    sum += columns[tap].values[4 * y + channel] * weights[tap];
                }
                rows[y][3 * target + channel] = rounded(sum);
            }
        }
    }
}

static void blend_rows(const row_ring *ring, int first, int count, const int32_t *weights,
                       size_t bytes, uint8_t *row) {
    for (size_t x = 0; x < bytes; x++) {
        int32_t sum = one_half();
        for (int tap = 0; tap < count; tap++) {
            size_t slot = (size_t)((first + tap) % ring->capacity);
            sum += ring->rows[slot * ring->row_bytes + x] * weights[tap];
        }
        row[x] = rounded(sum);
    }
}

static void gather_nothing(const uint8_t *const rows[BAND], size_t columns, band_column *band) {
    (void)rows, (void)columns, (void)band;
}

static void resample_nothing(const taps *taps, size_t targets, const band_column *band,
                             uint8_t *const rows[BAND]) {
    (void)taps, (void)targets, (void)band, (void)rows;
}

static void blend_nothing(const row_ring *ring, int first, int count, const int32_t *weights,
                          size_t bytes, uint8_t *row) {
    (void)ring, (void)first, (void)count, (void)weights;
    memset(row, 0, bytes);
}

static const cjpeg_kernels libjpeg_alone = {
    .name = "libjpeg alone",
    .gather_columns = gather_nothing,
    .resample_band = resample_nothing,
    .blend_rows = blend_nothing,
};

const cjpeg_kernels *cjpeg_libjpeg_alone(void) { return &libjpeg_alone; }

static const cjpeg_kernels reference = {
    .name = "reference",
    .gather_columns = gather_columns,
    .resample_band = resample_band,
    .blend_rows = blend_rows,
};

const cjpeg_kernels *cjpeg_reference_kernels(void) { return &reference; }
