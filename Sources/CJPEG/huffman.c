#include "huffman.h"

#include <string.h>

static huffman_entry entry_of(int code_length, int symbol, int is_dc) {
    int value_length = is_dc ? symbol : symbol & 15;
    int zeros = is_dc ? 0 : symbol >> 4;
    if (!is_dc && value_length == 0 && zeros != 15) {
        zeros = HUFFMAN_END_OF_BLOCK;
    }
    return (huffman_entry)((code_length + value_length) | code_length << 5 | value_length << 10 |
                           zeros << 14);
}

// The value of `length` bits: one that begins with a 0 is negative.
static int value_of(uint32_t bits, uint32_t length) {
    return length == 0 || bits >> (length - 1) ? (int)bits : (int)bits + 1 - (1 << length);
}

// For lookups whose first code and value leave room for a second code and value.
static void add_second_codes(huffman_table *table) {
    enum { SIZE = 1 << HUFFMAN_LOOKUP_BITS };
    huffman_entry single[SIZE];
    memcpy(single, table->lookup, sizeof single);
    for (uint32_t bits = 0; bits < SIZE; bits++) {
        uint32_t length = single[bits] & 31;
        huffman_entry second = single[bits << length & (SIZE - 1)];
        uint32_t value_length = second >> 10 & 15;
        uint32_t zeros = second >> 14;
        if (single[bits] == 0 || single[bits] >> 14 == HUFFMAN_END_OF_BLOCK || second == 0 ||
            length + (second & 31) > HUFFMAN_LOOKUP_BITS || value_length > 7 || zeros > 14) {
            continue;
        }
        length += second & 31;
        uint32_t value_bits = bits >> (HUFFMAN_LOOKUP_BITS - length) & ((1u << value_length) - 1);
        table->lookup[bits] += (second & 31) | (zeros + 1) << 20 |
                               (uint32_t)value_of(value_bits, value_length) << 24;
    }
}

int huffman_table_init(huffman_table *table, const JHUFF_TBL *code_lengths, int is_dc) {
    memset(table, 0, sizeof *table);
    uint32_t code = 0;  // left-aligned in HUFFMAN_LONGEST_CODE bits
    int index = 0;
    for (int length = 1; length <= HUFFMAN_LONGEST_CODE; length++) {
        int codes = code_lengths->bits[length];
        uint32_t step = 1u << (HUFFMAN_LONGEST_CODE - length);
        if (index + codes > 256 || code + (uint32_t)codes * step > 1u << HUFFMAN_LONGEST_CODE) {
            return 0;
        }
        table->offsets[length] = index - (int32_t)(code / step);
        for (int i = 0; i < codes; i++, index++, code += step) {
            int symbol = code_lengths->huffval[index];
            if ((is_dc ? symbol : symbol & 15) > HUFFMAN_LONGEST_VALUE) {
                return 0;
            }
            huffman_entry entry = entry_of(length, symbol, is_dc);
            table->entries[index] = entry;
            if (length <= HUFFMAN_LOOKUP_BITS) {
                int unused = HUFFMAN_LONGEST_CODE - HUFFMAN_LOOKUP_BITS;
                for (uint32_t j = code >> unused; j < (code + step) >> unused; j++) {
                    table->lookup[j] = entry;
                }
            }
        }
        table->limits[length] = code;
    }
    if (!is_dc) {
        add_second_codes(table);
    }
    return 1;
}
