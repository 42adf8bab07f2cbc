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

void ck_tanh(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = tanhf(x[i]);
}

void ck_scale_columns(float *x, const float *factor, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++, x += columns)
        for (size_t c = 0; c < columns; c++) x[c] *= factor[c];
}

void ck_column_means(const float *x, size_t rows, size_t columns, float *mean) {
    memset(mean, 0, columns * sizeof(float));
    for (size_t r = 0; r < rows; r++, x += columns)
        for (size_t c = 0; c < columns; c++) mean[c] += x[c];
    const float scale = 1.0f / (float)rows;
    for (size_t c = 0; c < columns; c++) mean[c] *= scale;
}

static inline float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

static inline float hard_sigmoid(float x) {
    const float y = 0.2f * x + 0.5f;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}

void ck_lstm_step(const float *z, float *c, float *h, size_t d, int hard) {
    for (size_t k = 0; k < d; k++) {
        const float zi = z[k], zf = z[d + k], zg = z[2 * d + k], zo = z[3 * d + k];
        const float i = hard ? hard_sigmoid(zi) : logistic(zi);
        const float f = hard ? hard_sigmoid(zf) : logistic(zf);
        const float o = hard ? hard_sigmoid(zo) : logistic(zo);
        c[k] = f * c[k] + i * tanhf(zg);
        h[k] = o * tanhf(c[k]);
    }
}

void ck_softmax(float *x, size_t count) {
    if (count == 0) return;
    float top = x[0], sum = 0;
    for (size_t i = 1; i < count; i++) top = larger(top, x[i]);
    for (size_t i = 0; i < count; i++) sum += (x[i] = expf(x[i] - top));
    for (size_t i = 0; i < count; i++) x[i] /= sum;
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
