// Exponential functions of whole vectors, right to about two units in the last place over all of
// float32; NaN gives NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, e^x = 2^n e^r, and e^r - 1 = r + r^2 q(r), where q is the
// polynomial of degree 4 whose largest error relative to e^r - 1 is least: 1.3e-8.

typedef int32_t integers __attribute__((ext_vector_type(WIDTH)));

INLINE vector smaller_or_nan(vector x, float limit) { return x > limit ? splat(limit) : x; }
INLINE vector larger_or_nan(vector x, float limit) { return x < limit ? splat(limit) : x; }

// e^r - 1 and n. For |x| < 2^21.
INLINE vector reduced_exp_minus_1(vector x, integers *n) {
    // A float of this size has no room for a fraction: adding it rounds, and its low bits are n.
    const vector rounder = splat(0x1.8p23f);
    const vector rounded = x * 0x1.715476p0f + rounder;
    *n = (integers)rounded - (integers)rounder;
    const vector whole = rounded - rounder;
    // ln 2 in two parts, of which the first times n is exact.
    const vector r = x - whole * 0x1.62e4p-1f - whole * 0x1.7f7d1cp-20f;
    const vector q =
        (((splat(0x1.6bec06p-10f) * r + 0x1.122776p-7f) * r + 0x1.555674p-5f) * r +
         0x1.5554b0p-3f) * r + 0x1.fffffep-2f;
    return r + r * r * q;
}

INLINE vector power_of_two(integers n) { return (vector)((n + 127) << 23); }

INLINE vector exponential(vector x) {
    integers n;
    x = larger_or_nan(smaller_or_nan(x, 89), -104);  // infinity and zero, by a little
    const vector power = reduced_exp_minus_1(x, &n) + 1;
    // In two steps, since 2^n itself may be too large or too small where the result is not.
    return power * power_of_two(n >> 1) * power_of_two(n - (n >> 1));
}

// (e^2x - 1) / (e^2x + 1), without cancellation around 0.
INLINE vector tangent(vector x) {
    integers n;
    const integers sign = (integers)x & INT32_MIN;
    const vector size = (vector)((integers)x & INT32_MAX);
    const vector reduced = reduced_exp_minus_1(smaller_or_nan(size * 2, 20), &n);
    const vector power = power_of_two(n), e = power * reduced + (power - 1);
    return (vector)((integers)(e / (e + 2)) | sign);
}

INLINE vector logistic(vector x) { return 1 / (1 + exponential(-x)); }

// The sum of the lanes: halves first.
INLINE float sum_of(vector x) {
    float lane[WIDTH];
    __builtin_memcpy(lane, &x, sizeof lane);
    UNROLL for (int half = WIDTH / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}
