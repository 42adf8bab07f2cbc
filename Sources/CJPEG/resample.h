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

// For each target position: a run of source positions and their weights.
typedef struct {
    int *first;        // side
    int *count;        // side
    int32_t *weights;  // side x stride; of a row, the first `count` are used
    int stride;
} taps;

typedef struct {
    int side;
    int next_row;         // of the source, that resampler_push takes
    int first_open_row;   // of the target: all rows above it are complete
    taps horizontal;
    taps vertical;
    uint8_t *row;         // side x 3: the source row just pushed, resampled horizontally
    int32_t *sums;        // side x side x 3: the vertical pass so far, in fixed point
} resampler;

// What resampler_init will allocate, in bytes.
uint64_t resampler_memory_bytes(int width, int height, int side);

// Returns 0 where memory is short; resampler_free is due in either case.
int resampler_init(resampler *r, int width, int height, int side);

// Takes the next row of the source: width pixels of 4 bytes, R, G, B and one that is ignored.
// Writes the rows of the target that become complete (side x 3 bytes each) into rgb.
void resampler_push(resampler *r, const uint8_t *rgbx, uint8_t *rgb);

void resampler_free(resampler *r);

#endif
