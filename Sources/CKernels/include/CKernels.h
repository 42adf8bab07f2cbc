// Loops that need no instruction set of their own. Plain C, no libc state, no allocation:
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

/// Asks for memory that will be read soon, for the second-level cache and those beyond.
void ck_prefetch(const float *from, size_t count);

/// 1 if every value is finite, else 0 with the first offender's index in *at.
int ck_all_finite(const float *x, size_t count, size_t *at);

/// Symmetric 8-bit form of `count` finite values: to = x / scale, rounded to nearest, ties to even,
/// from -127 to 127. Returns the scale, the largest magnitude over 127; values that are all below
/// 2^-100 become 0, and the scale too. The same on every machine.
float ck_quantize(const float *x, size_t count, int8_t *to);

/// The readable 3x3 convolution, padding 1, in float64 and in one fixed order of summation,
/// so that its result is the same on every machine: out (height, width, outputs) =
/// bias + sum over (channel, ky, kx) of image * weight, weight (outputs, channels, 3, 3)
/// transposed to (channels, 3, 3, outputs). Rows [first, first + count) of the output only.
void ck_reference_conv_3x3(const double *image, size_t height, size_t width, size_t channels,
                           const double *weight, const double *bias, size_t outputs,
                           size_t first, size_t count, double *out);

#endif
