// The scan of a sequential picture, read in libjpeg's place.

#ifndef CJPEG_SCAN_H
#define CJPEG_SCAN_H

#include "kernels.h"

// The first fields of a struct that libjpeg keeps to itself; they are the same in all versions
// since 6b, libjpeg-turbo's 1.x to 3.x included. decode_mcu reads the next unit of the scan: its
// coefficients, in natural order, into blocks that are all zeros.
struct jpeg_entropy_decoder {
    void (*start_pass)(j_decompress_ptr cinfo);
    boolean (*decode_mcu)(j_decompress_ptr cinfo, JBLOCKROW *blocks);
};

enum {
    SCAN_ROOM = 8 << 10,
    SCAN_TABLES = 2,  // of each kind: a baseline picture has no more
};

typedef struct {
    const cjpeg_kernels *kernels;
    const uint8_t *next, *end;  // of the file: what is not yet in `bytes`
    huffman_reader reader;      // of `bytes`
    int is_cut;                 // they do not reach to the next marker
    huffman_block blocks[D_MAX_BLOCKS_IN_MCU];
    int last_dc[MAX_COMPS_IN_SCAN];
    unsigned units_to_restart, next_restart;
    uint64_t units_left;
    uint8_t bytes[SCAN_ROOM + UNSTUFF_UNIT + HUFFMAN_PADDING];
    huffman_table dc_tables[SCAN_TABLES], ac_tables[SCAN_TABLES];
} scan;

// After jpeg_start_decompress. Returns 0 where libjpeg has to read the picture.
int scan_init(scan *s, j_decompress_ptr cinfo, const cjpeg_kernels *kernels);

// Stands in for decode_mcu. Returns 0 where the data is not in order: only libjpeg, from the
// beginning, can say what is to become of the picture.
int scan_decode_mcu(scan *s, j_decompress_ptr cinfo, JBLOCKROW *blocks);

#endif
