// See ../huffman.h.

typedef uint8_t NAME(bytes) __attribute__((ext_vector_type(UNSTUFF_UNIT)));

INLINE int has_ff(const uint8_t *from) {
    NAME(bytes) x;
    memcpy(&x, from, sizeof x);
    return __builtin_reduce_max(x) == 0xFF;
}

static size_t NAME(unstuff)(const uint8_t **from, const uint8_t *end, uint8_t *to, size_t room) {
    const uint8_t *next = *from;
    size_t size = 0;
    while (size < room && next < end) {
        size_t unit = (size_t)(end - next) < UNSTUFF_UNIT ? (size_t)(end - next) : UNSTUFF_UNIT;
        if (unit == UNSTUFF_UNIT && !has_ff(next)) {
            memcpy(to + size, next, UNSTUFF_UNIT);
            next += UNSTUFF_UNIT;
            size += UNSTUFF_UNIT;
            continue;
        }
        const uint8_t *stop = next + unit;
        while (next < stop && *next != 0xFF) to[size++] = *next++;
        if (next < stop) {
            if (end - next < 2 || next[1] != 0) break;
            to[size++] = 0xFF;
            next += 2;
        }
    }
    *from = next;
    return size;
}

INLINE uint64_t big_endian_8_bytes(const uint8_t *from) {
    uint64_t x;
    memcpy(&x, from, sizeof x);
    return __builtin_bswap64(x);
}

// To at least 56 bits, without asking whether it is due: that could not be predicted.
INLINE void refill(huffman_reader *r) {
    r->bits |= big_endian_8_bytes(r->next) >> r->count;
    r->next += (r->count ^ 63) >> 3;
    r->count |= 56;
}

INLINE void skip(huffman_reader *r, unsigned length) {
    r->bits <<= length;
    r->count -= length;
}

INLINE unsigned length_of(huffman_entry entry) { return entry & 31; }
INLINE unsigned code_length_of(huffman_entry entry) { return entry >> 5 & 31; }
INLINE unsigned value_length_of(huffman_entry entry) { return entry >> 10 & 15; }
INLINE unsigned zeros_of(huffman_entry entry) { return entry >> 14 & 63; }
INLINE unsigned second_step_of(huffman_entry entry) { return entry >> 20 & 15; }
INLINE int second_value_of(huffman_entry entry) { return (int32_t)entry >> 24; }

// A value that begins with a 0 is negative, and less by 1 than those bits say: so it is the
// two's complement with the first bit turned over as its sign, plus 1. No bits are 0.
INLINE int first_value_of(huffman_entry entry, uint64_t bits) {
    bits <<= code_length_of(entry);
    uint64_t negative = ~bits >> 63;
    return (int)((int64_t)(bits >> 1 | negative << 63) >> (63 - value_length_of(entry))) +
           (int)negative;
}

static huffman_entry NAME(look_up_longer)(const huffman_table *table, uint64_t bits) {
    uint32_t code = (uint32_t)(bits >> (64 - HUFFMAN_LONGEST_CODE));
    for (int length = HUFFMAN_LOOKUP_BITS + 1; length <= HUFFMAN_LONGEST_CODE; length++)
        if (code < table->limits[length]) {
            int32_t index = (int32_t)(code >> (HUFFMAN_LONGEST_CODE - length));
            return table->entries[index + table->offsets[length]];
        }
    return 0;
}

// Two of these, each with its skip, fit into the bits of a refill.
INLINE huffman_entry look_up(const huffman_table *table, uint64_t bits) {
    huffman_entry entry = table->lookup[bits >> (64 - HUFFMAN_LOOKUP_BITS)];
    return __builtin_expect(entry != 0, 1) ? entry : NAME(look_up_longer)(table, bits);
}

_Static_assert(HUFFMAN_LONGEST_CODE + HUFFMAN_LONGEST_VALUE + HUFFMAN_LOOKUP_BITS +
                   HUFFMAN_LONGEST_VALUE <= 56, "a refill is enough for two");

static const uint8_t NAME(natural_order)[DCTSIZE2] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

// What was looked up, and where in the block its values belong.
typedef struct {
    huffman_entry entry;
    size_t first, second;
} NAME(position);

// One look-up in the midst of a block. Returns 0 where it may be the last.
INLINE int decode_values(huffman_reader *r, const huffman_table *ac, JCOEF *coefficients,
                         NAME(position) *p) {
    p->entry = look_up(ac, r->bits);
    p->first = p->second + 1 + zeros_of(p->entry);
    p->second = p->first + second_step_of(p->entry);
    if (p->second >= DCTSIZE2 - 1) return 0;
    // Where there is no second value, it is 0 and goes where the first belongs.
    coefficients[NAME(natural_order)[p->second]] = (JCOEF)second_value_of(p->entry);
    coefficients[NAME(natural_order)[p->first]] = (JCOEF)first_value_of(p->entry, r->bits);
    skip(r, length_of(p->entry));
    return 1;
}

INLINE int decode_block(huffman_reader *r, const huffman_block *block) {
    JCOEF *coefficients = block->coefficients;
    refill(r);
    huffman_entry entry = look_up(block->dc, r->bits);
    int dc = *block->last_dc + first_value_of(entry, r->bits);
    skip(r, length_of(entry));
    if (entry == 0 || dc != (JCOEF)dc) return 0;
    *block->last_dc = dc;
    coefficients[0] = (JCOEF)dc;

    const huffman_table *ac = block->ac;
    NAME(position) p = {.second = 0};
    while (decode_values(r, ac, coefficients, &p)) {
        refill(r);
        if (!decode_values(r, ac, coefficients, &p)) break;
    }
    if (zeros_of(p.entry) == HUFFMAN_END_OF_BLOCK) {
        skip(r, length_of(p.entry));
        return 1;
    }
    if (p.entry == 0 || p.first >= DCTSIZE2) return 0;
    coefficients[NAME(natural_order)[p.first]] = (JCOEF)first_value_of(p.entry, r->bits);
    if (p.first == DCTSIZE2 - 1) {
        // A second code would be the next block's, and not of this table.
        skip(r, code_length_of(p.entry) + value_length_of(p.entry));
        return 1;
    }
    if (p.second >= DCTSIZE2) return 0;
    coefficients[NAME(natural_order)[p.second]] = (JCOEF)second_value_of(p.entry);
    skip(r, length_of(p.entry));
    return 1;
}

static int NAME(decode_blocks)(huffman_reader *reader, const huffman_block *blocks, int count) {
    huffman_reader r = *reader;
    for (int i = 0; i < count; i++)
        if (!decode_block(&r, &blocks[i]) || huffman_bits_left(&r) < 0) return 0;
    *reader = r;
    return 1;
}
