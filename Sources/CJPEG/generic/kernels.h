// Included once per instruction set, inside its target attribute, with SET defined as its name.

#define NAME_OF(f, set) f##_##set
#define NAME_IN(f, set) NAME_OF(f, set)
#define NAME(f) NAME_IN(f, SET)
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

// Vectors wider than the registers are passed to functions that are always inlined only.
#pragma clang diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))

#include "resample_loops.h"
#include "huffman_loops.h"

const cjpeg_kernels NAME(cjpeg_kernels) = {
    .name = TEXT(SET),
    .gather_columns = NAME(gather_columns),
    .resample_band = NAME(resample_band),
    .blend_rows = NAME(blend_rows),
    .unstuff = NAME(unstuff),
    .decode_blocks = NAME(decode_blocks),
};
