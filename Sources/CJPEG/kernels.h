// The loops that take the time, once per instruction set.

#ifndef CJPEG_KERNELS_H
#define CJPEG_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "CJPEG.h"
#include "huffman.h"

enum {
    // Fractional bits of a resampling weight.
    FRACTION_BITS = 22,
    // Source rows that the horizontal pass takes at once.
    BAND = 4,
    // Target pixels that it makes at once.
    TARGETS = 4,
    // The vertical pass reads rows, and the horizontal one writes them, in units of so many bytes.
    ROW_UNIT = 64,
    // Bytes of a scan that are looked at at once.
    UNSTUFF_UNIT = 32,
};

// A band of source rows, column by column: BAND pixels of R, G, B and one that is ignored.
typedef struct {
    uint8_t values[BAND * 4];
} band_column;

// For each target position: a run of source positions and their weights.
typedef struct {
    int *first;        // targets
    int *count;        // targets
    int32_t *weights;  // targets x stride; of a row, the first `count` are used
    int stride;
} taps;

// Rows of a picture, kept while they are needed: row y lies at y modulo `capacity`.
typedef struct {
    uint8_t *rows;
    size_t row_bytes;  // a multiple of ROW_UNIT
    int capacity;      // a multiple of BAND
} row_ring;

struct cjpeg_kernels {
    const char *name;

    // Turns a band from row by row to column by column. `columns` is a multiple of 4.
    void (*gather_columns)(const uint8_t *const rows[BAND], size_t columns, band_column *band);

    // The horizontal pass: a band of source rows becomes BAND rows of R, G, B.
    // `targets` is a multiple of TARGETS; up to 4 bytes more than 3 x targets are written.
    void (*resample_band)(const taps *taps, size_t targets, const band_column *band,
                          uint8_t *const rows[BAND]);

    // The vertical pass: `count` rows from `first` on, weighted, become `bytes` bytes.
    void (*blend_rows)(const row_ring *ring, int first, int count, const int32_t *weights,
                       size_t bytes, uint8_t *row);

    // Copies a scan's bytes, without the zeros that are stuffed in after each 0xFF, from *from on,
    // which is moved: until `room` bytes are there, or up to a marker, or up to `end`. Returns
    // their number; up to UNSTUFF_UNIT bytes more than `room` are written.
    size_t (*unstuff)(const uint8_t **from, const uint8_t *end, uint8_t *to, size_t room);

    // Reads blocks of coefficients. Returns 0 where the data is not in order; what it has written
    // is of no use then. Null: libjpeg reads them.
    int (*decode_blocks)(huffman_reader *reader, const huffman_block *blocks, int count);
};

#endif
