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
