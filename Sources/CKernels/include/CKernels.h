// The loops OpenBLAS has no match for. Plain C, no libc state, no allocation:
// Swift does not vectorise floating-point loops (strict semantics), C with independent
// lanes does. All arrays are dense, row-major, float32 unless a name says otherwise.
#ifndef UHAN_CKERNELS_H
#define UHAN_CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

/// 8-bit RGB (y, x, 3) to float32 (y, x, 3): out = byte * scale[c] + shift[c].
/// `swap` reads the channels as B, G, R.
void ck_normalize_rgb(const uint8_t *rgb, size_t pixels, const float scale[3],
                      const float shift[3], int swap, float *out);

/// 2x2 max-pool of two rows of (width, channels) into one; an odd last column is dropped.
void ck_maxpool_2x2(const float *rows, size_t width, size_t channels, float *out);

/// The sum, in whatever order is fastest: to time reading.
float ck_sum(const float *x, size_t count);

/// x[i] = tanh(x[i]).
void ck_tanh(float *x, size_t count);

/// x[r][c] *= factor[c] for every row r.
void ck_scale_columns(float *x, const float *factor, size_t rows, size_t columns);

/// mean[c] = mean over rows of x[r][c].
void ck_column_means(const float *x, size_t rows, size_t columns, float *mean);

/// One LSTM step from pre-activations z (4 * d: blocks i, f, g, o), updating cell c (d)
/// and writing h (d). hard: clip(0.2 x + 0.5, 0, 1) in place of the logistic gate.
void ck_lstm_step(const float *z, float *c, float *h, size_t d, int hard);

/// Softmax in place, shifted by the maximum.
void ck_softmax(float *x, size_t count);

/// 1 if every value is finite, else 0 with the first offender's index in *at.
int ck_all_finite(const float *x, size_t count, size_t *at);

/// The readable 3x3 convolution, padding 1, in float64 and in one fixed order of summation,
/// so that its result is the same on every machine: out (height, width, outputs) =
/// bias + sum over (channel, ky, kx) of image * weight, weight (outputs, channels, 3, 3)
/// transposed to (channels, 3, 3, outputs). Rows [first, first + count) of the output only.
void ck_reference_conv_3x3(const double *image, size_t height, size_t width, size_t channels,
                           const double *weight, const double *bias, size_t outputs,
                           size_t first, size_t count, double *out);

#endif
