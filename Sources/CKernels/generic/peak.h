// What the machine could do at most: multiply-adds on registers alone, as many side by side as a
// register tile has. Returns the number of floating-point operations done.
static double NAME(peak)(size_t steps, float *result) {
    vector sum[ROWS * VECTORS];
    const vector x = splat(0.5f), y = splat(result[0]);
    UNROLL for (int i = 0; i < ROWS * VECTORS; i++) sum[i] = splat((float)i);
#pragma clang loop unroll(disable)
    for (size_t step = 0; step < steps; step++) {
        UNROLL for (int i = 0; i < ROWS * VECTORS; i++) sum[i] = sum[i] * x + y;
        // The compiler must believe that somebody looks.
        UNROLL for (int i = 0; i < ROWS * VECTORS; i++) __asm__ volatile("" : "+" REGISTER (sum[i]));
    }
    vector total = sum[0];
    UNROLL for (int i = 1; i < ROWS * VECTORS; i++) total += sum[i];
    result[0] = total[0];
    return 2.0 * WIDTH * ROWS * VECTORS * (double)steps;
}
