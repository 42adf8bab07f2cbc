// Resampling in fixed point. Vectors hold 16 values whatever the instruction set; the compiler
// takes as many registers as that needs.

typedef uint8_t bytes16 __attribute__((ext_vector_type(16)));
typedef int32_t ints16 __attribute__((ext_vector_type(16)));
typedef uint32_t pixels4 __attribute__((ext_vector_type(4)));

INLINE bytes16 load_bytes(const uint8_t *from) {
    bytes16 x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE ints16 one_half(void) { return (ints16)(1 << (FRACTION_BITS - 1)); }

INLINE ints16 widened(bytes16 x) { return __builtin_convertvector(x, ints16); }

// Thousands of weights, each rounded up, can exceed 1 together.
INLINE bytes16 rounded(ints16 sums) {
    return __builtin_convertvector(
        __builtin_elementwise_min(sums >> FRACTION_BITS, (ints16)(255)), bytes16);
}

// Four vectors of four pixels each; pixel j of vector i becomes pixel i of vector j.
INLINE void transpose(pixels4 v[4]) {
    pixels4 low01 = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    pixels4 high01 = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    pixels4 low23 = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    pixels4 high23 = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

static void NAME(gather_columns)(const uint8_t *const rows[BAND], size_t columns,
                                 band_column *band) {
    for (size_t x = 0; x < columns; x += 4) {
        pixels4 v[4];
        for (int y = 0; y < BAND; y++) memcpy(&v[y], rows[y] + 4 * x, sizeof v[y]);
        transpose(v);
        memcpy(band + x, v, sizeof v);
    }
}

static void NAME(resample_band)(const taps *taps, size_t targets, const band_column *band,
                                uint8_t *const rows[BAND]) {
    for (size_t target = 0; target < targets; target += TARGETS) {
        pixels4 v[TARGETS];
        for (size_t i = 0; i < TARGETS; i++) {
            const band_column *column = band + taps->first[target + i];
            const int32_t *weights = taps->weights + (target + i) * (size_t)taps->stride;
            int count = taps->count[target + i];
            ints16 sums = one_half();
            for (int tap = 0; tap < count; tap++)
                sums += widened(load_bytes(column[tap].values)) * weights[tap];
            v[i] = (pixels4)rounded(sums);
        }
        transpose(v);
        for (int y = 0; y < BAND; y++) {
            bytes16 rgbx = (bytes16)v[y];
            bytes16 rgb = __builtin_shufflevector(rgbx, rgbx, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13,
                                                  14, 3, 7, 11, 15);
            memcpy(rows[y] + 3 * target, &rgb, sizeof rgb);
        }
    }
}

static void NAME(blend_rows)(const row_ring *ring, int first, int count, const int32_t *weights,
                             size_t bytes, uint8_t *row) {
    enum { VECTORS = ROW_UNIT / 16 };
    const uint8_t *end = ring->rows + (size_t)ring->capacity * ring->row_bytes;
    const uint8_t *start = ring->rows + (size_t)(first % ring->capacity) * ring->row_bytes;
    for (size_t x = 0; x < bytes; x += ROW_UNIT) {
        ints16 sums[VECTORS];
        for (int i = 0; i < VECTORS; i++) sums[i] = one_half();
        const uint8_t *source = start;
        for (int tap = 0; tap < count; tap++) {
            for (int i = 0; i < VECTORS; i++)
                sums[i] += widened(load_bytes(source + x + 16 * i)) * weights[tap];
            source += ring->row_bytes;
            if (source == end) source = ring->rows;
        }
        bytes16 blended[VECTORS];
        for (int i = 0; i < VECTORS; i++) blended[i] = rounded(sums[i]);
        size_t left = bytes - x;
        memcpy(row + x, blended, left < ROW_UNIT ? left : ROW_UNIT);
    }
}
