#include "CKernels.h"

#include <math.h>
#include <string.h>

void ck_normalize_rgb(const uint8_t *rgb, size_t pixels, const float scale[3],
                      const float shift[3], int swap, float *out) {
    const size_t red = swap ? 2 : 0, blue = swap ? 0 : 2;
    for (size_t i = 0; i < pixels; i++) {
        out[3 * i + 0] = (float)rgb[3 * i + red] * scale[0] + shift[0];
        out[3 * i + 1] = (float)rgb[3 * i + 1] * scale[1] + shift[1];
        out[3 * i + 2] = (float)rgb[3 * i + blue] * scale[2] + shift[2];
    }
}

static inline float larger(float a, float b) { return a > b ? a : b; }

void ck_maxpool_2x2(const float *rows, size_t width, size_t channels, float *out) {
    const float *below = rows + width * channels;
    for (size_t x = 0; x < width / 2; x++, rows += 2 * channels, below += 2 * channels)
        for (size_t c = 0; c < channels; c++)
            *out++ = larger(larger(rows[c], rows[channels + c]),
                            larger(below[c], below[channels + c]));
}

float ck_sum(const float *x, size_t count) {
    enum { LANES = 32 };
    float sum[LANES] = {0};
    for (size_t i = 0; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) sum[l] += x[i + l];
    for (size_t i = count - count % LANES; i < count; i++) sum[0] += x[i];
    for (size_t l = 1; l < LANES; l++) sum[0] += sum[l];
    return sum[0];
}

void ck_prefetch(const float *from, size_t count) {
    for (size_t i = 0; i < count; i += CK_ALIGNMENT / sizeof(float))
        __builtin_prefetch(from + i, 0, 2);
}

int ck_all_finite(const float *x, size_t count, size_t *at) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i])) {
            *at = i;
            return 0;
        }
    return 1;
}

float ck_quantize(const float *x, size_t count, int8_t *to) {
    enum { LANES = 16 };
    float lane[LANES] = {0}, largest = 0;
    for (size_t i = 0; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] = larger(fabsf(x[i + l]), lane[l]);
    for (size_t i = count - count % LANES; i < count; i++) largest = larger(fabsf(x[i]), largest);
    for (size_t l = 0; l < LANES; l++) largest = larger(lane[l], largest);
    if (largest < 0x1p-100f) {
        memset(to, 0, count);
        return 0;
    }
    const float inverse = 127 / largest;
    // A float of this size has no room for a fraction: adding it rounds, and its low byte is what
    // was added.
    const float rounder = 0x1.8p23f;
    for (size_t i = 0; i < count; i++) {
        const float scaled = x[i] * inverse;
        const float sum = scaled + rounder;  // two statements: never fused into one rounding
        int32_t bits;
        memcpy(&bits, &sum, sizeof bits);
        to[i] = (int8_t)bits;
    }
    return largest / 127;
}

void ck_reference_conv_3x3(const double *image, size_t height, size_t width, size_t channels,
                           const double *weight, const double *bias, size_t outputs,
                           size_t first, size_t count, double *out) {
// A fused multiply-add would round differently where the machine has one.
#pragma clang fp contract(off)
    for (size_t y = first; y < first + count; y++)
        for (size_t x = 0; x < width; x++, out += outputs) {
            for (size_t o = 0; o < outputs; o++) out[o] = bias[o];
            for (size_t c = 0; c < channels; c++)
                for (size_t ky = 0; ky < 3; ky++)
                    for (size_t kx = 0; kx < 3; kx++) {
                        const size_t iy = y + ky, ix = x + kx;
                        if (iy < 1 || iy > height || ix < 1 || ix > width) continue;
                        const double v = image[((iy - 1) * width + ix - 1) * channels + c];
                        const double *w = weight + ((c * 3 + ky) * 3 + kx) * outputs;
                        for (size_t o = 0; o < outputs; o++) out[o] += v * w[o];
                    }
        }
}
