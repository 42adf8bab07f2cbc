// Huffman decoding of sequential JPEGs, faster than libjpeg's: two short codes are looked up at
// once, there is no branch on a value's length, and bytes are unstuffed beforehand.
//
// It reads what is in order and says so where something is not, and leaves that to libjpeg.

#ifndef CJPEG_HUFFMAN_H
#define CJPEG_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

enum {
    HUFFMAN_LONGEST_CODE = 16,
    HUFFMAN_LONGEST_VALUE = 14,  // pictures of 8 bits have up to 11
    HUFFMAN_LOOKUP_BITS = 11,
    // Zeros before a value: more than a block has.
    HUFFMAN_END_OF_BLOCK = 63,
};

// What the next bits mean: a code with the value after it and, where both are short, the next code
// with the value after that. Never 0, which stands for "no such code".
//   bits 0...4    length of it all
//   bits 5...9    length of the code
//   bits 10...13  length of the value
//   bits 14...19  coefficients before the value, which are 0; or HUFFMAN_END_OF_BLOCK
//   bits 20...23  coefficients from the value to the second one; 0: there is none
//   bits 24...31  the second value, signed
typedef uint32_t huffman_entry;

typedef struct {
    huffman_entry lookup[1 << HUFFMAN_LOOKUP_BITS];
    // For longer codes, by length: one more than the largest code, left-aligned in
    // HUFFMAN_LONGEST_CODE bits, and what to add to a code for the index of its entry.
    uint32_t limits[HUFFMAN_LONGEST_CODE + 1];
    int32_t offsets[HUFFMAN_LONGEST_CODE + 1];
    huffman_entry entries[256];
} huffman_table;

// Returns 0 where the table is not valid, or not that of a picture of 8 bits.
int huffman_table_init(huffman_table *table, const JHUFF_TBL *code_lengths, int is_dc);

// A block of the MCU: what it is read with, and where it is put (64 zeros before).
typedef struct {
    const huffman_table *dc, *ac;
    int *last_dc;  // of the block's component
    JCOEF *coefficients;
} huffman_block;

enum {
    // Of the longest block: each value's code and bits, rounded up generously.
    HUFFMAN_BLOCK_BYTES = DCTSIZE2 * 4,
    // Zeros that are there after the data's end: a block that ends early reads on in them.
    HUFFMAN_PADDING = HUFFMAN_BLOCK_BYTES + 8,
};

// The bits of a scan up to the next marker, without stuffed bytes.
typedef struct {
    const uint8_t *next, *end;
    uint64_t bits;   // the next bit is the highest
    uint64_t count;  // of the bits; beyond them are those that the next bytes begin with
} huffman_reader;

// Bits from here to the end; negative behind it.
static inline ptrdiff_t huffman_bits_left(const huffman_reader *r) {
    return (r->end - r->next) * 8 + (ptrdiff_t)r->count;
}

#endif
