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

void ck_im2col_3x3(const float *image, size_t height, size_t width, size_t channels,
                   size_t first, size_t count, float *out) {
    const size_t row = 3 * channels;  // kx and channel lie side by side in the image
    for (size_t n = 0; n < count; n++, out += 3 * row) {
        const size_t y = (first + n) / width, x = (first + n) % width;
        for (size_t ky = 0; ky < 3; ky++) {
            float *to = out + ky * row;
            const size_t iy = y + ky;  // one too many: the padding
            if (iy < 1 || iy > height) {
                memset(to, 0, row * sizeof(float));
                continue;
            }
            const float *line = image + (iy - 1) * width * channels;
            if (x >= 1 && x + 1 < width) {
                memcpy(to, line + (x - 1) * channels, row * sizeof(float));
                continue;
            }
            for (size_t kx = 0; kx < 3; kx++) {
                const size_t ix = x + kx;
                if (ix < 1 || ix > width)
                    memset(to + kx * channels, 0, channels * sizeof(float));
                else
                    memcpy(to + kx * channels, line + (ix - 1) * channels,
                           channels * sizeof(float));
            }
        }
    }
}

void ck_bias_relu(float *x, const float *bias, size_t rows, size_t channels) {
    for (size_t r = 0; r < rows; r++, x += channels)
        for (size_t c = 0; c < channels; c++) {
            const float v = x[c] + bias[c];
            x[c] = v > 0 ? v : 0;
        }
}

static inline float larger(float a, float b) { return a > b ? a : b; }

void ck_maxpool_2x2(const float *image, size_t width, size_t channels, size_t first,
                    size_t count, float *out) {
    const size_t half = width / 2, line = width * channels;
    for (size_t y = first; y < first + count; y++)
        for (size_t x = 0; x < half; x++, out += channels) {
            const float *a = image + 2 * y * line + 2 * x * channels, *b = a + channels;
            const float *c = a + line, *d = b + line;
            for (size_t k = 0; k < channels; k++)
                out[k] = larger(larger(a[k], b[k]), larger(c[k], d[k]));
        }
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
