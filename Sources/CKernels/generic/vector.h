// Included once per instruction set, inside its target attribute. The including file defines
//   WIDTH    floats in a vector
//   ROWS     most rows of a register tile: ROWS * VECTORS accumulators and a row of the panel
//   VECTORS  vectors in a row of a register tile   have to fit into the registers
//   SET      the name of this instruction set
//   REGISTER the letter of a vector register in an assembler constraint

typedef float vector __attribute__((ext_vector_type(WIDTH)));

enum { PANEL = WIDTH * VECTORS };

#define NAME_OF(f, set) f##_##set
#define NAME_IN(f, set) NAME_OF(f, set)
#define NAME(f) NAME_IN(f, SET)
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define NOUNROLL _Pragma("clang loop unroll(disable)")

INLINE vector load(const float *from) { return *(const vector *)from; }
INLINE void store(float *to, vector x) { *(vector *)to = x; }
INLINE vector splat(float x) { return (vector)(x); }
INLINE vector larger_of(vector a, vector b) { return __builtin_elementwise_max(a, b); }
