// Resampling of a picture that arrives row by row to a square, in memory that does not grow with
// the picture's height.
//
// The filter is a triangle whose half-width is one source pixel when enlarging and one target
// pixel when shrinking ("bilinear" with antialiasing). Numerically it is what Pillow's
// resize(..., BILINEAR) does to 8-bit pixels, bit for bit: weights normalised in double
// precision and rounded to 22 fractional bits, a horizontal pass rounded to 8 bits, then a
// vertical pass rounded to 8 bits.

#ifndef CJPEG_RESAMPLE_H
#define CJPEG_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

typedef struct {
    const cjpeg_kernels *kernels;
    int width, height, side;
    int next_row;         // of the source, to be pushed
    int next_target_row;
    taps horizontal;
    taps vertical;
    uint8_t *source;
    uint8_t *rows[BAND];  // of the source: pixels of R, G, B and one that is ignored
    int rows_pushed;      // of those
    band_column *columns;
    row_ring resampled;   // horizontally
} resampler;

// What resampler_init will allocate, in bytes.
uint64_t resampler_memory_bytes(int width, int height, int side);

// Returns 0 where memory is short; resampler_free is due in either case.
int resampler_init(resampler *r, const cjpeg_kernels *kernels, int width, int height, int side);

// Where the next rows of the source are to be written: width pixels of 4 bytes, R, G, B and one
// that is ignored. *count is at least 1, while there are rows to come.
uint8_t **resampler_free_rows(resampler *r, int *count);

// Takes the next `count` rows of the source from there. Writes the rows of the target that become
// complete (side x 3 bytes each) into rgb.
void resampler_push(resampler *r, int count, uint8_t *rgb);

void resampler_free(resampler *r);

#endif
